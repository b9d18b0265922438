"""Two models on the same questions, side by side: what an adapter changed (A/B)."""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from groma.chat.chat import Groma
from groma.chat.conversation import GroundedReply
from groma.chat.settings import GenerationSettings
from groma.data.sample import QA, GroundedSample, plain_text, regions_of
from groma.eval.harness.asker import hold
from groma.eval.statistics.matching import match_boxes, overlaps
from groma.image import load_image
from groma.types import Box

_Change = tuple[Literal["same", "base", "adapter"], str]
"""Words that both replies have, or only one of them."""


@dataclass(frozen=True)
class ComparedReply:
    """One question, and how both models answer it."""

    picture: Path  # its file
    question: str  # as typed
    # Boxes that the question points at, by their numbers in it, xyxy in pixels.
    pointed: tuple[tuple[int, Box], ...]
    wanted: str  # the answer that the example gives
    wanted_boxes: tuple[Box, ...]  # of its phrases, xyxy in pixels
    base: GroundedReply  # reply of the one model
    adapter: GroundedReply  # reply of the other
    # How well the one points: mean overlap of boxes and wanted boxes, matched one to one, 0 for
    # each that has no partner; None where neither points nor is to point.
    base_iou: float | None
    adapter_iou: float | None  # the same of the other
    agreement: float | None  # the same between the replies' own boxes
    changes: tuple[_Change, ...]  # the words of both replies, in order

    @property
    def iou_gain(self) -> float | None:
        """How much better the adapter points; None where that is not judged."""
        if self.base_iou is None or self.adapter_iou is None:
            return None
        return self.adapter_iou - self.base_iou

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        replies = {"base": self.base.to_dict(), "adapter": self.adapter.to_dict()}
        return vars(self) | {"picture": str(self.picture), "iou_gain": self.iou_gain} | replies


def compare(
    base: Groma, adapter: Groma, samples: Sequence[GroundedSample], settings: GenerationSettings
) -> Iterator[ComparedReply]:
    """Ask two models the questions of held-out examples, every example a talk of its own.

    Yields a row per question, as soon as both have answered an example; raises `GromaError` if a
    picture, whose file each sample names, cannot be read.
    """
    for sample in samples:
        image = load_image(sample.picture)
        base_replies, adapter_replies = (
            hold(groma.chat(image, **asdict(settings)), sample) for groma in (base, adapter)
        )
        for turn, *replies in zip(sample.turns, base_replies, adapter_replies, strict=True):
            yield compare_replies(sample, turn, *replies)


def compare_replies(
    sample: GroundedSample, turn: QA, base: GroundedReply, adapter: GroundedReply
) -> ComparedReply:
    """Set two replies to one question of a sample side by side."""
    wanted = sample.in_pixels(dict.fromkeys(regions_of(turn.answer)))
    found = [[region.box for region in reply.regions] for reply in (base, adapter)]
    return ComparedReply(
        picture=Path(sample.picture),
        question=plain_text(turn.question, sample.user_regions),
        pointed=_pointed(sample, turn),
        wanted=plain_text(turn.answer),
        wanted_boxes=wanted,
        base=base,
        adapter=adapter,
        base_iou=_mean_overlap(found[0], wanted),
        adapter_iou=_mean_overlap(found[1], wanted),
        agreement=_mean_overlap(*found),
        changes=_word_changes(base.text, adapter.text),
    )


def _mean_overlap(found: Sequence[Box], wanted: Sequence[Box]) -> float | None:
    """Mean IoU of boxes matched one to one, 0 for each without partner; None if there are none."""
    if not found and not wanted:
        return None
    iou = overlaps(found, wanted)
    pairs = match_boxes(found, wanted, threshold=0.0)
    return float(sum(iou[pair] for pair in pairs)) / max(len(found), len(wanted))


def _word_changes(base: str, adapter: str) -> tuple[_Change, ...]:
    """What was said by both and by each alone, word by word."""
    a, b = base.split(), adapter.split()
    changes: list[_Change] = []
    for tag, a0, a1, b0, b1 in difflib.SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            changes.append(("same", " ".join(a[a0:a1])))
            continue
        changes += [("base", " ".join(a[a0:a1]))] * (a1 > a0)
        changes += [("adapter", " ".join(b[b0:b1]))] * (b1 > b0)
    return tuple(changes)


def _pointed(sample: GroundedSample, turn: QA) -> tuple[tuple[int, Box], ...]:
    """Boxes of the mentions in a question, once each, by the numbers people read there."""
    users, named = sample.user_regions, list(dict.fromkeys(regions_of(turn.question)))
    return tuple(
        zip((users.index(region) + 1 for region in named), sample.in_pixels(named), strict=True)
    )
