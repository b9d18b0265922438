"""Ways in which a file goes wrong on its way: a few of them, one after the other."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

ODD: list[Any] = [
    *(None, True, 0, -1, 1.5, 1e308, 2**70, math.nan, math.inf, "", " ", "7", "a\0b", "\ud83d"),
    *("\u2028", "\u202e", "../../etc/passwd", "C:\\a.png", "x" * 3000, "1e999", "<r0>"),
    *([], {}, [[]], [None], [0, 0, 0, 0], {"id": {}}, {"counts": "", "size": [0, 0]}),
]
"""Values that take the place of others."""
ENCODINGS = ("utf-16", "utf-8-sig", "latin-1", "utf-32-be", "utf-7", "gbk")


class Step(NamedTuple):
    """One change.

    Attributes:
        kind: which.
        place: where, from 0 to 1.
        what: chooses among values.
    """

    kind: str
    place: float
    what: int


VALUES = ("retype", "drop", "nest", "twice", "rename", "spell")
"""Changes of a value of JSON."""
BYTES = ("cut", "flip", "insert", "encode", "repeat")
"""Changes of any file."""
NAMES = ("case", "ending", "decompose", "surround")
"""Changes of what a file is called."""


def steps(kinds: Sequence[str]) -> st.SearchStrategy[list[Step]]:
    """One to three changes; failures shrink to the fewest."""
    step = st.builds(
        Step, st.sampled_from(kinds), st.floats(0, 1, exclude_max=True), st.integers(0, 255)
    )
    return st.lists(step, min_size=1, max_size=3)


def mutate(data: bytes, changes: Sequence[Step]) -> bytes:
    """A file after some changes; those of values are left out where it is no JSON."""
    for change in changes:
        if change.kind in BYTES:
            data = _change_bytes(data, change)
        elif change.kind in VALUES:
            try:
                value = json.loads(data)
            except (ValueError, RecursionError):
                continue
            data = json.dumps(_change_value(value, change)).encode()
    return data


def rename(name: str, changes: Sequence[Step]) -> str:
    """What a file is called after some changes."""
    for change in changes:
        match change.kind:
            case "case":
                name = name.swapcase()
            case "ending":
                endings = (".json", ".jsonl", ".xml", ".txt", ".zip", ".csv", "", ".JSON.bak")
                name = Path(name).stem + endings[change.what % len(endings)]
            case "decompose":
                name = "cafe\u0301 " + name
            case "surround":
                name = ("\u202e", " ", "\udce9", "%41")[change.what % 4] + name
    return name


def _change_bytes(data: bytes, change: Step) -> bytes:
    at = int(change.place * len(data))
    match change.kind:
        case "cut":
            return data[:at]
        case "flip":
            return (
                data[:at] + bytes([data[at] ^ (change.what or 1)]) + data[at + 1 :] if data else b""
            )
        case "insert":
            odd = (b"\0", b"\xe2\x80\xa8", b"\xff", b"\r", b"\n", b'"', b"\\", b"[" * 5000)
            return data[:at] + odd[change.what % len(odd)] + data[at:]
        case "repeat":
            return data[:at] + data[at : at + change.what] * 3 + data[at:]
        case _:
            text = data.decode("utf-8", "replace")
            return text.encode(ENCODINGS[change.what % len(ENCODINGS)], "replace")


def _change_value(value: Any, change: Step) -> Any:
    """A value in which one place, counted over all places, is changed."""
    places = list(_places(value))
    if not places:
        return _replacement(value, change)
    holder, key = places[int(change.place * len(places))]
    match change.kind:
        case "drop":
            del holder[key]
        case "twice" if isinstance(holder, list):
            holder.insert(key, holder[key])
        case "rename" if isinstance(holder, dict):
            holder[str(ODD[change.what % len(ODD)])] = holder.pop(key)
        case _:
            holder[key] = _replacement(holder[key], change)
    return value


def _replacement(value: Any, change: Step) -> Any:
    match change.kind:
        case "nest":
            return [value] if change.what % 2 else {"value": value}
        case "spell":
            return str(value)
        case _:
            return ODD[change.what % len(ODD)]


def _places(value: Any) -> Any:
    """Every list or object, and key, at which there is a value."""
    keys = (
        value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    )
    for key in keys:
        yield value, key
        yield from _places(value[key])
