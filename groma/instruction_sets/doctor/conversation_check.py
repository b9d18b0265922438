"""Do questions and answers alternate, say something, and point at boxes that exist?"""

import re
from collections.abc import Iterator
from functools import partial
from itertools import pairwise

from groma.data.sources.groma_instruct import GPT, HUMAN, NUMBER, PHRASE, POINTER, TAG, unescape
from groma.instruction_sets.doctor.coordinates import has_named_boxes
from groma.instruction_sets.doctor.edits import (
    can_number_in_order,
    count_from_zero,
    counts_from_one,
    drop_bad_references,
    drop_exchanges,
    drop_first_answers,
    drop_last_question,
    drop_roles,
    drop_stray_tags,
    join_messages,
    match_places,
    number_in_order,
    take_out,
)
from groma.instruction_sets.doctor.finding import LEAVE_OUT, Finding, Fix
from groma.instruction_sets.readers.set_items import InstructionSet, Item, Message
from groma.tokens import GROUND_BOX, GROUNDING, NEW_TOKENS, REFER_BOX

Findings = Iterator[Finding]

_FOREIGN = re.compile(
    "|".join(re.escape(token) for token in NEW_TOKENS if token != GROUNDING)
    + r"|</?s>|<unk>|<\|\w{1,24}\|>|</?(?:box|bbox|quad|ref|grounding|object|phrase|delim|loc\d+)>"
    + r"|<patch_index_\d+>"
)
"""What would be learnt letter by letter, though it was a token to the model it was written for."""
_FOREIGN_SPELT = re.compile(
    rf"{_FOREIGN.pattern}|&lt;(?:/?(?:p|roi)|ground_box|refer_box|refer_feat)>"
)
_GARBLED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd\ud800-\udfff]")
_EMPTY = re.compile(rf"\s|{TAG.pattern}|{re.escape(GROUNDING)}")


def check_reading(instructions: InstructionSet, item: Item) -> Findings:
    """Whether all of an item could be read."""
    del instructions
    if item.flaws:
        sentence = f"It cannot be read: {'; '.join(item.flaws)}."
        yield Finding("item-unreadable", "error", item.number, sentence, LEAVE_OUT)


def check_turns(instructions: InstructionSet, item: Item) -> Findings:
    """Whether the user asks and the assistant answers, in turn."""
    del instructions
    if item.flaws:
        return
    roles = [message.role for message in item.messages]
    known = [role for role in roles if role in (HUMAN, GPT)]
    if not known:
        sentence = "Nobody says anything in it."
        yield Finding("conversation-empty", "error", item.number, sentence, LEAVE_OUT)
        return
    if others := sorted({role or "nobody" for role in roles if role not in (HUMAN, GPT)}):
        sentence = f"Somebody else speaks in it: {', '.join(map(repr, others))[:80]}."
        fix = Fix("leave out what others say", drop_roles)
        yield Finding("turn-role", "error", item.number, sentence, fix)
    if known[0] == GPT:
        fix = Fix("leave the first answer out", drop_first_answers)
        sentence = "It begins with an answer."
        yield Finding("turn-first", "error", item.number, sentence, fix)
    if any(one == other for one, other in pairwise(known)):
        fix = Fix("join what is said in a row", join_messages)
        sentence = "One side speaks twice in a row."
        yield Finding("turn-twice", "error", item.number, sentence, fix)
    if known[-1] == HUMAN:
        fix = Fix("leave the last question out", drop_last_question)
        sentence = "It ends with a question that has no answer."
        yield Finding("turn-last", "error", item.number, sentence, fix)


def check_texts(instructions: InstructionSet, item: Item) -> Findings:
    """Whether texts say something, in letters."""
    del instructions
    if any(_says_nothing(message) for message in item.messages) and not item.flaws:
        fix = Fix("leave such questions and answers out", _drop_empty)
        sentence = "A question or an answer in it is empty."
        yield Finding("text-empty", "error", item.number, sentence, fix)
    texts = " ".join(message.text for message in item.messages)
    if _GARBLED.search(texts):
        fix = Fix("take the characters out", partial(take_out, pattern=_GARBLED))
        sentence = "It holds control characters or characters that were lost in conversion."
        yield Finding("text-garbled", "warning", item.number, sentence, fix)
    # Boxes of other models are saved first; without their tags they would be lost.
    if not has_named_boxes(item) and (foreign := _find_foreign(texts)):
        fix = Fix("take them out", partial(take_out, pattern=_FOREIGN_SPELT))
        sentence = f"{foreign!r} is no tag here: it would be learnt letter by letter."
        yield Finding("text-tag", "warning", item.number, sentence, fix)


