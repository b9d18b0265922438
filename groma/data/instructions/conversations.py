"""Groma-Instruct JSON, and the conversations of LLaVA and of chat models, which have no boxes."""

from collections.abc import Mapping, Sequence
from typing import Any

from groma.data.groma_instruct import HUMAN, ROLES, escape, escape_question
from groma.data.instructions.items import Item, Message, RawBox
from groma.data.instructions.values import read_box, read_size
from groma.tokens import IMAGE

PLAIN = ("conversations", "messages")
"""Fields in which conversations without boxes are."""


def is_grounded(item: Any) -> bool:
    """Whether it looks like an item of Groma-Instruct."""
    return isinstance(item, Mapping) and "conversation" in item


def is_plain(item: Any) -> bool:
    """Whether it looks like an item of LLaVA, or of a chat model."""
    return isinstance(item, Mapping) and any(field in item for field in PLAIN)


def read_item(item: Any, number: int) -> Item:
    """Read one item of either kind.

    Args:
        item: as JSON has it.
        number: position in the file, from 0.
    """
    if is_grounded(item):
        return _read_grounded(item, number)
    if is_plain(item):
        return _read_plain(item, number)
    what = "has no conversation" if isinstance(item, Mapping) else "is no JSON object"
    return Item(number, flaws=(f"it {what}",))


def _read_grounded(item: Mapping[str, Any], number: int) -> Item:
    flaws: list[str] = []
    boxes: list[RawBox] = []
    if isinstance(item.get("boxes"), list):
        boxes = [read_box(box) for box in item["boxes"]]
    elif "boxes" in item:
        flaws.append("its boxes are no list")
    messages = []
    for said in _said(item["conversation"], flaws):
        role, text = _read_message(said, flaws)
        indices = _read_indices(said.get("box_inds"), flaws)
        messages.append(Message(role, text, indices, said.get("grounding", True) is not False))
    return Item(
        number,
        _read_picture(item, ("file_name", "image", "picture"), flaws),
        read_size(item),
        tuple(boxes),
        tuple(messages),
        tuple(dict.fromkeys(flaws)),
    )


def _read_plain(item: Mapping[str, Any], number: int) -> Item:
    """No text of these formats means a box; `<image>` only says where the picture goes."""
    flaws: list[str] = []
    messages = []
    raw = next(item[field] for field in PLAIN if field in item)
    for said in _said(raw, flaws):
        role, text = _read_message(said, flaws)
        if not messages and text.strip().startswith(IMAGE):
            text = text.strip().removeprefix(IMAGE).strip()
        elif not messages and text.strip().endswith(IMAGE):
            text = text.strip().removesuffix(IMAGE).strip()
        text = escape_question(text) if role == HUMAN else escape(text)
        messages.append(Message(role, text, grounding=False))
    return Item(
        number,
        _read_picture(item, ("image", "images", "file_name"), flaws),
        read_size(item),
        messages=tuple(messages),
        flaws=tuple(dict.fromkeys(flaws)),
    )


def _said(value: Any, flaws: list[str]) -> Sequence[Mapping[str, Any]]:
    if not isinstance(value, list):
        flaws.append("its conversation is no list")
        return ()
    if not all(isinstance(said, Mapping) for said in value):
        flaws.append("a message of it is no JSON object")
    return [said for said in value if isinstance(said, Mapping)]


def _read_message(said: Mapping[str, Any], flaws: list[str]) -> tuple[str, str]:
    role = said.get("from", said.get("role"))
    text = said.get("value", said.get("content"))
    if isinstance(text, list):
        text = _join_parts(text)
    if not isinstance(text, str):
        flaws.append("a message of it has no text")
        text = ""
    role = role if isinstance(role, str) else ""
    return ROLES.get(role.lower(), role), text


def _join_parts(parts: Sequence[Any]) -> str | None:
    """Text of a message in parts, of which some may be pictures."""
    texts = [part.get("text", "") for part in parts if isinstance(part, Mapping)]
    is_text = len(texts) == len(parts) and all(isinstance(text, str) for text in texts)
    return "".join(texts) if is_text else None


def _read_indices(value: Any, flaws: list[str]) -> tuple[int, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(type(index) is int for index in value):
        flaws.append("the box numbers of a message are no list of whole numbers")
        return ()
    return tuple(value)


def _read_picture(item: Mapping[str, Any], fields: Sequence[str], flaws: list[str]) -> str:
    name = next((item[field] for field in fields if field in item), "")
    if isinstance(name, list):
        if len(name) > 1:
            flaws.append("it has several pictures, but Groma sees one at a time")
        name = name[0] if name else ""
    if not isinstance(name, str):
        flaws.append("the name of its picture is no text")
        return ""
    return name.strip()
