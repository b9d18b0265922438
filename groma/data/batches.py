"""Examples stacked into batches, padded on the right."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from groma.tokens import PAD, TokenIds
from groma.types import IGNORED

Example = dict[str, Any]  # what is learnt from one sample; `groma.data.dataset` says what is in it


def pad(rows: Sequence[Tensor], value: int) -> Tensor:
    """Stack rows (T_i,) into (B, T), filled up on the right."""
    return pad_sequence(list(rows), batch_first=True, padding_value=value)


def pad_conversations(
    ids: Sequence[Tensor], labels: Sequence[Tensor], tokens: TokenIds
) -> dict[str, Tensor]:
    """Stack conversations into `input_ids` and `labels`, each (B, T)."""
    return {"input_ids": pad(ids, tokens[PAD]), "labels": pad(labels, IGNORED)}


@dataclass(frozen=True)
class ExampleCollator:
    """Stacks conversations."""

    tokens: TokenIds  # ids of the new tokens

    def __call__(self, examples: Sequence[Example]) -> Example:
        """A batch, as `GromaForConditionalGeneration.forward` takes it.

        `pixels` (B, 3, S, S) uint8, `input_ids` and `labels` (B, T), and per row `refer_boxes` and
        `ground_boxes`.
        """
        ids, labels = ([example[part] for example in examples] for part in ("ids", "labels"))
        return {
            "pixels": torch.stack([example["pixels"] for example in examples]),
            **pad_conversations(ids, labels, self.tokens),
            **{
                part: [example[part] for example in examples]
                for part in ("refer_boxes", "ground_boxes")
            },
        }


def collate_detection(examples: Sequence[Example]) -> Example:
    """Stack detection examples, as `GromaForConditionalGeneration.detection_loss` takes them.

    `pixels` (B, 3, S, S) uint8, `boxes` per row, and the one `head` of the batch. Raises
    `ValueError` if the examples train different heads: a batch comes from one source.
    """
    heads = {example["head"] for example in examples}
    if len(heads) > 1:
        raise ValueError("A batch trains one objectness head; read the examples in sequence.")
    return {
        "pixels": torch.stack([example["pixels"] for example in examples]),
        "boxes": [example["boxes"] for example in examples],
        "head": heads.pop(),
    }
