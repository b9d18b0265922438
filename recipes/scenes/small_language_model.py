"""A language model of a few million parameters that starts out inclined to point.

It knows the words of the larger one it borrows its tokenizer from; everything else is learnt on
scenes. Small means that two cores train it and that it answers within a blink.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention

from groma.config import NUM_REGION_TOKENS
from recipes.scenes.objectives.looking import LESSONS

BASE_VOCABULARY = 8192
"""Words of the embedded model's tokenizer, new tokens aside."""
_CARRYING = {"bind": 0.3, "pointer": 1.0}
"""Heads that carry names of regions, and how strongly."""
_KEY_SHARE = 0.7
_COPY_SHARE = 0.3


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


def small_language_model(
    config: LlamaConfig, words: Tensor, new_words: int, seed: int = 0
) -> LlamaForCausalLM:
    """Build a language model whose attention looks for likeness and copies what it finds.

    Args:
        config: of the small model, its vocabulary included; as many key as query heads.
        words: (V, E) embeddings of a larger model, E at least the small width; the last
            `new_words` rows are Groma's own tokens, which need directions rather than meanings.
        new_words: how many tokens are Groma's own.
        seed: of the initial weights.

    Returns:
        A model in fp32 with tied embeddings: the words' principal components, of norm 1.
    """
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config)
    model.model.embed_tokens.weight.data.copy_(_compress(words, new_words, config.hidden_size))
    model.tie_weights()
    attentions = [m for m in model.modules() if isinstance(m, LlamaAttention)]
    for attention in attentions:
        _incline_to_point(attention)
    names = model.model.embed_tokens.weight[-NUM_REGION_TOKENS:]
    for name, share in _CARRYING.items():
        _carry(attentions[LESSONS[name].layer % len(attentions)], names, share)
    return model


def _compress(words: Tensor, new_words: int, width: int) -> Tensor:
    old = words[:-new_words]
    centred = old - old.mean(dim=0)
    directions = torch.linalg.svd(centred, full_matrices=False).Vh[:width]
    rows = torch.cat([centred @ directions.mT, torch.randn(new_words, width)])
    return F.normalize(rows, dim=1)


@torch.no_grad()
def _incline_to_point(attention: LlamaAttention) -> None:
    """Keys like queries find the same word again; values that survive the output copy it."""
    attention.k_proj.weight.copy_(_KEY_SHARE * attention.q_proj.weight)
    nn.init.orthogonal_(attention.v_proj.weight)
    attention.o_proj.weight.copy_(_COPY_SHARE * attention.v_proj.weight.mT)


@torch.no_grad()
def _carry(attention: LlamaAttention, names: Tensor, share: float) -> None:
    """Let the first head copy the directions in which `names` (N, D) differ, wherever it looks."""
    size = attention.head_dim
    directions = torch.linalg.svd(names, full_matrices=False).Vh[:size]
    attention.v_proj.weight[: len(directions)] = directions
    attention.o_proj.weight[:, : len(directions)] = share * directions.mT
