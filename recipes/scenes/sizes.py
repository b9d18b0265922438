"""Sizes of the models this repository trains itself."""

from typing import Any

from groma.config import GromaConfig
from groma.tokens import NEW_TOKENS

BASE_VOCABULARY = 8192
"""Words of the embedded model's tokenizer, new tokens aside."""


def groma_mini_config(text_layers: int = 6) -> GromaConfig:
    """The embedded model: a small visual part in front of a small language model.

    Args:
        text_layers: depth of the language model; detection pretraining does not use it and builds
            a single layer.

    Returns:
        224 px pictures, 16 x 16 patches, three feature levels, 100 proposals.
    """
    return GromaConfig(
        image_size=224,
        vision_config={
            "hidden_size": 192,
            "num_hidden_layers": 6,
            "num_attention_heads": 3,
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
            "focal_alpha": 0.5,  # scores are to be overlaps, not merely an order
        },
        region_config={
            "roi_size": 7,
            "fuse_rounds": 0,
            "norm_groups": 32,
            "width": 192,
            "position_width": 128,
            "norm_features": True,
        },
        text_config=small_text_config(BASE_VOCABULARY + len(NEW_TOKENS), text_layers),
        tie_word_embeddings=True,
    )


def small_text_config(vocab_size: int, layers: int = 6) -> dict[str, Any]:
    """The embedded model's language model: 4.7 M parameters and its words.

    Args:
        vocab_size: new tokens included.
        layers: depth.
    """
    return {
        "hidden_size": 256,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "intermediate_size": 672,
        "vocab_size": vocab_size,
        "max_position_embeddings": 4096,
        "rope_theta": 1_000_000.0,
        "tie_word_embeddings": True,
    }
