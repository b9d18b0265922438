"""How often a language model would answer right while it is trained.

An answer counts as exact if every one of its tokens is the likeliest after the true ones before
it: greedy decoding then gives this very answer.
"""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from transformers import EvalPrediction

from groma.data.batches import pad
from groma.data.tokenise import answers
from groma.tokens import TokenIds
from groma.types import IGNORED
from recipes.scenes.language.conversations import KINDS

ALL_KINDS = (*KINDS, "region_colour", "region_size", "region_where")
"""Kinds of questions about illustrated scenes."""


@cache
def groups_of(kinds: Sequence[str]) -> tuple[str, ...]:
    """What is reported: each way of referring, and every family of questions."""
    referring = [kind for kind in kinds if kind.startswith("rec_")]
    return tuple(dict.fromkeys([*referring, *(kind.split("_")[0] for kind in kinds)]))


@cache
def columns_of(kinds: Sequence[str]) -> tuple[str, ...]:
    """What is counted."""
    counted = [f"{part}_{group}" for group in groups_of(kinds) for part in ("asked", "exact")]
    return ("tokens", "tokens_right", "pointers", "pointers_right", *counted)


def kind_indices(kinds: Sequence[str], known: Sequence[str] = ALL_KINDS) -> Tensor:
    """(turns,) indices into the known kinds."""
    return torch.tensor([known.index(kind) for kind in kinds])


@torch.no_grad()
def count_answers(
    logits: Tensor,
    labels: Tensor,
    kinds: Sequence[Tensor],
    tokens: TokenIds,
    known: Sequence[str] = ALL_KINDS,
) -> Tensor:
    """Count right tokens, right region names and exact answers.

    Args:
        logits: (B, T, V).
        labels: (B, T).
        kinds: per row (turns,) indices into `known`.
        tokens: ids of the new tokens.
        known: kinds of questions.

    Returns:
        (B, number of `columns_of` these kinds).
    """
    right = torch.zeros_like(labels, dtype=torch.bool)
    right[:, 1:] = logits[:, :-1].argmax(dim=-1) == labels[:, 1:]
    supervised = labels != IGNORED
    pointer = supervised & (labels >= tokens.region(0))
    turns = answers(labels)
    padded = pad(kinds, 0).to(labels.device)
    num_turns = int(turns.max()) + 1
    wrong = torch.zeros(len(labels), num_turns + 1, device=labels.device)
    wrong.scatter_add_(1, turns + 1, (supervised & ~right).float())
    exact = wrong[:, 1:] == 0
    asked = torch.arange(num_turns, device=labels.device) <= turns.amax(dim=1, keepdim=True)
    columns = [
        supervised.sum(1),
        (right & supervised).sum(1),
        pointer.sum(1),
        (right & pointer).sum(1),
    ]
    padded = padded[:, :num_turns]
    for group in groups_of(known):
        members = torch.tensor(
            [k == group or k.split("_")[0] == group for k in known], device=labels.device
        )
        among = asked & members[padded]
        columns += [among.sum(1), (among & exact).sum(1)]
    return torch.stack(columns, dim=1).float()


def summarise_answers(
    prediction: EvalPrediction, known: Sequence[str] = ALL_KINDS
) -> dict[str, float]:
    """Turn (conversations, number of `columns_of`) counts into shares."""
    sums = torch.as_tensor(prediction.predictions).sum(dim=0).tolist()
    totals, groups = dict(zip(columns_of(known), sums, strict=True)), groups_of(known)
    shares = {"tokens": totals["tokens_right"] / max(1, totals["tokens"])}
    shares["pointers"] = totals["pointers_right"] / max(1, totals["pointers"])
    families = [group for group in groups if not group.startswith("rec_")]
    asked = sum(totals[f"asked_{group}"] for group in families)
    exact = sum(totals[f"exact_{group}"] for group in families)
    shares["exact"] = exact / max(1, asked)
    return shares | {
        f"exact_{group}": totals[f"exact_{group}"] / totals[f"asked_{group}"]
        for group in groups
        if totals[f"asked_{group}"]
    }
