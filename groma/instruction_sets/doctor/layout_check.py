"""What the numbers of boxes mean: read as they fit a whole set, asked where two readings fit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from groma.instruction_sets.doctor.box_layouts import (
    DOCUMENTED,
    Framed,
    Layout,
    find_layout,
    fits_picture,
    fitting_layouts,
    possible_layouts,
    to_pixels,
)
from groma.instruction_sets.doctor.finding import LEAVE_OUT, Finding, Fix
from groma.instruction_sets.doctor.picture_check import is_settled
from groma.instruction_sets.readers.set_items import InstructionSet, Item
from groma.types import GromaError, Size

_Frames = Mapping[int, Size]
"""(H, W) that the boxes of items are in, by their numbers."""


def check_layouts(instructions: InstructionSet) -> Iterator[Finding]:
    """Whether the numbers of boxes are in another order or unit than is documented.

    Where several layouts remain possible, each has a finding of its own, with the fix that reads
    boxes so.
    """
    framed = _framed(instructions)
    frames = {number: size for number, (_, size) in framed.items()}
    layouts = possible_layouts(list(framed.values()))
    yield from _say(None, layouts, frames)
    if layouts == (DOCUMENTED,):
        for number, item in framed.items():
            own = possible_layouts([item], ("fractions", "pixels"))
            if DOCUMENTED not in own:
                yield from _say(number, own, {number: frames[number]})


def read_as(instructions: InstructionSet, name: str) -> tuple[InstructionSet, Layout]:
    """A set whose boxes somebody says to have a layout; they are not doubted any more.

    `name` as in `find_layout`. Raises `GromaError` if there is no such layout, or the format leaves
    no doubt.
    """
    with_boxes = [item for item in instructions.items if item.boxes]
    if with_boxes and all(item.is_stated for item in with_boxes):
        raise GromaError(
            f"{instructions.layout} says what the numbers of boxes are: leave --boxes out."
        )
    layout = find_layout(name, list(_framed(instructions).values()))
    items = (_read_as(instructions, item, layout) for item in instructions.items)
    return replace(instructions, items=tuple(items)), layout


def explain(instructions: InstructionSet) -> str:
    """How boxes are read, and how they might be read as well; empty where findings say it."""
    framed = list(_framed(instructions).values())
    if not framed or possible_layouts(framed) != (DOCUMENTED,):
        return ""
    others = [layout for layout in fitting_layouts(framed, "pixels") if layout != DOCUMENTED]
    too = f"; {_or(others)} would fit too" if others else ""
    return f"Boxes are read as {DOCUMENTED}{too}."


def _framed(instructions: InstructionSet) -> dict[int, Framed]:
    """Boxes that may be doubted, and what they are in, by the numbers of their items."""
    return {
        item.number: (item.boxes, frame)
        for item in instructions.items
        if item.boxes and not item.is_stated
        if (frame := is_settled(item, instructions.picture(item)))
    }


def _say(number: int | None, layouts: Sequence[Layout], frames: _Frames) -> Iterator[Finding]:
    """Findings about a set, or about one item, whose boxes may have these layouts."""
    if len(layouts) > 1:
        yield from _ask(number, layouts, frames)
        return
    (layout,) = layouts
    if layout != DOCUMENTED:
        fix = Fix(f"read them as {layout}", partial(_convert, frames=frames, layout=layout))
        code, sentence = "layout-set", f"The boxes of this set are {layout}, not {DOCUMENTED}."
        if number is not None:
            code, sentence = "layout-item", f"Its boxes are {layout}, other than those of the set."
        yield Finding(code, "error", number, sentence, fix)


def _ask(number: int | None, layouts: Sequence[Layout], frames: _Frames) -> Iterator[Finding]:
    """A finding for each layout; nothing is learnt until somebody chooses."""
    whose = "The boxes of this set" if number is None else "Its boxes"
    fit = "both" if len(layouts) == 2 else "all of them"
    for layout in layouts:
        sentence = f"Or choose this: {whose.lower()} are {layout}."
        if layout == layouts[0]:
            sentence = f"{whose} may be {_or(layouts)}: {fit} fit. Look at one, and choose."
        change = partial(_convert, frames=frames, layout=layout)
        fix = Fix(f"read them as {layout}", change, layout.name)
        yield Finding("layout-open", "error", number, sentence, fix)
    if number is not None:
        sentence = "Or leave it out, if nobody knows how its boxes are meant."
        yield Finding("layout-open", "error", number, sentence, LEAVE_OUT)


def _convert(item: Item, frames: _Frames, layout: Layout) -> Item:
    """An item in the documented layout; one that clearly is so stays as it is."""
    frame = frames.get(item.number)
    if frame is None:
        return item
    if fits_picture(item.boxes, frame) and not fits_picture(item.boxes, frame, layout):
        return replace(item, is_stated=True)
    boxes = tuple(to_pixels(box, layout, frame) for box in item.boxes)
    return replace(item, boxes=boxes, is_stated=True)


def _read_as(instructions: InstructionSet, item: Item, layout: Layout) -> Item:
    """The same for a layout that is certain. Shares of a picture are shares of its file."""
    found = instructions.picture(item).size
    if layout.unit == "pixels":
        found = item.size or found
    elif found:
        item = replace(item, size=found)
    if found is None:
        return item
    boxes = tuple(to_pixels(box, layout, found) for box in item.boxes)
    return replace(item, boxes=boxes, is_stated=True)


def _or(layouts: Sequence[Layout]) -> str:
    return ", or ".join(map(str, layouts))
