"""A language model of a few million parameters that starts out inclined to point.

It knows the words of the larger one it borrows its tokenizer from; everything else is learnt on
scenes. Small means that two cores train it and that it answers within a blink.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention

from groma.config import NUM_REGION_TOKENS
from groma.tokens import PHRASE_CLOSE, PHRASE_OPEN, TokenIds

BINDING_LAYER, GATHERING_LAYER, POINTING_LAYER = 0, -4, -2
"""Where heads are taught to look: from a region at its name, from a name at the words before it,
from there at the region. The first comes before anything else drowns the name."""
_CARRYING = {BINDING_LAYER: 0.3, POINTING_LAYER: 1.0}
_KEY_SHARE = 0.7
_COPY_SHARE = 0.3
_TINY = 1e-6


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
    carrying = {layer % len(attentions): share for layer, share in _CARRYING.items()}
    for layer, share in carrying.items():
        _carry(attentions[layer], names, share)
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


def pointer_loss(attention: Tensor, input_ids: Tensor, labels: Tensor, tokens: TokenIds) -> Tensor:
    """Cross-entropy of where a head looks before a region's name is said: at that region.

    Args:
        attention: (B, T, T) of one head.
        input_ids: (B, T) in which every region is listed once as `<rN>` and its token.
        labels: (B, T), -100 where nothing is supervised.
        tokens: ids of the new tokens.

    Returns:
        The mean over all names that are to be said; 0 if there are none.
    """
    row, at, named = _pointing(labels, tokens.region(0))
    slot = _listed(input_ids, tokens)[row, named].clamp(max=input_ids.shape[1] - 2)
    return _surprise(attention[row, at, slot] + attention[row, at, slot + 1])


def gather_loss(attention: Tensor, input_ids: Tensor, labels: Tensor, tokens: TokenIds) -> Tensor:
    """Cross-entropy of where a head looks before a region's name is said: at the phrase's words.

    Without it the pointing head of a model from nothing stays at chance: it cannot compare words
    that never reach it. Arguments and result as for `pointer_loss`.
    """
    places = _places(input_ids)
    opened = torch.where(input_ids == tokens[PHRASE_OPEN], places, 0).cummax(dim=1).values
    closed = torch.where(input_ids == tokens[PHRASE_CLOSE], places, 0).cummax(dim=1).values
    row, at, _ = _pointing(labels, tokens.region(0))
    words = (places[row] > opened[row, at, None]) & (places[row] < closed[row, at, None])
    return _surprise((attention[row, at] * words).sum(dim=1))


@torch.no_grad()
def _carry(attention: LlamaAttention, names: Tensor, share: float) -> None:
    """Let the first head copy the directions in which `names` (N, D) differ, wherever it looks."""
    size = attention.head_dim
    directions = torch.linalg.svd(names, full_matrices=False).Vh[:size]
    attention.v_proj.weight[: len(directions)] = directions
    attention.o_proj.weight[:, : len(directions)] = share * directions.mT


def bind_loss(attention: Tensor, input_ids: Tensor, tokens: TokenIds) -> Tensor:
    """Cross-entropy of where a head looks from a region's token: at its name, right before it.

    What is found by its looks can only then be said by its name. Arguments and result as for
    `pointer_loss`.
    """
    listed = _listed(input_ids, tokens)
    row, number = (listed < input_ids.shape[1] - 1).nonzero(as_tuple=True)
    slot = listed[row, number]
    return _surprise(attention[row, slot + 1, slot])


def _listed(input_ids: Tensor, tokens: TokenIds) -> Tensor:
    """(B, 100) place where each region's name comes first, which is in the list; T if it is not."""
    first, length = tokens.region(0), input_ids.shape[1]
    number = (input_ids - first).clamp(0, NUM_REGION_TOKENS - 1)
    is_name = (input_ids >= first) & (input_ids < first + NUM_REGION_TOKENS)
    places = torch.where(is_name, _places(input_ids), length)
    listed = torch.full((len(input_ids), NUM_REGION_TOKENS), length, device=input_ids.device)
    return listed.scatter_reduce_(1, number, places, "amin")


def _places(input_ids: Tensor) -> Tensor:
    return torch.arange(input_ids.shape[1], device=input_ids.device).expand_as(input_ids)


def _pointing(labels: Tensor, first: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows and places (K,) right before a region is named, and the number (K,) of its name."""
    said = labels[:, 1:] - first
    row, at = ((said >= 0) & (said < NUM_REGION_TOKENS)).nonzero(as_tuple=True)
    return row, at, said[row, at]


def _surprise(mass: Tensor) -> Tensor:
    return -(mass + _TINY).log().sum() / max(1, len(mass))
