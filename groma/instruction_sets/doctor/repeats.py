"""Is anything said twice, or in two ways?"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from groma.instruction_sets.doctor.finding import LEAVE_OUT, Finding
from groma.instruction_sets.readers.set_items import InstructionSet, Item

_MANY = 12
"""So many answers are enough to see that they are all the same."""
_MOST = 0.8
"""Share of answers that may be the same."""


def check_repeats(instructions: InstructionSet) -> Iterator[Finding]:
    """Whether items or questions are there twice, or answers all the same."""
    first: dict[Item, int] = {}
    answers: dict[tuple[str, str], tuple[str, int]] = {}
    for item in instructions.items:
        before = first.setdefault(replace(item, number=0), item.number)
        if before != item.number:
            sentence = f"It is the same as item {before + 1}."
            yield Finding("item-twice", "warning", item.number, sentence, LEAVE_OUT)
            continue
        yield from _check_answers(item, answers)
    yield from _check_all_answers(instructions)


def _check_all_answers(instructions: InstructionSet) -> Iterator[Finding]:
    """Whether the set teaches one answer to everything, or nothing at all."""
    counts = Counter(
        answered.text.strip() for item in instructions.items for _, answered in item.exchanges
    )
    if not counts:
        yield Finding("set-empty", "error", None, "Nothing in this set can be learnt.")
        return
    (answer, times), total = counts.most_common(1)[0], counts.total()
    if total >= _MANY and times > _MOST * total:
        sentence = (
            f"{times} of {total} answers are the same ({answer[:40]!r}): the model would learn to "
            "give it always."
        )
        yield Finding("answers-same", "warning", None, sentence)


def _check_answers(
    item: Item, answers: dict[tuple[str, str], tuple[str, int]]
) -> Iterator[Finding]:
    """Whether the first question was asked about this picture before, and answered otherwise."""
    for asked, answered in item.exchanges[:1]:
        if asked.boxes or not item.picture:
            continue
        question = item.picture, asked.text.strip().casefold()
        before, number = answers.setdefault(question, (answered.text.strip(), item.number))
        if before != answered.text.strip():
            sentence = f"Item {number + 1} answers the same question about this picture otherwise."
            yield Finding("answers-differ", "note", item.number, sentence)
