"""REC: which region do these words mean? RefCOCO, RefCOCO+ and RefCOCOg (paper 5.2).

One of six ways of asking, greedy; the first region named must overlap the true box by more than a
half. An answer without region is wrong.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from groma.data.sample import GroundedSample
from groma.data.sources.items import Samples, read_parts
from groma.eval.harness.asker import Asker, Protocol, Wording
from groma.eval.harness.benchmark import (
    Answers,
    Benchmark,
    Case,
    Score,
    number_of,
    read_boxes,
    rescale,
)
from groma.eval.statistics.intervals import Figure, divide, sums
from groma.eval.statistics.matching import overlaps
from groma.image import boxes_to_pixels
from groma.run_journal import Fields
from groma.types import Box, Size

_IOU = 0.5  # overlap that a right box exceeds


@dataclass(frozen=True)
class _Expression(Case):
    """Words that mean one thing."""

    words: str  # the expression
    box: Box  # what they mean, xyxy in pixels
    size: Size  # (H, W) of the picture


class Rec(Benchmark[_Expression]):
    """Referring expression comprehension: one sample per expression of the split; None is all."""

    name = "rec"
    unit = "expressions"

    def __init__(self, sources: Sequence[Path], samples: Samples, split: str | None = None) -> None:
        super().__init__(sources, *_read(samples), split)

    @classmethod
    def protocol(cls, wording: Wording) -> Protocol:
        """Three tokens are the one region that the released model answers with."""
        return Protocol(wording, 3 if wording == "tags" else 64, score_threshold=0.15)

    def answer(self, asker: Asker, case: _Expression, number: int) -> Fields:
        """Every region named, in order."""
        reply = asker.find(case.words, "rec", number)
        return {"boxes": rescale((r.box for r in reply.regions), reply.image_size, case.size)}

    def measure(self, cases: Sequence[_Expression], answers: Answers) -> Score:
        """Share of expressions whose first box is right, and what is behind it."""
        pictures = number_of([case.picture for case in cases])
        # Right answers, overlap of first boxes, answers without box, and expressions.
        counts = np.zeros((len(pictures), 4))
        for case in cases:
            first = read_boxes(answers.get(case.key, {"boxes": []}), case.key)[:1]
            iou = float(overlaps(first, [case.box])[0, 0]) if first else 0.0
            counts[pictures[case.picture]] += iou > _IOU, iou, not first, 1
        figures = (
            Figure("accuracy", f"accuracy at IoU > {_IOU}", len(cases), is_share=True),
            Figure("mean_iou", "mean IoU of the first region", len(cases)),
            Figure("no_region", "answers without region", len(cases), is_share=True),
        )
        return Score([sums(figures, counts, lambda x: divide(x[..., :3], x[..., 3:]))])


def _read(samples: Samples) -> tuple[list[_Expression], Counter[str]]:
    """Every expression by its number in the file, and how many cannot be used for which reason."""
    broken: Counter[str] = Counter()

    def read(index: int) -> _Expression:
        sample = samples[index]
        assert isinstance(sample, GroundedSample)
        (box,) = boxes_to_pixels(torch.tensor(sample.boxes, dtype=torch.float64), sample.size)
        words = str(sample.turns[0].question[0])
        return _Expression(str(index), sample.picture, words, box, sample.size)

    return read_parts(range(len(samples)), read, broken, needed=False), broken
