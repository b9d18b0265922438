"""Groma-Instruct JSON, and conversations of LLaVA and chat models, which seldom have boxes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from groma.data.sources.groma_instruct import HUMAN, ROLES, escape, escape_question
from groma.foreign import clean_text
from groma.instruction_sets.readers.box_values import read_box, read_size
from groma.instruction_sets.readers.set_items import GROMA, Item, Message, Note, RawBox
from groma.tokens import GROUND_BOX, IMAGE

_CONVERSATION = "conversation"
"""Field of Groma-Instruct in which a conversation is."""
_PLAIN = ("conversations", "messages")
"""Fields of others, in which texts mean boxes only if the item has some."""
_BOXES = ("boxes", "bboxes", "bbox")
"""What people call the field of boxes; the first is right."""
_SHOWN = ("image", "image_url", "path", "url", "file_name")
"""Fields of a part of a message, or of an entry of `images`, that name a picture."""


def read_items(data: Any) -> tuple[str, list[Item], list[Note]] | None:
    """Read what a file of either kind holds.

    Returns name of the format, items, and what is said about them; None if it is something else.
    """
    listed = [data] if isinstance(data, Mapping) else data
    if not isinstance(listed, list):
        return None
    is_grounded = any(map(_is_grounded, listed))
    if not is_grounded and not any(map(_is_plain, listed)):
        return None
    items = [_read_item(item, number) for number, item in enumerate(listed)]
    plain = "Grounded LLaVA" if any(item.boxes for item in items) else "LLaVA"
    return GROMA if is_grounded else plain, items, list(_note_names(listed))


def _is_grounded(item: Any) -> bool:
    """Whether it looks like an item of Groma-Instruct."""
    return isinstance(item, Mapping) and _CONVERSATION in item


def _is_plain(item: Any) -> bool:
    """Whether it looks like an item of LLaVA, or of a chat model."""
    return isinstance(item, Mapping) and any(field in item for field in _PLAIN)


def _has_boxes(item: Any) -> bool:
    """Whether boxes are beside its conversation."""
    return isinstance(item, Mapping) and bool(_find_boxes(item))


def _read_item(item: Any, number: int) -> Item:
    """Read one item of either kind; `number` is its position in the file, from 0."""
    if _is_grounded(item) or (_is_plain(item) and _has_boxes(item)):
        return _read_grounded(item, number)
    if _is_plain(item):
        return _read_plain(item, number)
    what = "has no conversation" if isinstance(item, Mapping) else "is no JSON object"
    return Item(number, flaws=(f"it {what}",))


def _note_names(items: Sequence[Any]) -> Iterator[Note]:
    """What is said about boxes that are called otherwise."""
    names = Counter(_find_boxes(item) for item in items if isinstance(item, Mapping))
    for name in _BOXES[1:]:
        if names[name]:
            sentence = f"The field {name!r} is read as {_BOXES[0]!r}."
            yield Note(f"field-{name}", sentence, "note")


def _read_grounded(item: Mapping[str, Any], number: int) -> Item:
    flaws: list[str] = []
    said = _said(_conversation(item), flaws)
    texts = [_read_message(message, flaws) for message in said]
    # Others do not say of a question whether it asks for boxes.
    asks = _is_grounded(item) or any(GROUND_BOX in text for _, text in texts)
    messages = [
        Message(
            role,
            text if i else _without_image(text),
            _read_indices(message.get("box_inds"), flaws),
            message.get("grounding", asks) is not False,
        )
        for i, ((role, text), message) in enumerate(zip(texts, said, strict=True))
    ]
    return Item(
        number,
        _read_picture(item, ("file_name", "image", "images", "picture"), flaws),
        read_size(item),
        _read_boxes(item, flaws),
        tuple(messages),
        tuple(dict.fromkeys(flaws)),
    )


def _read_plain(item: Mapping[str, Any], number: int) -> Item:
    """No text of these formats means a box; `<image>` only says where the picture goes."""
    flaws: list[str] = []
    messages = []
    for said in _said(_conversation(item), flaws):
        role, text = _read_message(said, flaws)
        text = text if messages else _without_image(text)
        text = escape_question(text) if role == HUMAN else escape(text)
        messages.append(Message(role, text, grounding=False))
    return Item(
        number,
        _read_picture(item, ("image", "images", "file_name"), flaws),
        read_size(item),
        messages=tuple(messages),
        flaws=tuple(dict.fromkeys(flaws)),
    )


def _conversation(item: Mapping[str, Any]) -> Any:
    return next(item[field] for field in (_CONVERSATION, *_PLAIN) if field in item)


def _without_image(text: str) -> str:
    """A first question without the mark of its picture, in front or at the end."""
    if text.strip().startswith(IMAGE):
        return text.strip().removeprefix(IMAGE).strip()
    if text.strip().endswith(IMAGE):
        return text.strip().removesuffix(IMAGE).strip()
    return text


def _find_boxes(item: Mapping[str, Any]) -> str:
    """Name of the field in which its boxes are, or nothing."""
    return next((name for name in _BOXES if item.get(name)), "")


def _read_boxes(item: Mapping[str, Any], flaws: list[str]) -> tuple[RawBox, ...]:
    boxes = item.get(_find_boxes(item) or _BOXES[0], [])
    if not isinstance(boxes, list):
        flaws.append("its boxes are no list")
        return ()
    if boxes and all(isinstance(side, int | float) for side in boxes):
        # One box that is not in a list.
        boxes = [boxes]
    return tuple(read_box(box) for box in boxes)


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
    """Name of the picture, beside the conversation or among the parts of its messages."""
    name = next((item[field] for field in fields if item.get(field)), None) or _shown(item)
    if isinstance(name, list):
        if len(name) > 1:
            flaws.append("it has several pictures, but Groma sees one at a time")
        name = name[0] if name else ""
    name = _name_of_part(name)
    if not isinstance(name, str):
        flaws.append("the name of its picture is no text")
        return ""
    return clean_text(name).strip()


def _shown(item: Mapping[str, Any]) -> list[Any]:
    """Pictures among the parts of messages, each once."""
    said = _conversation(item)
    found: list[Any] = []
    for message in said if isinstance(said, list) else ():
        parts = message.get("content", message.get("value")) if isinstance(message, Mapping) else ()
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, Mapping) and (name := _name_of_part(part)) and name not in found:
                found.append(name)
    return found


def _name_of_part(part: Any) -> Any:
    """Name of a picture that a part of a message shows: `image`, `image_url`, `path`, `url`."""
    while isinstance(part, Mapping):
        part = next((part[field] for field in _SHOWN if part.get(field)), "")
    return part
