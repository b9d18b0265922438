"""Changes of items: pure functions that do nothing where there is nothing to mend."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

from groma.data.sources.groma_instruct import GPT, HUMAN, NUMBER, PHRASE, POINTER, TAG
from groma.instruction_sets.readers.set_items import Item, Message, RawBox
from groma.tokens import GROUND_BOX, REFER_BOX, REFER_FEATURE, ROI_CLOSE, ROI_OPEN
from groma.types import Size

POINTER_TAGS = f"{ROI_OPEN}{REFER_BOX}{ROI_CLOSE}{REFER_FEATURE}"
"""A pointer at a box in a question."""
Test = Callable[[RawBox], bool]

_PART = re.compile(f"{PHRASE.pattern}|(?P<stray>{TAG.pattern})", re.S)


def rename_picture(item: Item, name: str) -> Item:
    """Another name of its picture."""
    return replace(item, picture=name)


def resize(item: Item, size: Size) -> Item:
    """Another size (H, W) of its picture; boxes stay as they are."""
    return replace(item, size=size)


def rescale(item: Item, size: Size) -> Item:
    """Another size (H, W) of its picture, and boxes that are as large in proportion."""
    if item.size is None or item.size == size:
        return replace(item, size=size)
    down, across = (new / old for new, old in zip(size, item.size, strict=True))
    scale = (across, down, across, down)
    boxes = (
        tuple(side * by for side, by in zip(box, scale, strict=True)) if len(box) == 4 else box
        for box in item.boxes
    )
    return replace(item, size=size, boxes=tuple(boxes))


def drop_boxes(item: Item, is_good: Test) -> Item:
    """Without the boxes that are not good, and without what points at them.

    Words that meant only such boxes become plain; a question about one leaves with its answer.
    """
    good = [i for i, box in enumerate(item.boxes) if is_good(box)]
    row = {old: new for new, old in enumerate(good)}
    if len(good) == len(item.boxes):
        return item
    kept = drop_exchanges(item, lambda asked, _: not set(asked.boxes) <= row.keys())
    messages = (_keep_references(message, lambda index: index in row) for message in kept.messages)
    renumbered = (replace(m, boxes=tuple(row[i] for i in m.boxes)) for m in messages)
    return replace(item, boxes=tuple(item.boxes[i] for i in good), messages=tuple(renumbered))


def drop_unused_boxes(item: Item) -> Item:
    """Without the boxes that nothing points at."""
    used = sorted({i for message in item.messages for i in message.boxes})
    row = {old: new for new, old in enumerate(used)}
    if not all(0 <= i < len(item.boxes) for i in used):
        return item
    messages = (replace(m, boxes=tuple(row[i] for i in m.boxes)) for m in item.messages)
    return replace(item, boxes=tuple(item.boxes[i] for i in used), messages=tuple(messages))


def merge_boxes(item: Item) -> Item:
    """With one of each box: whatever points at an equal one points at the first."""
    first = {box: i for i, box in reversed([*enumerate(item.boxes)])}
    same = {i: first[box] for i, box in enumerate(item.boxes)}
    if len(first) == len(same):
        return item
    spelt = spell_pointers(item).messages
    messages = (replace(m, boxes=tuple(same.get(i, i) for i in m.boxes)) for m in spelt)
    return drop_unused_boxes(replace(item, messages=tuple(messages)))


def drop_bad_references(item: Item) -> Item:
    """Without the references to boxes that do not exist."""
    exists = range(len(item.boxes))
    kept = drop_exchanges(item, lambda asked, _: any(i not in exists for i in asked.boxes))
    messages = (_keep_references(m, lambda index: index in exists) for m in kept.messages)
    return replace(kept, messages=tuple(messages))


def count_from_zero(item: Item) -> Item:
    """With box numbers that counted from one."""
    used = [i for message in item.messages for i in message.boxes]
    if not counts_from_one(used, len(item.boxes)):
        return item
    messages = (replace(m, boxes=tuple(i - 1 for i in m.boxes)) for m in item.messages)
    return replace(item, messages=tuple(messages))


def counts_from_one(used: Sequence[int], num_boxes: int) -> bool:
    """Whether box numbers count from one: there is the number of boxes, and no zero."""
    return bool(used) and min(used) >= 1 and max(used) == num_boxes


def number_in_order(item: Item) -> Item:
    """With the boxes given to the places for boxes in their order, where no numbers are given."""
    if not can_number_in_order(item):
        return item
    messages, at = [], 0
    for message in item.messages:
        count = message.text.count(GROUND_BOX)
        messages.append(replace(message, boxes=tuple(range(at, at + count))))
        at += count
    return replace(item, messages=tuple(messages))


def can_number_in_order(item: Item) -> bool:
    """Whether no box is numbered, and there are as many places for boxes as boxes."""
    places = sum(message.text.count(GROUND_BOX) for message in item.messages)
    pointers = any(REFER_BOX in message.text for message in item.messages)
    is_free = not pointers and not any(message.boxes for message in item.messages)
    return is_free and 0 < places == len(item.boxes)


def match_places(item: Item) -> Item:
    """With as many box numbers as places for boxes in every answer; what is too much goes."""
    return _edit_answers(item, _match_places)


def drop_stray_tags(item: Item) -> Item:
    """Without tags that do not belong together, and the boxes and words they have."""
    tidy = _edit_answers(item, _tidy_answer)
    messages = (_tidy_question(m) if m.role == HUMAN else m for m in tidy.messages)
    return replace(tidy, messages=tuple(messages))


def drop_exchanges(item: Item, is_bad: Callable[[Message, Message], bool]) -> Item:
    """Without the questions that are bad, or whose answers are, and their answers."""
    spelt = spell_pointers(item)
    bad = [message for pair in spelt.exchanges if is_bad(*pair) for message in pair]
    if not bad:
        return item
    kept = (message for message in spelt.messages if not any(message is b for b in bad))
    return replace(item, messages=tuple(kept))


def spell_pointers(item: Item) -> Item:
    """With tags for `[K]`, so that every question says by itself what it points at."""
    pointed = list(dict.fromkeys(i for m in item.messages if m.role == HUMAN for i in m.boxes))
    if not pointed:
        return item
    messages = (_spell(m, pointed) if m.role == HUMAN else m for m in item.messages)
    return replace(item, messages=tuple(messages))


def keep_exchanges(item: Item, count: int) -> Item:
    """With so many questions and answers, from the first."""
    return replace(item, messages=item.messages[: 2 * count])


def drop_roles(item: Item) -> Item:
    """Without what is said by anybody but user and assistant."""
    return replace(item, messages=tuple(m for m in item.messages if m.role in (HUMAN, GPT)))


def drop_first_answers(item: Item) -> Item:
    """Without what the assistant says before the first question."""
    first = next((i for i, m in enumerate(item.messages) if m.role != GPT), len(item.messages))
    return replace(item, messages=item.messages[first:])


def drop_last_question(item: Item) -> Item:
    """Without questions at the end that have no answer."""
    last = max((i for i, m in enumerate(item.messages) if m.role == GPT), default=-1)
    return replace(item, messages=item.messages[: last + 1])


def join_messages(item: Item) -> Item:
    """With one message where the same side spoke several times in a row."""
    if all(one.role != other.role for one, other in pairwise(item.messages)):
        return item
    joined: list[Message] = []
    for message in spell_pointers(item).messages:
        if joined and joined[-1].role == message.role:
            before = joined[-1]
            text = f"{before.text}\n{message.text}"
            joined[-1] = replace(before, text=text, boxes=before.boxes + message.boxes)
        else:
            joined.append(message)
    return replace(item, messages=tuple(joined))


def take_out(item: Item, pattern: re.Pattern[str]) -> Item:
    """With every text free of something that is no tag."""
    messages = (replace(m, text=_take_out_between_tags(m.text, pattern)) for m in item.messages)
    return replace(item, messages=tuple(messages))


def _take_out_between_tags(text: str, pattern: re.Pattern[str]) -> str:
    parts = re.split(f"({TAG.pattern})", text)
    # Every other part is a tag.
    return "".join(part if i % 2 else _remove(part, pattern) for i, part in enumerate(parts))


def _remove(text: str, pattern: re.Pattern[str]) -> str:
    """Text without a pattern, in which what was beside it does not become a tag."""
    clean = pattern.sub("", text)
    return pattern.sub(" ", text) if TAG.search(clean) else clean


def _spell(message: Message, pointed: Sequence[int]) -> Message:
    """A question with tags, given every box pointed at in the item."""
    if REFER_BOX in message.text:
        return message
    text, boxes = "", []
    for i, part in enumerate(NUMBER.split(message.text)):
        # Every other part is a number.
        if i % 2 and int(part) <= len(pointed):
            text += POINTER_TAGS
            boxes.append(pointed[int(part) - 1])
        else:
            text += f"[{part}]" if i % 2 else part
    if not boxes:
        text += POINTER_TAGS * len(message.boxes)
        boxes.extend(message.boxes)
    return replace(message, text=text, boxes=tuple(boxes))


def _edit_answers(item: Item, edit: Callable[[Message], Message]) -> Item:
    return replace(item, messages=tuple(edit(m) if m.role == GPT else m for m in item.messages))


def _keep_references(message: Message, is_kept: Callable[[int], bool]) -> Message:
    """A message without some of its box numbers, and their places in its text."""
    if all(map(is_kept, message.boxes)):
        return message
    kept = tuple(index for index in message.boxes if is_kept(index))
    if message.role != GPT or message.text.count(GROUND_BOX) != len(message.boxes):
        return replace(message, boxes=kept)
    places = iter([is_kept(index) for index in message.boxes])
    return replace(message, text=_keep_places(message.text, places), boxes=kept)


def _keep_places(text: str, places: Iterable[bool]) -> str:
    """Text in which only some places for boxes stay; a phrase without any becomes plain words."""
    kept = iter(places)

    def edit(match: re.Match[str]) -> str:
        tags = match["boxes"] or match["stray"]
        count = sum(next(kept) for _ in range(tags.count(GROUND_BOX)))
        if match["stray"]:
            return match["stray"] if count or match["stray"] != GROUND_BOX else ""
        words = match["words"] or ""
        return f"<p>{words}</p><roi>{GROUND_BOX * count}</roi>" if count else words

    return _PART.sub(edit, text)


def _match_places(message: Message) -> Message:
    count = message.text.count(GROUND_BOX)
    if len(message.boxes) >= count:
        return replace(message, boxes=message.boxes[:count])
    given = len(message.boxes)
    return replace(message, text=_keep_places(message.text, (i < given for i in range(count))))


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
            return _remove(words, TAG)
        kept.extend(regions)
        return f"<p>{words}</p><roi>{GROUND_BOX * len(regions)}</roi>"

    text = _PART.sub(edit, message.text)
    return replace(message, text=text, boxes=tuple(kept))


def _tidy_question(message: Message) -> Message:
    """A question in which only whole pointers are tagged."""
    texts = POINTER.split(message.text)
    pointers = POINTER.findall(message.text)
    clean = [_remove(text, TAG) for text in texts]
    text = clean[0] + "".join(p + t for p, t in zip(pointers, clean[1:], strict=True))
    return replace(message, text=text)
