"""Are the boxes in the picture, and there for something?"""

from collections.abc import Iterator, Sequence
from functools import partial

from groma.config import NUM_REGION_TOKENS
from groma.instruction_sets.doctor.edits import drop_boxes, drop_unused_boxes, merge_boxes
from groma.instruction_sets.doctor.finding import Finding, Fix, Severity
from groma.instruction_sets.doctor.layouts import is_four_numbers
from groma.instruction_sets.doctor.mistake_check import MISTAKES, mend_boxes
from groma.instruction_sets.doctor.picture_check import is_settled
from groma.instruction_sets.readers.set_items import InstructionSet, Item, RawBox
from groma.types import Size


def check_boxes(instructions: InstructionSet, item: Item) -> Iterator[Finding]:
    """Whether every box is one, and in the picture."""
    yield from _complain(
        item,
        "box-numbers",
        [i for i, box in enumerate(item.boxes) if not is_four_numbers(box)],
        "not four finite numbers",
        Fix("leave the boxes out", partial(drop_boxes, is_good=is_four_numbers)),
    )
    frame = _frame(instructions, item)
    if frame is None:
        return
    for mistake in MISTAKES:
        bad = [i for i, box in enumerate(item.boxes) if mistake.is_made(box, frame)]
        fix = Fix(mistake.label, partial(mend_boxes, mistake=mistake, size=frame))
        yield from _complain(item, mistake.code, bad, mistake.words, fix, mistake.severity)


def check_use(instructions: InstructionSet, item: Item) -> Iterator[Finding]:
    """Whether every box is there once, and for something."""
    del instructions
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


def _frame(instructions: InstructionSet, item: Item) -> Size | None:
    """(H, W) that boxes are in, where that is certain."""
    return instructions.frame(item) if is_settled(instructions, item) else None


def _complain(
    item: Item,
    code: str,
    bad: Sequence[int],
    what: str,
    fix: Fix,
    severity: Severity = "error",
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
