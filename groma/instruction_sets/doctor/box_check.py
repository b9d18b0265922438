"""Are the boxes in the picture, and there for something?"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import NamedTuple

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


class _Mistake(NamedTuple):
    """What is said of a box, and what mends it; without a mend such boxes leave."""

    words: str
    severity: Severity = "error"
    label: str = "leave the boxes out"
    mend: Callable[[RawBox, Size], RawBox] | None = None


def check_boxes(item: Item, found: PictureFile) -> Iterator[Finding]:
    """Whether every box is one, and in the picture."""
    frame = is_settled(item, found)
    codes = [_judge(box, frame) for box in item.boxes]
    for code, mistake in _MISTAKES.items():
        bad = [i for i, own in enumerate(codes) if own == code]
        fix = Fix(mistake.label, partial(_mend_boxes, code=code, size=frame))
        yield from _complain(item, code, bad, mistake.words, fix, mistake.severity)


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
    item: Item, code: str, bad: Sequence[int], what: str, fix: Fix, severity: Severity = "error"
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


def _judge(box: RawBox, size: Size | None) -> str:
    """Code of the mistake that a box in a picture of size (H, W) is, or nothing."""
    if not is_four_numbers(box):
        return "box-numbers"
    if size is None:
        return ""
    x, y, width, height = box
    if min(width, height) < MIN_BOX_SIDE:
        return "box-inverted" if min(width, height) < 0 else "box-empty"
    if min(_keep_inside(box, size)[2:]) < MIN_BOX_SIDE:
        return "box-outside"
    over = max(
        max(-x, x + width - size[1]) - max(1, _OVER_EDGE * size[1]),
        max(-y, y + height - size[0]) - max(1, _OVER_EDGE * size[0]),
    )
    return "box-over-edge" if over > 0 else ""


def _mend_boxes(item: Item, code: str, size: Size | None) -> Item:
    """An item without a mistake, in a picture of size (H, W)."""
    mend = _MISTAKES[code].mend
    if mend is None or size is None:
        return drop_boxes(item, lambda box: _judge(box, size) != code)
    boxes = (mend(box, size) if _judge(box, size) == code else box for box in item.boxes)
    return replace(item, boxes=tuple(boxes))


def _turn(box: RawBox, _: Size) -> RawBox:
    x, y, width, height = box
    return (min(x, x + width), min(y, y + height), abs(width), abs(height))


def _keep_inside(box: RawBox, size: Size) -> RawBox:
    """The part of a box that is in a picture of size (H, W)."""
    x, y, width, height = box
    left, top = max(0.0, x), max(0.0, y)
    return (left, top, min(size[1], x + width) - left, min(size[0], y + height) - top)


_MISTAKES = {
    "box-numbers": _Mistake("not four finite numbers"),
    "box-inverted": _Mistake("of negative width or height", "error", "swap the corners", _turn),
    "box-empty": _Mistake("without area"),
    "box-outside": _Mistake("outside the picture"),
    "box-over-edge": _Mistake(
        "partly outside the picture", "warning", "cut the boxes at the edge", _keep_inside
    ),
}
"""By code, in the order in which they are mended."""
