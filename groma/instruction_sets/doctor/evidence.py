"""What speaks for and against layouts of boxes, over a whole set: logarithms of odds.

Boxes that leave their picture, or end before they begin, speak against a layout; so do boxes that
all lean to one side, and corners between pixels where another layout has them on whole ones. What a
format documents is believed until more speaks against it.
"""

import math
from collections.abc import Sequence
from statistics import fmean

from groma.instruction_sets.doctor.layouts import (
    DOCUMENTED,
    LAYOUTS,
    Layout,
    is_four_numbers,
    to_pixels,
)
from groma.instruction_sets.readers.set_items import COCO, LLAVA_BOXES, RawBox
from groma.types import Box, Size

Framed = tuple[Sequence[RawBox], Size]
"""Boxes of one item, and (H, W) of the picture that they are in."""

_SLACK = 0.02
"""Boxes may hang over the edge by this share of a side."""
_WORST = 6.0
"""Evidence of one box against a layout that it cannot have."""
_MOST = 18.0
"""Evidence of one item against a layout, however many boxes it has."""
_CLEARLY = 5.0
"""So much better must the documented layout fit to be that of one item of another set."""
_OPEN = 2.0
"""Layouts that are so close to the best one remain possible."""
_DOCUMENTED = {COCO: 6.0}
"""What is believed of the documented layout by format, or else `_USUALLY`."""
_USUALLY = 3.5
_LIKELY = 1.0
"""What is believed of the order in which fractions usually are."""
_LEANING = 0.2
"""Standard deviation of the middle of an item's boxes, across, in widths of the picture."""
_MOST_LEANING = 3.0
_WHOLE = 0.06
"""Corners so near to whole pixels are on them; fractions with four decimals come so near."""
_NEARLY_ALL, _ENOUGH_CORNERS = 0.9, 8
_MOST_BETWEEN = 6.0
_ENOUGH = 1000
"""Items that are asked at most."""


def plausible(items: Sequence[Framed], origin: str | None = None) -> tuple[Layout, ...]:
    """The layouts that boxes may have; several where nothing tells them apart.

    Args:
        items: that have one layout.
        origin: format of the file; None to believe nothing of it.

    Returns:
        The likeliest first; never empty.
    """
    found = weigh(items, origin)
    best = max(found.values())
    return tuple(
        layout
        for layout in sorted(LAYOUTS, key=lambda layout: -found[layout])
        if found[layout] >= best - _OPEN
    )


def weigh(items: Sequence[Framed], origin: str | None = None) -> dict[Layout, float]:
    """All the evidence for every layout together; see `plausible`."""
    # A regular choice of them, where there are many.
    items = items[:: 1 + len(items) // _ENOUGH]
    between = {layout: _count_between(items, layout) for layout in LAYOUTS}
    return {
        layout: sum(score(boxes, size, layout) for boxes, size in items)
        - _lean(items, layout)
        - min(_MOST_BETWEEN, between[layout] if 0 in between.values() else 0)
        + _believe(layout, origin)
        for layout in LAYOUTS
    }


def score(boxes: Sequence[RawBox], size: Size, layout: Layout) -> float:
    """How well boxes of one item fit their picture in a layout.

    A box that does not fit speaks against it, the more the worse it fits; and of units that fit,
    the smaller frame is likelier, because boxes would hardly keep to a corner of a larger one.

    Args:
        boxes: of one item; those that are not four numbers have no say.
        size: (H, W) of the picture.
        layout: what is assumed.
    """
    corners = [layout.corners(box) for box in boxes if is_four_numbers(box)]
    if not corners:
        return 0.0
    across, down = layout.frame(size)
    overs = [_over(box, across, down) for box in corners]
    against = sum(map(_misfit, corners, overs))
    # The frame that would hold every box.
    stretch = 1 + max(0.0, *overs)
    return -min(_MOST, against) - math.log(across * down * stretch**2)


def fits(boxes: Sequence[RawBox], size: Size) -> bool:
    """Whether no box of one item speaks against the documented layout."""
    across, down = DOCUMENTED.frame(size)
    usable = [box for box in boxes if is_four_numbers(box)]
    corners = [DOCUMENTED.corners(box) for box in usable]
    are_shares = all(max(box) <= 1 for box in usable)
    return not are_shares and not any(_misfit(box, _over(box, across, down)) for box in corners)


def is_clearly_documented(boxes: Sequence[RawBox], size: Size, layout: Layout) -> bool:
    """Whether boxes of one item have the documented layout rather than this one."""
    return score(boxes, size, DOCUMENTED) > score(boxes, size, layout) + _CLEARLY


def _believe(layout: Layout, origin: str | None) -> float:
    """What is known before anything is seen."""
    if origin is None:
        return 0.0
    if layout == DOCUMENTED:
        return _DOCUMENTED.get(origin, _USUALLY)
    usual = "xyxy" if origin == LLAVA_BOXES else "cxcywh"
    return _LIKELY if layout == Layout(usual, "fractions") else 0.0


def _lean(items: Sequence[Framed], layout: Layout) -> float:
    """Evidence against boxes that on the whole are left or right of the middle.

    Up and down say nothing: things stand on the ground.
    """
    middles = [
        fmean((x1 + x2) / 2 / layout.frame(size)[0] - 0.5 for x1, _, x2, _ in corners)
        for boxes, size in items
        if (corners := [layout.corners(box) for box in boxes if is_four_numbers(box)])
    ]
    if not middles:
        return 0.0
    sigmas = sum(middles) / _LEANING
    return min(_MOST_LEANING, sigmas * sigmas / len(middles) / 2)


def _count_between(items: Sequence[Framed], layout: Layout) -> int:
    """How many corners are between pixels: 0 where nearly all are on whole ones.

    Numbers that are all whole may have been rounded, and say nothing.
    """
    sides = [
        side
        for boxes, size in items
        for box in boxes
        if is_four_numbers(box) and any(number % 1 for number in box)
        for side in to_pixels(box, layout, size)[:2]
    ]
    count = sum(abs((side + 0.5) % 1 - 0.5) > _WHOLE for side in sides)
    on_grid = len(sides) >= _ENOUGH_CORNERS and count <= (1 - _NEARLY_ALL) * len(sides)
    return 0 if on_grid else max(1, count)


def _over(corners: Box, across: float, down: float) -> float:
    """How far a box reaches over the edge, in sides of the picture; negative inside."""
    x1, y1, x2, y2 = corners
    return max(-x1 / across, -y1 / down, x2 / across - 1, y2 / down - 1)


def _misfit(corners: Box, over: float) -> float:
    """Evidence of one box against a frame that it reaches over by so much."""
    x1, y1, x2, y2 = corners
    if x2 <= x1 or y2 <= y1:
        return _WORST
    return 0.0 if over <= _SLACK else min(_WORST, 2 + 8 * over)
