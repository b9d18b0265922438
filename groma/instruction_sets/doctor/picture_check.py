"""Is the picture there, and is it the one that was annotated?"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from groma.data.geometry import is_same_shape
from groma.instruction_sets.doctor.box_layouts import fits_picture
from groma.instruction_sets.doctor.edits import rescale
from groma.instruction_sets.doctor.finding import LEAVE_OUT, Finding, Fix
from groma.instruction_sets.readers.set_items import InstructionSet, Item, PictureFile
from groma.types import Size


def check_picture(item: Item, found: PictureFile) -> Iterator[Finding]:
    """Whether an item's picture can be read."""
    if item.flaws:
        return
    if not item.picture:
        sentence = "It names no picture; Groma learns only from what is said about pictures."
        yield Finding("picture-unnamed", "error", item.number, sentence, LEAVE_OUT)
    elif found.problem:
        fix = LEAVE_OUT
        sentence = found.reason or f"There is no picture {item.picture!r}."
        if found.near:
            fix = Fix(f"take {found.near!r}", lambda item: replace(item, picture=found.near))
            sentence += f" {found.near!r} may be meant."
        yield Finding(f"picture-{found.problem}", "error", item.number, sentence, fix)


def check_size(item: Item, found: PictureFile) -> Iterator[Finding]:
    """Whether the size of the picture is that of its annotations, where they say one."""
    size, right = item.size, found.size
    if right is None or size == right or item.flaws:
        return
    take = Fix("take the file's size", partial(replace, size=right))
    if size is None and not item.boxes:
        return
    if size is None:
        sentence = f"It does not say how large its picture is; the file has {_words(right)}."
        yield Finding("size-missing", "note", item.number, sentence, take)
    elif size == right[::-1] or not is_same_shape(size, right):
        yield _other_shape(item, size, right, take)
    elif item.boxes:
        yield _other_scale(item, size, right, take)


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


def is_settled(item: Item, found: PictureFile) -> Size | None:
    """(H, W) that an item's boxes are in, where that is known, so that they can be judged."""
    if found.size is None or item.flaws:
        return None
    size = item.size or found.size
    is_other = not is_same_shape(size, found.size) or _fits_alone(item, found.size, size)
    return None if size != found.size and is_other else size


def _are_one(one: str, other: str) -> bool:
    """Whether one name is the end of the other, so that both may be of one picture."""
    parts, others = (PurePosixPath(n.replace("\\", "/")).parts[::-1] for n in (one, other))
    return all(a == b for a, b in zip(parts, others, strict=False))


def _other_shape(item: Item, size: Size, found: Size, take: Fix) -> Finding:
    is_other = bool(item.boxes) and _fits_alone(item, size, found)
    severity = "error" if item.boxes else "note"
    says = f"it says {_words(size)}, but the file has {_words(found)}"
    if size != found[::-1]:
        other = " Its boxes do not fit the file: it may be another picture." if is_other else ""
        sentence = f"I{says[1:]}, which is another shape.{other}"
        return Finding(
            "size-shape", severity, item.number, sentence, LEAVE_OUT if is_other else take
        )
    if is_other:
        sentence = (
            f"Its boxes are for a picture of {_words(size)}, but upright the file has "
            f"{_words(found)}: it was annotated lying on its side."
        )
        return Finding("size-turned", "error", item.number, sentence, LEAVE_OUT)
    sentence = f"Height and width are swapped: {says}."
    return Finding("size-swapped", severity, item.number, sentence, take)


def _other_scale(item: Item, size: Size, found: Size, take: Fix) -> Finding:
    if _fits_alone(item, found, size):
        sentence = (
            f"It says {_words(size)}, but its boxes are in pixels of the file, {_words(found)}."
        )
        return Finding("size-boxes", "error", item.number, sentence, take)
    sentence = (
        f"It was annotated at {_words(size)}, but the file has {_words(found)}: boxes are scaled."
    )
    fix = Fix("scale the boxes to the file", partial(rescale, size=found))
    return Finding("size-scaled", "note", item.number, sentence, fix)


def _fits_alone(item: Item, size: Size, other: Size) -> bool:
    """Whether all boxes are in a picture of a size (H, W), but not in one of another."""
    return fits_picture(item.boxes, size) and not fits_picture(item.boxes, other)


def _words(size: Size) -> str:
    height, width = size
    return f"{width} x {height} pixels"
