"""How often a language model would answer right while it is trained.

An answer counts as exact if every one of its tokens is the likeliest after the true ones before
it: greedy decoding then gives this very answer.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import EvalPrediction

from groma.data.collate import answers, pad
from groma.data.scenes.language import KINDS
from groma.tokens import TokenIds
from groma.types import IGNORED

ALL_KINDS = (*KINDS, "region_colour", "region_size", "region_where")
GROUPS = tuple(
    dict.fromkeys([k for k in KINDS if k.startswith("rec_")] + [k.split("_")[0] for k in ALL_KINDS])
)
"""What is reported: each way of referring, and every family of questions."""
COUNTS = (
    "tokens",
    "tokens_right",
    "pointers",
    "pointers_right",
    *(f"{part}_{group}" for group in GROUPS for part in ("asked", "exact")),
)


def kind_indices(kinds: Sequence[str]) -> Tensor:
    """(turns,) indices into `ALL_KINDS`."""
    return torch.tensor([ALL_KINDS.index(kind) for kind in kinds])


@torch.no_grad()
def count_answers(
    logits: Tensor, labels: Tensor, kinds: Sequence[Tensor], tokens: TokenIds
) -> Tensor:
    """Count right tokens, right region names and exact answers.

    Args:
        logits: (B, T, V).
        labels: (B, T).
        kinds: per row (turns,) indices into `ALL_KINDS`.
        tokens: ids of the new tokens.

    Returns:
        (B, number of `COUNTS`).
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
    for group in GROUPS:
        members = torch.tensor(
            [k == group or k.split("_")[0] == group for k in ALL_KINDS], device=labels.device
        )
        among = asked & members[padded]
        columns += [among.sum(1), (among & exact).sum(1)]
    return torch.stack(columns, dim=1).float()


def summarise_answers(prediction: EvalPrediction) -> dict[str, float]:
    """Turn (conversations, number of `COUNTS`) counts into shares."""
    totals = dict(
        zip(COUNTS, torch.as_tensor(prediction.predictions).sum(dim=0).tolist(), strict=True)
    )
    shares = {"tokens": totals["tokens_right"] / max(1, totals["tokens"])}
    shares["pointers"] = totals["pointers_right"] / max(1, totals["pointers"])
    asked = sum(totals[f"asked_{k}"] for k in GROUPS if not k.startswith("rec_"))
    exact = sum(totals[f"exact_{k}"] for k in GROUPS if not k.startswith("rec_"))
    shares["exact"] = exact / max(1, asked)
    return shares | {
        f"exact_{group}": totals[f"exact_{group}"] / totals[f"asked_{group}"]
        for group in GROUPS
        if totals[f"asked_{group}"]
    }
