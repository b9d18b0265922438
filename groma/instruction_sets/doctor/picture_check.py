"""Is the picture there, and is it the one that was annotated?"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

from groma.instruction_sets.doctor.edits import rename_picture, rescale, resize
from groma.instruction_sets.doctor.evidence import score
from groma.instruction_sets.doctor.finding import LEAVE_OUT, Finding, Fix
from groma.instruction_sets.doctor.layouts import DOCUMENTED, is_four_numbers
from groma.instruction_sets.readers.set_items import (
    LLAVA_BOXES,
    VIA,
    InstructionSet,
    Item,
    is_same_shape,
)
from groma.types import Size

Problem = Literal["missing", "outside", "unreadable"]

_WITHOUT_SIZES = (VIA, LLAVA_BOXES)
"""Formats that never say how large pictures are."""
_CLEARLY = 1.0
"""So much better must boxes fit one size than another."""


def check_picture(instructions: InstructionSet, item: Item) -> Iterator[Finding]:
    """Whether an item's picture can be read."""
    if item.flaws:
        return
    if not item.picture:
        sentence = "It names no picture; Groma learns only from what is said about pictures."
        yield Finding("picture-unnamed", "error", item.number, sentence, LEAVE_OUT)
        return
    file = instructions.picture(item)
    if file.problem:
        fix = LEAVE_OUT
        sentence = file.reason or f"There is no picture {item.picture!r}."
        if file.near:
            fix = Fix(f"take {file.near!r}", partial(rename_picture, name=file.near))
            sentence += f" {file.near!r} may be meant."
        yield Finding(f"picture-{file.problem}", "error", item.number, sentence, fix)


def check_size(instructions: InstructionSet, item: Item) -> Iterator[Finding]:
    """Whether the size of the picture is that of its annotations."""
    found = instructions.picture(item).size
    if found is None or item.size == found or item.flaws:
        return
    if item.size is None:
        if item.boxes and instructions.layout not in _WITHOUT_SIZES:
            yield _missing(item, found)
        return
    if item.size == found[::-1]:
        yield from _swapped(item, item.size, found)
    elif not is_same_shape(item.size, found):
        yield from _other_shape(item, item.size, found)
    elif item.boxes:
        yield _other_scale(item, item.size, found)


def check_shared(instructions: InstructionSet) -> Iterator[Finding]:
    """Whether names of different pictures led to one file, because their folders are not there."""
    names: dict[Path | None, set[str]] = {}
    for item in instructions.items:
        names.setdefault(instructions.picture(item).path, set()).add(item.picture)
    names.pop(None, None)
    for item in instructions.items:
        others = names.get(instructions.picture(item).path, set())
        if other := next((o for o in sorted(others) if not _are_one(o, item.picture)), ""):
            sentence = (
                f"{item.picture!r} and {other!r} were found as one file; pack them in a zip "
                "together with their folders."
            )
            yield Finding("picture-shared", "error", item.number, sentence, LEAVE_OUT)


def is_settled(instructions: InstructionSet, item: Item) -> bool:
    """Whether it is known in what frame an item's boxes are, so that they can be judged."""
    found = instructions.picture(item).size
    if found is None or item.flaws:
        return False
    if item.size is None or item.size == found:
        return True
    return is_same_shape(item.size, found) and not _are_in_file(item, item.size, found)


def _are_one(one: str, other: str) -> bool:
    """Whether one name is the end of the other, so that both may be of one picture."""
    parts, others = (PurePosixPath(n.replace("\\", "/")).parts[::-1] for n in (one, other))
    return all(a == b for a, b in zip(parts, others, strict=False))


def _missing(item: Item, found: Size) -> Finding:
    sentence = f"It does not say how large its picture is; the file has {_words(found)}."
    fix = Fix("take the file's size", partial(resize, size=found))
    return Finding("size-missing", "note", item.number, sentence, fix)


def _swapped(item: Item, size: Size, found: Size) -> Iterator[Finding]:
    sentence = (
        f"Height and width are swapped: it says {_words(size)}, but the file has {_words(found)}."
    )
    if item.boxes and _fit(item, size) > _fit(item, found) + _CLEARLY:
        sentence = (
            f"Its boxes are for a picture of {_words(size)}, but upright the file has "
            f"{_words(found)}: it was annotated lying on its side."
        )
        yield Finding("size-turned", "error", item.number, sentence, LEAVE_OUT)
        return
    fix = Fix("take the file's size", partial(resize, size=found))
    severity = "error" if item.boxes else "note"
    yield Finding("size-swapped", severity, item.number, sentence, fix)


def _other_shape(item: Item, size: Size, found: Size) -> Iterator[Finding]:
    sentence = f"It says {_words(size)}, but the file has {_words(found)}, which is another shape."
    fits = not item.boxes or _fit(item, found) >= _fit(item, size) - _CLEARLY
    fix = Fix("take the file's size", partial(resize, size=found)) if fits else LEAVE_OUT
    if not fits:
        sentence += " Its boxes do not fit the file: it may be another picture."
    severity = "error" if item.boxes else "note"
    yield Finding("size-shape", severity, item.number, sentence, fix)


def _other_scale(item: Item, size: Size, found: Size) -> Finding:
    if _are_in_file(item, size, found):
        sentence = (
            f"It says {_words(size)}, but its boxes are in pixels of the file, {_words(found)}."
        )
        fix = Fix("take the file's size", partial(resize, size=found))
        return Finding("size-boxes", "error", item.number, sentence, fix)
    sentence = (
        f"It was annotated at {_words(size)}, but the file has {_words(found)}: boxes are scaled."
    )
    fix = Fix("scale the boxes to the file", partial(rescale, size=found))
    return Finding("size-scaled", "note", item.number, sentence, fix)


def _are_in_file(item: Item, size: Size, found: Size) -> bool:
    """Whether boxes fit the file of size `found` (H, W), and not the size annotated."""
    return _fit(item, found) > max(_fit(item, size) + _CLEARLY, -_CLEARLY)


def _fit(item: Item, size: Size) -> float:
    """How well boxes fit a picture, where larger ones are not worse for being larger."""
    boxes = [box for box in item.boxes if is_four_numbers(box)]
    height, width = size
    # Less what `score` takes off for the size itself.
    frame = score([(0.0, 0.0, width, height)], size, DOCUMENTED)
    return score(boxes, size, DOCUMENTED) - frame if boxes else 0.0


def _words(size: Size) -> str:
    height, width = size
    return f"{width} x {height} pixels"