def check_references(instructions: InstructionSet, item: Item) -> Findings:
    """Whether texts and box numbers agree."""
    del instructions
    if item.flaws:
        return
    yield from _check_numbers(item)
    yield from _check_places(item)
    yield from _check_pointers(item)
    yield from _check_tags(item)


def _check_numbers(item: Item) -> Findings:
    used = [i for message in item.messages for i in message.boxes]
    wrong = sorted({i for i in used if not 0 <= i < len(item.boxes)})
    if not wrong:
        return
    sentence = f"It names box number {wrong[0]}, but has {_count(len(item.boxes), 'box', 'boxes')}"
    if counts_from_one(used, len(item.boxes)):
        fix = Fix("count from zero", count_from_zero)
        sentence += "; it seems to count from one, not from zero."
    else:
        fix = Fix("leave such references out", drop_bad_references)
        sentence += ", counted from zero."
    yield Finding("box-number", "error", item.number, sentence, fix)


def _check_places(item: Item) -> Findings:
    for message in item.messages:
        places = message.text.count(GROUND_BOX)
        if message.role == GPT and places != len(message.boxes):
            sentence = (
                f"An answer has {_count(places, 'place', 'places')} for boxes ({GROUND_BOX}), "
                f"but {_count(len(message.boxes), 'box number', 'box numbers')}."
            )
            fix = Fix("leave out what has no partner", match_places)
            if can_number_in_order(item):
                sentence += " There are as many boxes as places in the item."
                fix = Fix("number the boxes in order", number_in_order)
            yield Finding("place-count", "error", item.number, sentence, fix)
            return


def _check_pointers(item: Item) -> Findings:
    asked = [message for message in item.messages if message.role == HUMAN]
    if any(_miscounts(message) for message in asked):
        fix = Fix("leave such questions out", partial(drop_exchanges, is_bad=_is_miscounted))
        sentence = f"A question does not have one box number for each {REFER_BOX}."
        yield Finding("pointer-count", "error", item.number, sentence, fix)
    pointed = {i for message in asked for i in message.boxes}
    numbers = [int(n) for message in asked for n in NUMBER.findall(message.text)]
    if pointed and numbers and max(numbers) > len(pointed):
        sentence = (
            f"A question mentions [{max(numbers)}], but only "
            f"{_count(len(pointed), 'box is', 'boxes are')} pointed at: it stays plain text."
        )
        yield Finding("pointer-number", "warning", item.number, sentence)


def _check_tags(item: Item) -> Findings:
    rest = [_without_tags(message) for message in item.messages]
    fix = Fix("take the tags out", drop_stray_tags)
    if stray := next((match[0] for text in rest if (match := TAG.search(text))), ""):
        sentence = f"{stray} stands where it has no meaning, or without its partner."
        yield Finding("tag-stray", "error", item.number, sentence, fix)
    phrases = [p for m in item.messages if m.role == GPT for p in PHRASE.finditer(m.text)]
    if any(not (phrase["words"] or "").strip() for phrase in phrases):
        sentence = "An answer has boxes that no words mean."
        yield Finding("phrase-empty", "error", item.number, sentence, fix)


def _without_tags(message: Message) -> str:
    """Text outside of phrases or pointers, and what stands inside of phrases."""
    if message.role == GPT:
        words = " ".join(match["words"] or "" for match in PHRASE.finditer(message.text))
        return f"{PHRASE.sub(' ', message.text)} {words}"
    quoted = re.sub(r"<p>((?:(?!</?p>).)*)</p>", r"\1", message.text, flags=re.S)
    return POINTER.sub(" ", quoted)


def _says_nothing(message: Message) -> bool:
    """Whether nothing is left of a text without its tags; a pointer says something."""
    return not _EMPTY.sub("", message.text) and not (message.role == HUMAN and message.boxes)


def _drop_empty(item: Item) -> Item:
    return drop_exchanges(item, lambda *pair: any(map(_says_nothing, pair)))


def _find_foreign(text: str) -> str:
    """The first thing that looks like a tag and is none, or nothing."""
    match = _FOREIGN.search(unescape(TAG.sub(" ", text)))
    return match[0] if match else ""


def _miscounts(message: Message) -> bool:
    return REFER_BOX in message.text and len(POINTER.findall(message.text)) != len(message.boxes)


def _is_miscounted(asked: Message, _: Message) -> bool:
    return _miscounts(asked)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
