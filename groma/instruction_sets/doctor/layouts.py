"""What the four numbers of a box can mean, and boxes in the documented layout."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from groma.instruction_sets.readers.set_items import RawBox
from groma.types import Box, GromaError, Size

Order = Literal["xywh", "xyxy", "cxcywh"]
Unit = Literal["pixels", "fractions", "thousandths"]


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

    @property
    def name(self) -> str:
        """In one word."""
        return f"{self.order}-{self.unit}"

    def frame(self, size: Size) -> tuple[float, float]:
        """Width and height of the picture in this layout's unit."""
        height, width = size
        sides: Mapping[Unit, tuple[float, float]] = {
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


DOCUMENTED = Layout()
"""What Groma-Instruct and COCO say."""
LAYOUTS = tuple(
    Layout(order, unit)
    for unit in ("pixels", "fractions", "thousandths")
    for order in ("xywh", "xyxy", "cxcywh")
)


def find_layouts(name: str) -> tuple[Layout, ...]:
    """The layouts of a name: one, or those of every unit where it names an order alone.

    Raises:
        GromaError: if there is none.
    """
    if found := tuple(layout for layout in LAYOUTS if name in (layout.order, layout.name)):
        return found
    raise GromaError(
        f"{name!r} is no layout of boxes; it must be xywh, xyxy or cxcywh, alone or with -pixels, "
        "-fractions or -thousandths."
    )


def to_pixels(box: RawBox, layout: Layout, size: Size) -> RawBox:
    """A box as x, y, width, height in pixels; one that is not four numbers stays as it is.

    Args:
        box: as annotated.
        layout: what its numbers are.
        size: (H, W) of the picture.
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
