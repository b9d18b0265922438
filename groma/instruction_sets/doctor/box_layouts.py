"""What the four numbers of a box can mean: told where one reading alone fits, else several.

The documented one is believed where nearly all boxes fit in it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from groma.instruction_sets.readers.set_items import RawBox
from groma.types import Box, GromaError, Size

_Order = Literal["xywh", "xyxy", "cxcywh"]
_Unit = Literal["pixels", "fractions", "thousandths"]

Framed = tuple[Sequence[RawBox], Size]
"""Boxes of one item, and (H, W) of the picture that they are in."""

_NEARLY_ALL, _HALF = 0.9, 0.5
"""If so many boxes fit, a layout does; if so many do, the documented one is not ruled out."""
_SLACK, _HANGING = 0.02, 0.1
"""Boxes may hang over the edge by this share of a side, documented ones, drawn by hand, by more."""
_LARGE, _REACHED, _ENOUGH = 1200, 950, 8
"""Where pictures have more pixels, so many boxes that reach so far may be in thousandths."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the four numbers of a box are."""

    order: _Order = "xywh"
    unit: _Unit = "pixels"

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

    @property
    def name(self) -> str:
        """In one word."""
        return f"{self.order}-{self.unit}"

    def frame(self, size: Size) -> tuple[float, float]:
        """Width and height of the picture in this layout's unit."""
        height, width = size
        sides: Mapping[_Unit, tuple[float, float]] = {
            "pixels": (width, height),
            "fractions": (1.0, 1.0),
            "thousandths": (1000.0, 1000.0),
        }
        return sides[self.unit]

    def corners(self, box: RawBox) -> Box:
        """A box of four numbers as xyxy in this layout's unit."""
        a, b, c, d = box
        if self.order == "xyxy":
            return a, b, c, d
        if self.order == "xywh":
            return a, b, a + c, b + d
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2

    def fits(self, box: RawBox, size: Size, slack: float = _SLACK) -> bool:
        """Whether four numbers are a box in a picture of size (H, W)."""
        x1, y1, x2, y2 = self.corners(box)
        across, down = self.frame(size)
        over = max(-x1 / across, -y1 / down, x2 / across - 1, y2 / down - 1)
        return x1 < x2 and y1 < y2 and over <= slack


DOCUMENTED = Layout()
"""What Groma-Instruct and COCO say."""
_UNITS: tuple[_Unit, ...] = ("fractions", "pixels", "thousandths")
"""The smallest first: whole pixels are larger than fractions."""
_ORDERS: tuple[_Order, ...] = ("xywh", "xyxy", "cxcywh")
_LAYOUTS = tuple(Layout(order, unit) for unit in _UNITS for order in _ORDERS)


def find_layout(name: str, items: Sequence[Framed]) -> Layout:
    """The layout that somebody names: an order, alone or with a unit.

    Of several units it is the one in which most boxes fit. Raises `GromaError` if there is no such
    layout.
    """
    if found := [layout for layout in _LAYOUTS if name in (layout.order, layout.name)]:
        return max(found, key=lambda layout: _share(items, layout))
    raise GromaError(
        f"{name!r} is no layout of boxes; it must be xywh, xyxy or cxcywh, alone or with -pixels, "
        "-fractions or -thousandths."
    )


def possible_layouts(
    items: Sequence[Framed], units: Sequence[_Unit] = _UNITS
) -> tuple[Layout, ...]:
    """The layouts that the boxes of items, all of one layout, may have.

    One if the numbers tell it, never none; `units` are those that come into question.
    """
    documented = _share(items, DOCUMENTED)
    found = [fitting_layouts(items, unit) for unit in units]
    if documented >= _NEARLY_ALL:
        thousandths = found[-1] if units == _UNITS else ()
        return (DOCUMENTED, *(t for t in thousandths if _is_suspicious(items, t)))
    # Of frames that hold all boxes, a larger one would have boxes in a corner alone.
    likely = next((layouts for layouts in found if layouts), ())
    if documented < _HALF:
        return likely or (DOCUMENTED,)
    # Thousandths take nearly everything, the wrong boxes of a documented set as well.
    return (DOCUMENTED, *(layout for layout in likely if layout.unit != "thousandths"))


def fitting_layouts(items: Sequence[Framed], unit: _Unit) -> tuple[Layout, ...]:
    """The layouts of a unit in which nearly all boxes fit their pictures."""
    layouts = (layout for layout in _LAYOUTS if layout.unit == unit)
    return tuple(layout for layout in layouts if _share(items, layout) >= _NEARLY_ALL)


def fits_picture(boxes: Sequence[RawBox], size: Size, layout: Layout = DOCUMENTED) -> bool:
    """Whether all boxes of one item are in a picture of size (H, W)."""
    return _share([(boxes, size)], layout) == 1


def _share(items: Sequence[Framed], layout: Layout) -> float:
    """Share of boxes that fit; of those that are not four numbers nothing is said."""
    slack = _HANGING if layout == DOCUMENTED else _SLACK
    fit = [
        layout.fits(box, size, slack) and (layout.unit == "fractions" or max(box) > 1)
        for boxes, size in items
        for box in boxes
        if is_four_numbers(box)
    ]
    return sum(fit) / len(fit) if fit else 1.0


def _is_suspicious(items: Sequence[Framed], layout: Layout) -> bool:
    """Whether boxes reach to a thousand and no further, though all the pictures are larger."""
    if not items or min(max(size) for _, size in items) < _LARGE:
        return False
    usable = [box for boxes, _ in items for box in boxes if is_four_numbers(box)]
    reached = max((max(layout.corners(box)) for box in usable), default=0.0)
    return len(usable) >= _ENOUGH and reached >= _REACHED


def to_pixels(box: RawBox, layout: Layout, size: Size) -> RawBox:
    """A box as x, y, width, height in pixels of a picture of size (H, W).

    One that is not four numbers stays as it is.
    """
    if layout == DOCUMENTED or not is_four_numbers(box):
        return box
    x1, y1, x2, y2 = layout.corners(box)
    height, width = size
    across, down = layout.frame(size)
    x1, x2 = x1 * width / across, x2 * width / across
    y1, y2 = y1 * height / down, y2 * height / down
    return (x1, y1, x2 - x1, y2 - y1)


def is_four_numbers(box: RawBox) -> bool:
    """Whether it can be a box at all."""
    return len(box) == 4 and all(map(math.isfinite, box))
