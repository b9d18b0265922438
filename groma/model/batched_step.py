"""One token for each of several sequences at once: what sequences share is the weights alone.

Matrix products take all rows together, which is what a step of one row leaves unused; attention
takes each row by itself over its own cache, so no cache is padded, copied or moved when a sequence
comes or goes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Cache, LlamaForCausalLM
from transformers.models.llama.modeling_llama import (
    LlamaAttention,
    LlamaDecoderLayer,
    apply_rotary_pos_emb,
)


def step_rows(
    language_model: LlamaForCausalLM, embeddings: Tensor, caches: Sequence[Cache]
) -> Tensor:
    """Read one token of each of B sequences with a model in eval mode.

    `embeddings` are (B, D) of the tokens; each of the B `caches` grows by one position. Returns
    (B, V) float32 logits of the next tokens, as the model gives them for one row at a time.
    """
    decoder = language_model.model
    hidden = embeddings[:, None]
    places = [[cache.get_seq_length()] for cache in caches]
    turns = decoder.rotary_emb(hidden, torch.tensor(places, device=hidden.device))
    for index, layer in enumerate(decoder.layers):
        assert isinstance(layer, LlamaDecoderLayer)
        normed = layer.input_layernorm(hidden)
        hidden = hidden + _attend(layer.self_attn, normed, turns, caches, index)
        hidden = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return language_model.lm_head(decoder.norm(hidden[:, 0])).float()


def _attend(
    attention: LlamaAttention,
    hidden: Tensor,
    turns: tuple[Tensor, Tensor],
    caches: Sequence[Cache],
    index: int,
) -> Tensor:
    """Self-attention of (B, 1, D), each row over its own past; `turns` are (B, 1, d) each."""
    shape = len(hidden), 1, -1, attention.head_dim
    queries, keys, values = (
        project(hidden).view(shape).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    queries, keys = apply_rotary_pos_emb(queries, keys, *turns)
    grouped = attention.num_key_value_groups > 1
    rows = zip(queries.split(1), keys.split(1), values.split(1), caches, strict=True)
    seen = [
        F.scaled_dot_product_attention(
            query, *cache.update(key, value, index), scale=attention.scaling, enable_gqa=grouped
        )
        for query, key, value, cache in rows
    ]
    return attention.o_proj(torch.cat(seen).transpose(1, 2).reshape(len(hidden), 1, -1))
