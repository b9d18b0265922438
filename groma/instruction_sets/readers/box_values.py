"""Values of strangers' JSON, read for what they may mean."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from groma.instruction_sets.readers.set_items import RawBox
from groma.types import Size

_SIDES = (
    (("x", "y", "width", "height"), False),
    (("x", "y", "w", "h"), False),
    (("left", "top", "width", "height"), False),
    (("x1", "y1", "x2", "y2"), True),
    (("xmin", "ymin", "xmax", "ymax"), True),
    (("left", "top", "right", "bottom"), True),
)
"""What the sides of a box are called, and whether the last two are its far corner."""


def read_box(value: Any) -> RawBox:
    """Numbers of a box, however many; none where they are no numbers.

    A box with named sides becomes x, y, width, height.
    """
    if isinstance(value, Mapping):
        return _read_named_box(value)
    if isinstance(value, str):
        value = re.split(r"[\s,;]+", value.strip(" ()[]"))
    if not isinstance(value, Sequence):
        return ()
    try:
        return tuple(_number(side) for side in value)
    except (TypeError, ValueError, OverflowError):
        return ()


def read_objects(value: Any, missed: Counter[str]) -> list[Mapping[str, Any]]:
    """The objects of a list; what else is in it is counted as an `object`."""
    listed = value if isinstance(value, list) else []
    objects = [entry for entry in listed if isinstance(entry, Mapping)]
    missed["object"] += len(listed) - len(objects)
    return objects


def read_size(
    fields: Mapping[str, Any], names: tuple[str, str] = ("height", "width")
) -> Size | None:
    """(H, W) of two fields, or None where they are no positive numbers."""
    try:
        height, width = (round(_number(fields[name])) for name in names)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return (height, width) if height > 0 and width > 0 else None


def _read_named_box(value: Mapping[str, Any]) -> RawBox:
    for names, is_corner in _SIDES:
        if all(name in value for name in names):
            box = read_box([value[name] for name in names])
            if box and is_corner:
                return (box[0], box[1], box[2] - box[0], box[3] - box[1])
            return box
    return ()


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError("truth is no number")
    return float(value)
