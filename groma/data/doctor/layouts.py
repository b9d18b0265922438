"""How the numbers of boxes are meant: recognised by what fits the pictures, over a whole set."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

from groma.data.instructions.items import RawBox
from groma.types import Size

Order = Literal["xywh", "xyxy", "cxcywh"]
Unit = Literal["pixels", "fractions", "thousandths"]

_SLACK = 0.02
"""Boxes may hang over the edge by this share of a side."""
_WORST = 6.0
"""Evidence of one box against a layout that it cannot have."""
_MOST = 18.0
"""Evidence of one item against a layout, however many boxes it has."""
MARGIN = 5.0
"""Evidence, in logarithms of odds, that it takes to doubt the documented layout."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the four numbers of a box are."""

    order: Order = "xywh"
    unit: Unit = "pixels"

    def __str__(self) -> str:
        """In words."""
        sides = {
            "xywh": "x, y, width, height",
            "xyxy": "x1, y1, x2, y2",
            "cxcywh": "centre x, centre y, width, height",
        }
        units = {
            "pixels": "in pixels",
            "fractions": "in fractions of the picture, 0 to 1",
            "thousandths": "in thousandths of the picture, 0 to 1000",
        }
        return f"{sides[self.order]} {units[self.unit]}"

    def frame(self, size: Size) -> tuple[float, float]:
        """Width and height of the picture in this layout's unit."""
        height, width = size
        sides: Mapping[Unit, tuple[float, float]] = {
            "pixels": (width, height),
            "fractions": (1.0, 1.0),
            "thousandths": (1000.0, 1000.0),
        }
        return sides[self.unit]


DOCUMENTED = Layout()
"""What Groma-Instruct and COCO say."""
LAYOUTS = tuple(
    Layout(order, unit)
    for unit in ("pixels", "fractions", "thousandths")
    for order in ("xywh", "xyxy", "cxcywh")
)


def to_pixels(box: RawBox, layout: Layout, size: Size) -> RawBox:
    """A box as x, y, width, height in pixels.

    Args:
        box: four finite numbers.
        layout: what they are.
        size: (H, W) of the picture.
    """
    x1, y1, x2, y2 = _corners(box, layout.order)
    height, width = size
    across, down = layout.frame(size)
    x1, x2 = x1 * width / across, x2 * width / across
    y1, y2 = y1 * height / down, y2 * height / down
    return (x1, y1, x2 - x1, y2 - y1)


def is_four_numbers(box: RawBox) -> bool:
    """Whether it can be a box at all."""
    return len(box) == 4 and all(map(math.isfinite, box))


def score(boxes: Sequence[RawBox], size: Size, layout: Layout) -> float:
    """How well boxes of one item agree with a layout: a logarithm of odds.

    A box that does not fit speaks against it, the more the worse it fits; and of units that fit,
    the smaller frame is likelier, because boxes would hardly keep to a corner of a larger one.

    Args:
        boxes: of one item; those that are not four numbers have no say.
        size: (H, W) of the picture.
        layout: what is assumed.
    """
    usable = [box for box in boxes if is_four_numbers(box)]
    if not usable:
        return 0.0
    across, down = layout.frame(size)
    corners = [_corners(box, layout.order) for box in usable]
    overs = [_over(box, across, down) for box in corners]
    against = sum(map(_misfit, corners, overs))
    # The frame that would hold every box.
    stretch = 1 + max(0.0, *overs)
    return -min(_MOST, against) - math.log(across * down * stretch**2)


def scores(boxes: Sequence[RawBox], size: Size) -> dict[Layout, float]:
    """`score` of every layout."""
    return {layout: score(boxes, size, layout) for layout in LAYOUTS}


def best(scored: Iterable[Mapping[Layout, float]]) -> Layout:
    """The layout that agrees best with all items together.

    Args:
        scored: of each item, what `scores` returns.

    Returns:
        The documented layout unless another is better by `MARGIN`.
    """
    total = dict.fromkeys(LAYOUTS, 0.0)
    for item in scored:
        for layout, value in item.items():
            total[layout] += value
    found = max(LAYOUTS, key=lambda layout: total[layout])
    return found if total[found] > total[DOCUMENTED] + MARGIN else DOCUMENTED


def recognise(boxes: Sequence[RawBox], size: Size) -> Layout:
    """`best` for one item alone."""
    return best([scores(boxes, size)])


def convert(boxes: Sequence[RawBox], size: Size, layout: Layout) -> tuple[RawBox, ...]:
    """Boxes of an item as x, y, width, height in pixels.

    Boxes that are clearly so already, or that are not four numbers, stay as they are.
    """
    values = scores(boxes, size)
    if values[DOCUMENTED] > values[layout] + MARGIN:
        return tuple(boxes)
    change = partial(to_pixels, layout=layout, size=size)
    return tuple(change(box) if is_four_numbers(box) else box for box in boxes)


def _corners(box: RawBox, order: Order) -> tuple[float, float, float, float]:
    a, b, c, d = box
    if order == "xyxy":
        return a, b, c, d
    if order == "xywh":
        return a, b, a + c, b + d
    return a - c / 2, b - d / 2, a + c / 2, b + d / 2


def _over(corners: tuple[float, float, float, float], across: float, down: float) -> float:
    """How far a box reaches over the edge, in sides of the picture; negative inside."""
    x1, y1, x2, y2 = corners
    return max(-x1 / across, -y1 / down, x2 / across - 1, y2 / down - 1)


def _misfit(corners: tuple[float, float, float, float], over: float) -> float:
    """Evidence of one box against a frame that it reaches over by so much."""
    x1, y1, x2, y2 = corners
    if x2 <= x1 or y2 <= y1:
        return _WORST
    return 0.0 if over <= _SLACK else min(_WORST, 2 + 8 * over)
