"""Changes to pictures and their boxes while training: mirroring and scale jitter (paper 3.3)."""

import re
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from groma.data.sample import GroundedSample, plain_text
from groma.data.sources.items import BrokenItem, DetectionSample, Head, Sample
from groma.dice import Dice
from groma.types import Box

_SMALLEST_CROP = 0.5  # shortest side of a crop as a share of the picture's
_LEAST_VISIBLE = 0.4  # A box of which less than this share lies in a crop is left out
_SEGMENT_AREAS = (14 / 448) ** 2, (400 / 448) ** 2
"""Least and most area of a segment that is learnt, as shares of the view: smaller ones are less
than a patch, larger ones are what is behind everything."""
JITTER = 0.06  # most that an edge of a true box moves, as a share of the box's side
_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_SIDED = re.compile(
    r"\b(left|right|leftmost|rightmost|lefthand|righthand|lefty|righty|clockwise|"
    r"counter-?clockwise|anti-?clockwise|east|west|eastern|western|o'clock|mirror(ed)?|"
    r"text|words?|letters?|sign|says|reads?|written|logo|numbers?|numerals?)\b|\d|\b[lr]\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Augmentation:
    """How often a picture is changed."""

    flip: float = 0.0  # probability of mirroring, where the words stay true
    crop: float = 0.0  # probability of showing only a part, for detection alone

    def draw(self, sample: Sample, dice: Dice) -> "View":
        """Decide what is done to one sample."""
        flip = dice.maybe(self.flip) and _is_mirrorable(sample)
        if isinstance(sample, DetectionSample) and dice.maybe(self.crop):
            return View(_draw_window(dice), flip)
        return View(flip=flip)


@dataclass(frozen=True)
class View:
    """A window of a picture, perhaps mirrored."""

    window: Box = _WHOLE  # xyxy in [0, 1] of the picture
    flip: bool = False  # whether it is mirrored after cutting

    def picture(self, image: Image.Image, side: int) -> Image.Image:
        """What is seen, as a square of `side` pixels."""
        left, top, right, bottom = self.window
        frame = left * image.width, top * image.height, right * image.width, bottom * image.height
        seen = image.resize((side, side), Image.Resampling.BICUBIC, box=frame)
        return ImageOps.mirror(seen) if self.flip else seen

    def box(self, box: Box) -> Box:
        """Where a box is in the view, cut at its edges; xyxy in [0, 1]."""
        left, top, right, bottom = self.window
        width, height = right - left, bottom - top
        x1, x2 = ((x - left) / width for x in (box[0], box[2]))
        y1, y2 = ((y - top) / height for y in (box[1], box[3]))
        if self.flip:
            x1, x2 = 1 - x2, 1 - x1
        return max(0.0, x1), max(0.0, y1), min(1.0, x2), min(1.0, y2)

    def apply(self, sample: GroundedSample) -> GroundedSample:
        """A conversation about the view; its window is the whole picture."""
        return replace(sample, boxes=tuple(self.box(box) for box in sample.boxes))

    def keep(self, sample: DetectionSample) -> tuple[Self, list[Box]]:
        """Boxes to learn from, and the view; without a crop if it would show none.

        Raises `BrokenItem` if there is none even so.
        """
        for view in (self, replace(self, window=_WHOLE)):
            shown = [view.box(box) for box in sample.boxes if view._shows(box)]
            if learnt := [box for box in shown if _is_learnt(box, sample.head)]:
                return view, learnt
        raise BrokenItem("no segment of a size that is learnt")

    def _shows(self, box: Box) -> bool:
        left, top, right, bottom = self.window
        width = min(box[2], right) - max(box[0], left)
        height = min(box[3], bottom) - max(box[1], top)
        area = (box[2] - box[0]) * (box[3] - box[1])
        return width > 0 and height > 0 and width * height >= _LEAST_VISIBLE * area


def _is_learnt(box: Box, head: Head) -> bool:
    """Whether a box in a view is learnt from; any object is, segments are by their size."""
    least, most = _SEGMENT_AREAS
    return head == "coco" or least <= (box[2] - box[0]) * (box[3] - box[1]) <= most


def _is_mirrorable(sample: Sample) -> bool:
    """Whether everything said stays true in a mirror: no word of sides, signs or writing."""
    if isinstance(sample, DetectionSample):
        return True
    said = [pieces for turn in sample.turns for pieces in (turn.question, turn.answer)]
    return not any(turn.kind == "chat" for turn in sample.turns) and not any(
        _SIDED.search(plain_text(pieces, sample.user_regions)) for pieces in said
    )


def _draw_window(dice: Dice) -> Box:
    width, height = (dice.uniform(_SMALLEST_CROP, 1) for _ in range(2))
    left, top = dice.uniform(0, 1 - width), dice.uniform(0, 1 - height)
    return left, top, left + width, top + height


def redraw(boxes: Tensor, dice: Dice) -> Tensor:
    """(N, 4) boxes as a user draws them: each edge off by up to a share of the box's side."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    noise = dice.arrays.uniform(-JITTER, JITTER, boxes.shape).astype(np.float32)
    return (boxes + torch.from_numpy(noise) * sides).clamp(0, 1)
