"""The dataset doctor: what is wrong with an instruction set, and what is done about it.

Everything here is pure: pictures are looked at when a set is read.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from operator import attrgetter

from groma.instruction_sets.doctor.box_check import check_boxes, check_use
from groma.instruction_sets.doctor.finding import LEAVE_OUT, Finding, Fix
from groma.instruction_sets.doctor.layout_check import check_layouts
from groma.instruction_sets.doctor.lengths import check_lengths
from groma.instruction_sets.doctor.picture_check import check_picture, check_shared, check_size
from groma.instruction_sets.doctor.reference_check import check_references
from groma.instruction_sets.doctor.repeats import check_repeats
from groma.instruction_sets.doctor.turn_check import check_texts, check_turns
from groma.instruction_sets.doctor.written_boxes import check_coordinates
from groma.instruction_sets.readers.set_items import InstructionSet, Item, left_out
from groma.text.template import Template

_LIMIT = 1024
"""Most tokens of a conversation, before picture and regions are put in."""

_ROUNDS = 8
"""Some mistakes show only when others are mended; so often is looked again."""
_SEVERITIES = ("error", "warning", "note")


def check(
    instructions: InstructionSet, template: Template | None = None, limit: int = _LIMIT
) -> tuple[Finding, ...]:
    """Say what is wrong with a set.

    `template` tells how long conversations are, None skips that; `limit` is the most tokens of one,
    before picture and regions are put in. Returns findings in the order in which they are best
    mended, at most one of a kind per item, but one for each fix that somebody has to choose from.
    Where there is no error among them, every item can be learnt.
    """
    layouts = tuple(check_layouts(instructions))
    doubted = {finding.item for finding in layouts if finding.severity == "error"}
    notes = instructions.notes
    found = [*(Finding(n.code, n.severity, None, n.sentence) for n in notes), *layouts]
    says_sizes = any(item.size for item in instructions.items)
    for item in instructions.items:
        # Boxes whose numbers are read wrongly are not judged yet.
        is_doubted = None in doubted or item.number in doubted
        found += _check_item(instructions, item, says_sizes, is_doubted)
    found += check_shared(instructions)
    found += check_repeats(instructions)
    found += _check_rest(instructions, found)
    if template is not None:
        found += check_lengths(instructions, template, limit)
    return tuple(found)


def fix(instructions: InstructionSet, findings: Iterable[Finding]) -> InstructionSet:
    """A new set with the changes that findings, all or some of them, would make.

    Those of the whole set come first; a finding without a fix changes nothing.
    """
    fixes: dict[int | None, list[Fix]] = {}
    for finding in findings:
        if finding.fix:
            fixes.setdefault(finding.item, []).append(finding.fix)
    changed = (
        _change(item, fixes.get(None, []) + fixes.get(item.number, []))
        for item in instructions.items
    )
    return replace(instructions, items=tuple(item for item in changed if item is not None))


def repair(
    instructions: InstructionSet, template: Template | None = None, limit: int = _LIMIT
) -> InstructionSet:
    """A new set in which all is mended that can be mended unasked; arguments as for `check`.

    Every item of it can be learnt, unless the findings about it still leave a choice.
    """
    for _ in range(_ROUNDS):
        findings = check(instructions, template, limit)
        mended = fix(instructions, filter(attrgetter("is_sure"), findings))
        if mended.items == instructions.items:
            break
        instructions = mended
    return instructions


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Findings as people want to read them: errors, then warnings, then notes."""
    return sorted(findings, key=lambda finding: _SEVERITIES.index(finding.severity))


def _change(item: Item, fixes: Iterable[Fix]) -> Item | None:
    changed: Item | None = item
    for fix in fixes:
        if changed is None:
            return None
        changed = fix.change(changed)
    return changed


def _check_item(
    instructions: InstructionSet, item: Item, says_sizes: bool, is_doubted: bool
) -> Iterator[Finding]:
    """What is wrong with a single item, in the order in which it is best mended."""
    picture = instructions.picture(item)
    found = [*check_turns(item), *check_picture(item, picture)]
    if says_sizes:
        found += check_size(item, picture)
    found += [*check_coordinates(item, picture), *check_texts(item), *check_references(item)]
    if not is_doubted:
        found += check_boxes(item, picture)
    yield from found
    if not any(finding.severity == "error" for finding in found):
        yield from check_use(item)


def _check_rest(instructions: InstructionSet, found: Iterable[Finding]) -> Iterator[Finding]:
    """Items that cannot be learnt for a reason nobody has named."""
    named = {finding.item for finding in found if finding.severity == "error"}
    if None in named:
        return
    for number, reason in left_out(instructions).items():
        if number not in named:
            sentence = f"It cannot be learnt: {reason}."
            yield Finding("item-unusable", "error", number, sentence, LEAVE_OUT)
