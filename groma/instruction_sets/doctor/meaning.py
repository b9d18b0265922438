"""What the numbers of boxes mean: recognised over a whole set, asked where that is not certain."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from groma.instruction_sets.doctor.evidence import (
    Framed,
    fits,
    is_clearly_documented,
    plausible,
    weigh,
)
from groma.instruction_sets.doctor.finding import LEAVE_OUT, Finding, Fix, Severity
from groma.instruction_sets.doctor.layouts import DOCUMENTED, Layout, find_layouts, to_pixels
from groma.instruction_sets.doctor.picture_check import is_settled
from groma.instruction_sets.readers.set_items import VIA, InstructionSet, Item
from groma.types import Size

_FEW = 0.2
"""If so few items disagree with a layout, it is that of the set."""

Frames = Mapping[int, Size]
"""(H, W) that the boxes of items are in, by their numbers."""


def check_layouts(instructions: InstructionSet) -> Iterator[Finding]:
    """Whether the numbers of boxes are in another order or unit than is documented.

    Where several layouts remain possible, each has a finding of its own, with the fix that reads
    boxes so.
    """
    framed = _framed(instructions)
    frames = {number: size for number, (_, size) in framed.items()}
    layouts = plausible(list(framed.values()), instructions.layout)
    against = sum(is_clearly_documented(*item, layouts[0]) for item in framed.values())
    if layouts[0] != DOCUMENTED and against > _FEW * len(framed):
        layouts = (DOCUMENTED,)
    yield from _say(None, layouts, frames)
    if DOCUMENTED in layouts:
        for number, item in framed.items():
            own = (DOCUMENTED,) if fits(*item) else plausible([item], instructions.layout)
            if DOCUMENTED not in own:
                yield from _say(number, own, {number: frames[number]})


def find_layout(instructions: InstructionSet, name: str) -> Layout:
    """The layout that somebody names; of several units the one that fits the boxes best.

    Raises:
        GromaError: if there is no such layout.
    """
    evidence = weigh(list(_framed(instructions).values()))
    return max(find_layouts(name), key=lambda layout: evidence[layout])


def read_as(instructions: InstructionSet, layout: Layout) -> InstructionSet:
    """A set whose boxes are said to have a layout; they are not doubted any more."""
    items = (_read_as(instructions, item, layout) for item in instructions.items)
    return replace(instructions, items=tuple(items))


def explain(instructions: InstructionSet) -> str:
    """How boxes are read, and how they might be read as well; empty where findings say it."""
    framed = list(_framed(instructions).values())
    layouts = plausible(framed)
    if not framed or DOCUMENTED not in layouts:
        return ""
    others = [layout for layout in layouts if layout != DOCUMENTED]
    too = f"; {_or(others)} would fit too" if others else ""
    return f"Boxes are read as {DOCUMENTED}{too}."


def _framed(instructions: InstructionSet) -> dict[int, Framed]:
    """Boxes that may be doubted, and what they are in, by the numbers of their items."""
    if instructions.layout == VIA:
        # There, every number has a name.
        return {}
    return {
        item.number: (item.boxes, frame)
        for item in instructions.items
        if item.boxes and not item.is_stated and is_settled(instructions, item)
        if (frame := instructions.frame(item))
    }


def _say(number: int | None, layouts: Sequence[Layout], frames: Frames) -> Iterator[Finding]:
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


def _ask(number: int | None, layouts: Sequence[Layout], frames: Frames) -> Iterator[Finding]:
    """A finding for each layout; boxes are read as documented until somebody chooses."""
    severity: Severity = "warning" if DOCUMENTED in layouts else "error"
    whose = "The boxes of this set" if number is None else "Its boxes"
    fit = "both" if len(layouts) == 2 else "all of them"
    for layout in layouts:
        sentence = f"Or choose this: {whose.lower()} are {layout}."
        if layout == layouts[0]:
            sentence = f"{whose} may be {_or(layouts)}: {fit} fit. Look at one, and choose."
        change = partial(_convert, frames=frames, layout=layout)
        fix = Fix(f"read them as {layout}", change, layout.name)
        yield Finding("layout-open", severity, number, sentence, fix)
    if number is not None and severity == "error":
        sentence = "Or leave it out, if nobody knows how its boxes are meant."
        yield Finding("layout-open", severity, number, sentence, LEAVE_OUT)


def _convert(item: Item, frames: Frames, layout: Layout) -> Item:
    """An item in the documented layout; one that clearly is so stays as it is."""
    frame = frames.get(item.number)
    if frame is None:
        return item
    if is_clearly_documented(item.boxes, frame, layout):
        return replace(item, is_stated=True)
    boxes = tuple(to_pixels(box, layout, frame) for box in item.boxes)
    return replace(item, boxes=boxes, is_stated=True)


def _read_as(instructions: InstructionSet, item: Item, layout: Layout) -> Item:
    """The same for a layout that is certain. Shares of a picture are shares of its file."""
    found = instructions.picture(item).size
    if layout.unit == "pixels":
        found = instructions.frame(item)
    elif found:
        item = replace(item, size=found)
    if found is None:
        return item
    boxes = tuple(to_pixels(box, layout, found) for box in item.boxes)
    return replace(item, boxes=boxes, is_stated=True)


def _or(layouts: Sequence[Layout]) -> str:
    return ", or ".join(map(str, layouts))
