"""Do texts and box numbers agree?"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from groma.data.sources.groma_instruct import (
    GPT,
    HUMAN,
    NUMBER,
    PHRASE,
    POINTER,
    TAG,
    Message,
    without_phrase_tags,
)
from groma.instruction_sets.doctor.edits import (
    PART,
    drop_exchanges,
    keep_places,
    keep_references,
    remove,
)
from groma.instruction_sets.doctor.finding import Finding, Fix
from groma.instruction_sets.readers.set_items import Item
from groma.tokens import GROUND_BOX, REFER_BOX


def check_references(item: Item) -> Iterator[Finding]:
    """Whether texts and box numbers agree."""
    if item.flaws:
        return
    yield from _check_numbers(item)
    yield from _check_places(item)
    yield from _check_pointers(item)
    yield from _check_tags(item)


def _check_numbers(item: Item) -> Iterator[Finding]:
    used = [i for message in item.messages for i in message.boxes]
    wrong = sorted({i for i in used if not 0 <= i < len(item.boxes)})
    if not wrong:
        return
    sentence = f"It names box number {wrong[0]}, but has {_count(len(item.boxes), 'box', 'boxes')}"
    if _counts_from_one(used, len(item.boxes)):
        fix = Fix("count from zero", _count_from_zero)
        sentence += "; it seems to count from one, not from zero."
    else:
        fix = Fix("leave such references out", _drop_bad_references)
        sentence += ", counted from zero."
    yield Finding("box-number", "error", item.number, sentence, fix)


def _check_places(item: Item) -> Iterator[Finding]:
    for message in item.messages:
        places = message.text.count(GROUND_BOX)
        if message.role == GPT and places != len(message.boxes):
            sentence = (
                f"An answer has {_count(places, 'place', 'places')} for boxes ({GROUND_BOX}), "
                f"but {_count(len(message.boxes), 'box number', 'box numbers')}."
            )
            fix = Fix("leave out what has no partner", _match_places)
            if _can_number_in_order(item):
                sentence += " There are as many boxes as places in the item."
                fix = Fix("number the boxes in order", _number_in_order)
            yield Finding("place-count", "error", item.number, sentence, fix)
            return


def _check_pointers(item: Item) -> Iterator[Finding]:
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


def _check_tags(item: Item) -> Iterator[Finding]:
    rest = [_without_tags(message) for message in item.messages]
    fix = Fix("take the tags out", _drop_stray_tags)
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
    return POINTER.sub(" ", without_phrase_tags(message.text))


def _miscounts(message: Message) -> bool:
    return REFER_BOX in message.text and len(POINTER.findall(message.text)) != len(message.boxes)


def _is_miscounted(asked: Message, _: Message) -> bool:
    return _miscounts(asked)


def _drop_bad_references(item: Item) -> Item:
    """Without the references to boxes that do not exist."""
    return keep_references(item, {i: i for i in range(len(item.boxes))})


def _count_from_zero(item: Item) -> Item:
    """With box numbers that counted from one."""
    used = [i for message in item.messages for i in message.boxes]
    if not _counts_from_one(used, len(item.boxes)):
        return item
    return item.edited(lambda m: replace(m, boxes=tuple(i - 1 for i in m.boxes)))


def _counts_from_one(used: Sequence[int], num_boxes: int) -> bool:
    """Whether box numbers count from one: there is the number of boxes, and no zero."""
    return bool(used) and min(used) >= 1 and max(used) == num_boxes


def _number_in_order(item: Item) -> Item:
    """With the boxes given to the places for boxes in their order, where no numbers are given."""
    if not _can_number_in_order(item):
        return item
    messages, at = [], 0
    for message in item.messages:
        count = message.text.count(GROUND_BOX)
        messages.append(replace(message, boxes=tuple(range(at, at + count))))
        at += count
    return replace(item, messages=tuple(messages))


def _can_number_in_order(item: Item) -> bool:
    """Whether no box is numbered, and there are as many places for boxes as boxes."""
    places = sum(message.text.count(GROUND_BOX) for message in item.messages)
    pointers = any(REFER_BOX in message.text for message in item.messages)
    is_free = not pointers and not any(message.boxes for message in item.messages)
    return is_free and 0 < places == len(item.boxes)


def _match_places(item: Item) -> Item:
    """With as many box numbers as places for boxes in every answer; what is too much goes."""
    return item.edited(_match_answer, GPT)


def _drop_stray_tags(item: Item) -> Item:
    """Without tags that do not belong together, and the boxes and words they have."""
    return item.edited(_tidy_answer, GPT).edited(_tidy_question, HUMAN)


def _match_answer(message: Message) -> Message:
    count = message.text.count(GROUND_BOX)
    if len(message.boxes) >= count:
        return replace(message, boxes=message.boxes[:count])
    given = len(message.boxes)
    return replace(message, text=keep_places(message.text, (i < given for i in range(count))))


def _tidy_answer(message: Message) -> Message:
    """An answer in which only words with boxes, and boxes with words, are tagged."""
    if message.text.count(GROUND_BOX) != len(message.boxes):
        return message
    given = iter(message.boxes)
    kept: list[int] = []

    def edit(match: re.Match[str]) -> str:
        if match["stray"]:
            _ = [next(given) for _ in range(match["stray"].count(GROUND_BOX))]
            return ""
        regions = [next(given) for _ in range(match["boxes"].count(GROUND_BOX))]
        words = match["words"] or ""
        if not words.strip() or TAG.search(words):
            return remove(words, TAG)
        kept.extend(regions)
        return f"<p>{words}</p><roi>{GROUND_BOX * len(regions)}</roi>"

    text = PART.sub(edit, message.text)
    return replace(message, text=text, boxes=tuple(kept))


def _tidy_question(message: Message) -> Message:
    """A question in which only whole pointers are tagged."""
    texts = POINTER.split(message.text)
    pointers = POINTER.findall(message.text)
    clean = [remove(text, TAG) for text in texts]
    text = clean[0] + "".join(p + t for p, t in zip(pointers, clean[1:], strict=True))
    return replace(message, text=text)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
