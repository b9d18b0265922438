"""The small language model starts with its words, and inclined to point."""

import torch
from transformers import LlamaConfig

from recipes.scenes.small_language_model import small_language_model, small_text_config


def test_words_keep_their_likeness() -> None:
    torch.manual_seed(0)
    groups = torch.randn(12, 64).repeat_interleave(5, dim=0) + 0.1 * torch.randn(60, 64)
    words = torch.cat([groups, torch.zeros(100, 64)])
    config = small_text_config(160, layers=1) | {
        "hidden_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    model = small_language_model(LlamaConfig(**config), words, new_words=100)
    rows = model.model.embed_tokens.weight.detach()
    likeness = rows[:60] @ rows[:60].mT
    same = torch.block_diag(*[torch.ones(5, 5)] * 12).bool()
    assert likeness[same].min() > 0.9 > likeness[~same].max()
    assert rows[60:].norm(dim=1).allclose(torch.ones(100))
    assert model.lm_head.weight is model.model.embed_tokens.weight
