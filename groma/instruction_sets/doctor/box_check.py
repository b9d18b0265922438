"""Are the boxes in the picture, and there for something?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from groma.config import NUM_REGION_TOKENS
from groma.image import MIN_BOX_SIDE
from groma.instruction_sets.doctor.box_layouts import is_four_numbers
from groma.instruction_sets.doctor.edits import drop_boxes, drop_unused_boxes, merge_boxes
from groma.instruction_sets.doctor.finding import Finding, Fix, Severity
from groma.instruction_sets.doctor.picture_check import is_settled
from groma.instruction_sets.readers.set_items import Item, PictureFile, RawBox
from groma.types import Size

_OVER_EDGE = 0.005
"""Boxes may reach over the edge by this share of a side, or by a pixel, without a word."""


@dataclass(frozen=True)
class _Mistake:
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


def check_boxes(item: Item, found: PictureFile) -> Iterator[Finding]:
    """Whether every box is one, and in the picture."""
    yield from _complain(
        item,
        "box-numbers",
        [i for i, box in enumerate(item.boxes) if not is_four_numbers(box)],
        "not four finite numbers",
        Fix("leave the boxes out", partial(drop_boxes, is_good=is_four_numbers)),
    )
    if (frame := is_settled(item, found)) is None:
        return
    for mistake in _MISTAKES:
        bad = [i for i, box in enumerate(item.boxes) if mistake.is_made(box, frame)]
        fix = Fix(mistake.label, partial(_mend_boxes, mistake=mistake, size=frame))
        yield from _complain(item, mistake.code, bad, mistake.words, fix, mistake.severity)


def check_use(item: Item) -> Iterator[Finding]:
    """Whether every box is there once, and for something."""
    used = {i for message in item.messages for i in message.boxes}
    unused = [i for i in range(len(item.boxes)) if i not in used]
    same = [i for i, box in enumerate(item.boxes) if box in item.boxes[:i]]
    fix = Fix("leave the boxes out", drop_unused_boxes)
    yield from _complain(item, "box-unused", unused, "named by nobody", fix, "note")
    fix = Fix("keep the first of each", merge_boxes)
    yield from _complain(item, "box-twice", same, "given before", fix, "note")
    if len(used) > NUM_REGION_TOKENS:
        sentence = (
            f"It points at {len(used)} boxes; a picture has at most {NUM_REGION_TOKENS} regions."
        )
        yield Finding("boxes-many", "warning", item.number, sentence)


def _complain(
    item: Item,
    code: str,
    bad: Sequence[int],
    what: str,
    fix: Fix,
    severity: Severity = "error",
) -> Iterator[Finding]:
    """One finding about all boxes of an item that have the same wrong."""
    if bad:
        # From 0, as box numbers are in files.
        named = ", ".join(map(str, bad[:5])) + (", …" if len(bad) > 5 else "")
        are = f"Box {named} is" if len(bad) == 1 else f"Boxes {named} are"
        sentence = f"{are} {what}{_numbers(item.boxes[bad[0]])}."
        yield Finding(code, severity, item.number, sentence, fix)


def _numbers(box: RawBox) -> str:
    return f" ({', '.join(f'{side:g}' for side in box)})" if box else ""


def _mend_boxes(item: Item, mistake: _Mistake, size: Size) -> Item:
    """An item without a mistake, in a picture of size (H, W)."""
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


_MISTAKES = (
    _Mistake(
        "box-inverted",
        "error",
        "of negative width or height",
        _is_inverted,
        "swap the corners",
        _turn,
    ),
    _Mistake("box-empty", "error", "without area", _is_empty),
    _Mistake("box-outside", "error", "outside the picture", _is_outside),
    _Mistake(
        "box-over-edge",
        "warning",
        "partly outside the picture",
        _is_over_edge,
        "cut the boxes at the edge",
        _keep_inside,
    ),
)
"""In the order in which they are mended."""
