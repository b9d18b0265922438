"""Boxes that are written in texts: those of Qwen become boxes, all others are pointed out."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from groma.data.sources.groma_instruct import GPT, HUMAN, NUMBER, TAG, Message
from groma.instruction_sets.doctor.box_layouts import Layout, to_pixels
from groma.instruction_sets.doctor.edits import POINTER_TAGS
from groma.instruction_sets.doctor.finding import Finding, Fix
from groma.instruction_sets.readers.set_items import Item, PictureFile, RawBox
from groma.tokens import GROUND_BOX
from groma.types import Size

_NUMBER = r"\d*\.?\d+"
_PAIR = rf"[\[(<{{]\s*{_NUMBER}\s*,\s*{_NUMBER}\s*[\])>}}]"
_COORDINATES = re.compile(
    rf"[\[(<{{]\s*(?:{_NUMBER}\s*,\s*){{3}}{_NUMBER}\s*[\])>}}]|{_PAIR}\s*,?\s*{_PAIR}"
)
_BOX = rf"(?:<box>|<\|box_start\|>)\s*{_PAIR}\s*,\s*{_PAIR}\s*(?:</box>|<\|box_end\|>)"
_NAMED_BOXES = re.compile(
    r"(?:<ref>|<\|object_ref_start\|>)(?P<words>[^<]*[^<\s][^<]*)(?:</ref>|<\|object_ref_end\|>)"
    rf"\s*(?P<boxes>{_BOX}(?:\s*{_BOX})*)"
)
"""Words and the boxes that they mean, as Qwen spells them."""
_QWEN = Layout("xyxy", "thousandths")


def check_coordinates(item: Item, picture: PictureFile) -> Iterator[Finding]:
    """Whether boxes are written in texts, where they would be learnt as numbers."""
    texts = " ".join(message.text for message in item.messages)
    found = _COORDINATES.search(texts)
    if not found:
        return
    sentence = (
        f"Coordinates are written in its text ({found[0][:40]}); the model points with boxes, "
        "and would learn to write numbers."
    )
    size = item.size or picture.size
    fix = None
    if size and has_named_boxes(item):
        fix = Fix("make boxes of them, 0 to 1000", partial(_make_boxes, size=size))
    yield Finding("text-coordinates", "warning", item.number, sentence, fix)


def has_named_boxes(item: Item) -> bool:
    """Whether boxes in its texts have words, and nothing is in the way of making boxes of them."""
    named = [match for m in item.messages for match in _NAMED_BOXES.finditer(m.text)]
    return (
        bool(named)
        and all(max(box) <= 1000 for match in named for box in _read(match["boxes"]))
        and not any(message.boxes or TAG.search(message.text) for message in item.messages)
        and not any(NUMBER.search(m.text) for m in item.messages if m.role == HUMAN)
    )


def _make_boxes(item: Item, size: Size) -> Item:
    """An item whose words mean boxes of its own; `size` is that of its picture, (H, W)."""
    if not has_named_boxes(item):
        return item
    boxes = list(item.boxes)
    messages = tuple(_take_boxes(message, boxes, size) for message in item.messages)
    is_stated = item.is_stated or not item.boxes
    return replace(item, size=size, boxes=tuple(boxes), messages=messages, is_stated=is_stated)


def _take_boxes(message: Message, boxes: list[RawBox], size: Size) -> Message:
    """A message with places for boxes, which are added to those of its item."""
    before = len(boxes)

    def edit(match: re.Match[str]) -> str:
        found = [to_pixels(box, _QWEN, size) for box in _read(match["boxes"])]
        boxes.extend(found)
        words = match["words"].strip()
        if message.role == GPT:
            return f"<p>{words}</p><roi>{GROUND_BOX * len(found)}</roi>"
        return f"{words} {POINTER_TAGS * len(found)}"

    text = _NAMED_BOXES.sub(edit, message.text)
    return replace(message, text=text, boxes=tuple(range(before, len(boxes))))


def _read(text: str) -> list[RawBox]:
    """Every four numbers of a text."""
    sides = [float(number) for number in re.findall(_NUMBER, text)]
    return [tuple(sides[i : i + 4]) for i in range(0, len(sides), 4)]
