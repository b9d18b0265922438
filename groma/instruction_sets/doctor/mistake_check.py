"""What can be wrong with a box of four numbers in a picture, and what mends it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from groma.image import MIN_BOX_SIDE
from groma.instruction_sets.doctor.edits import drop_boxes
from groma.instruction_sets.doctor.finding import Severity
from groma.instruction_sets.doctor.layouts import is_four_numbers
from groma.instruction_sets.readers.set_items import Item, RawBox
from groma.types import Size

_OVER_EDGE = 0.005
"""Boxes may reach over the edge by this share of a side, or by a pixel, without a word."""


@dataclass(frozen=True)
class Mistake:
    """One of the things that can be wrong.

    Attributes:
        code: of the finding.
        severity: of the finding.
        words: what such a box is.
        test: whether a box of four numbers is so, in a picture of size (H, W).
        label: what mends it.
        mend: makes a right box of it; None where such boxes leave.
    """

    code: str
    severity: Severity
    words: str
    test: Callable[[RawBox, Size], bool]
    label: str = "leave the boxes out"
    mend: Callable[[RawBox, Size], RawBox] | None = None

    def is_made(self, box: RawBox, size: Size) -> bool:
        """Whether a box is so; one that is not four numbers never is."""
        return is_four_numbers(box) and self.test(box, size)


def mend_boxes(item: Item, mistake: Mistake, size: Size) -> Item:
    """An item without a mistake.

    Args:
        item: with boxes x, y, width, height in pixels.
        mistake: which.
        size: (H, W) of the picture.
    """
    if mistake.mend is None:
        return drop_boxes(item, lambda box: not mistake.is_made(box, size))
    boxes = (mistake.mend(box, size) if mistake.is_made(box, size) else box for box in item.boxes)
    return replace(item, boxes=tuple(boxes))


def _is_inverted(box: RawBox, _: Size) -> bool:
    return min(box[2:]) < 0


def _is_empty(box: RawBox, _: Size) -> bool:
    return 0 <= min(box[2:]) < MIN_BOX_SIDE


def _is_outside(box: RawBox, size: Size) -> bool:
    left, top, right, bottom = _cut(box, size)
    return min(box[2:]) >= MIN_BOX_SIDE > min(right - left, bottom - top)


def _is_over_edge(box: RawBox, size: Size) -> bool:
    x, y, width, height = box
    over = max(
        max(-x, x + width - size[1]) - max(1, _OVER_EDGE * size[1]),
        max(-y, y + height - size[0]) - max(1, _OVER_EDGE * size[0]),
    )
    return over > 0 and min(width, height) >= MIN_BOX_SIDE and not _is_outside(box, size)


def _turn(box: RawBox, _: Size) -> RawBox:
    x, y, width, height = box
    return (min(x, x + width), min(y, y + height), abs(width), abs(height))


def _keep_inside(box: RawBox, size: Size) -> RawBox:
    left, top, right, bottom = _cut(box, size)
    return (left, top, right - left, bottom - top)


def _cut(box: RawBox, size: Size) -> RawBox:
    """Corners of a box cut at the edge of a picture of size (H, W)."""
    x, y, width, height = box
    right, bottom = min(float(size[1]), x + width), min(float(size[0]), y + height)
    return (max(0.0, x), max(0.0, y), right, bottom)


MISTAKES = (
    Mistake(
        "box-inverted",
        "error",
        "of negative width or height",
        _is_inverted,
        "swap the corners",
        _turn,
    ),
    Mistake("box-empty", "error", "without area", _is_empty),
    Mistake("box-outside", "error", "outside the picture", _is_outside),
    Mistake(
        "box-over-edge",
        "warning",
        "partly outside the picture",
        _is_over_edge,
        "cut the boxes at the edge",
        _keep_inside,
    ),
)
"""In the order in which they are mended."""
