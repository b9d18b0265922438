"""Sizes of the models this repository trains itself."""

from groma.config import GromaConfig
from groma.tokens import NEW_TOKENS

SMOLLM2_VOCABULARY = 49_152


def groma_mini_config(text_layers: int = 30) -> GromaConfig:
    """The embedded model: a small visual part in front of the shape of SmolLM2-135M.

    Args:
        text_layers: depth of the language model; detection pretraining does not use it and builds
            a single layer.

    Returns:
        224 px pictures, 16 x 16 patches, three feature levels, 100 proposals.
    """
    return GromaConfig(
        image_size=224,
        vision_config={
            "hidden_size": 256,
            "num_hidden_layers": 8,
            "num_attention_heads": 4,
            "patch_size": 14,
            "image_size": 224,
        },
        proposer_config={
            "width": 128,
            "encoder_layers": 0,
            "decoder_layers": 3,
            "decoder_ffn_width": 512,
            "num_queries": 100,
            "num_levels": 3,
            "box_head_width": 128,
            "dropout": 0.0,
        },
        region_config={
            "roi_size": 7,
            "fuse_rounds": 0,
            "norm_groups": 32,
            "width": 256,
            "position_width": 128,
        },
        text_config={
            "hidden_size": 576,
            "num_hidden_layers": text_layers,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "intermediate_size": 1536,
            "vocab_size": SMOLLM2_VOCABULARY + len(NEW_TOKENS),
            "max_position_embeddings": 8192,
            "rope_theta": 100_000.0,
            "rms_norm_eps": 1e-5,
            "tie_word_embeddings": True,
        },
        tie_word_embeddings=True,
    )
