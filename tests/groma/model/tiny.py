"""A Groma of a few thousand weights, for tests of behaviour rather than of numbers."""

import torch
from torch import Tensor

from groma.config import GromaConfig
from groma.model.groma import GromaForConditionalGeneration
from groma.tokens import NEW_TOKENS

BASE_VOCABULARY = 320


def tiny_config(**changes) -> GromaConfig:
    settings = {
        "image_size": 112,
        "score_threshold": 0.0,
        "vision_config": {
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "mlp_ratio": 2,
            "image_size": 112,
            "patch_size": 14,
        },
        "proposer_config": {
            "width": 32,
            "encoder_layers": 1,
            "decoder_layers": 2,
            "encoder_ffn_width": 32,
            "decoder_ffn_width": 32,
            "num_heads": 4,
            "num_queries": 12,
            "num_levels": 3,
            "box_head_width": 32,
        },
        "region_config": {
            "roi_size": 4,
            "fuse_rounds": 1,
            "norm_groups": 8,
            "width": 32,
            "position_width": 16,
        },
        "text_config": {
            "vocab_size": BASE_VOCABULARY + len(NEW_TOKENS),
            "hidden_size": 48,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "tie_word_embeddings": True,
        },
    }
    return GromaConfig(**(settings | changes))


def tiny_model(seed: int = 0, **changes) -> GromaForConditionalGeneration:
    torch.manual_seed(seed)
    return GromaForConditionalGeneration(tiny_config(**changes)).eval()


def tiny_pixels(batch: int, seed: int = 0) -> Tensor:
    return torch.randn(batch, 3, 112, 112, generator=torch.Generator().manual_seed(seed))
