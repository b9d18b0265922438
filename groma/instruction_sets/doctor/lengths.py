"""Does the model read conversations to their end?"""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from groma.data.sample import GroundedSample
from groma.data.sources.items import BrokenItem
from groma.data.tokenise import write
from groma.instruction_sets.doctor.finding import LEAVE_OUT, Finding, Fix
from groma.instruction_sets.readers.set_items import InstructionSet, Item, to_sample
from groma.text.template import Template

_NO_LIMIT = 1 << 30


def check_lengths(
    instructions: InstructionSet, template: Template, limit: int
) -> Iterator[Finding]:
    """Whether conversations fit, and what of them would be cut.

    `limit` is the most tokens, before picture and regions are put in. Items that cannot be used
    have no length.
    """
    for item in instructions.items:
        try:
            sample = to_sample(instructions, item)
        except BrokenItem:
            continue
        length = len(write(sample, template, _NO_LIMIT).ids)
        if length <= limit:
            continue
        fitting = _fitting(sample, template, limit)
        if not fitting:
            sentence = f"Its first answer ends beyond {limit:,} tokens: it cannot be learnt."
            yield Finding("length-answer", "error", item.number, sentence, LEAVE_OUT)
            continue
        sentence = (
            f"It has {length:,} tokens, of which {limit:,} are read: of {len(sample.turns)} "
            f"questions the first {fitting} stay, the others would be cut."
        )
        fix = Fix(f"keep the first {fitting}", partial(_keep_exchanges, count=fitting))
        yield Finding("length-conversation", "warning", item.number, sentence, fix)


def _fitting(sample: GroundedSample, template: Template, limit: int) -> int:
    """How many turns fit."""
    written = write(sample, template, limit)
    if len(written.ids) > limit:
        return 0
    return int((written.labels == template.plain.eos).sum())


def _keep_exchanges(item: Item, count: int) -> Item:
    """With so many questions and answers, from the first."""
    return replace(item, messages=item.messages[: 2 * count])
