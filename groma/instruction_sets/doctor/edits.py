"""Changes of items that several checks make: pure functions that do nothing where all is well."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from groma.data.sources.groma_instruct import GPT, HUMAN, NUMBER, PHRASE, TAG, Message
from groma.instruction_sets.readers.set_items import Item, RawBox
from groma.tokens import GROUND_BOX, REFER_BOX, REFER_FEATURE, ROI_CLOSE, ROI_OPEN
from groma.types import Size

POINTER_TAGS = f"{ROI_OPEN}{REFER_BOX}{ROI_CLOSE}{REFER_FEATURE}"
"""A pointer at a box in a question."""
PART = re.compile(f"{PHRASE.pattern}|(?P<stray>{TAG.pattern})", re.S)
"""A phrase, or a tag that is in none."""


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


def drop_boxes(item: Item, is_good: Callable[[RawBox], bool]) -> Item:
    """Without the boxes that are not good, and without what points at them.

    Words that meant only such boxes become plain; a question about one leaves with its answer.
    """
    good = [i for i, box in enumerate(item.boxes) if is_good(box)]
    if len(good) == len(item.boxes):
        return item
    kept = keep_references(item, {old: new for new, old in enumerate(good)})
    return replace(kept, boxes=tuple(item.boxes[i] for i in good))


def drop_unused_boxes(item: Item) -> Item:
    """Without the boxes that nothing points at."""
    used = sorted({i for message in item.messages for i in message.boxes})
    if not all(0 <= i < len(item.boxes) for i in used):
        return item
    kept = keep_references(item, {old: new for new, old in enumerate(used)})
    return replace(kept, boxes=tuple(item.boxes[i] for i in used))


def merge_boxes(item: Item) -> Item:
    """With one of each box: whatever points at an equal one points at the first."""
    first = {box: i for i, box in reversed([*enumerate(item.boxes)])}
    same = {i: first[box] for i, box in enumerate(item.boxes)}
    if len(first) == len(same):
        return item
    spelt = spell_pointers(item)
    merged = spelt.edited(lambda m: replace(m, boxes=tuple(same.get(i, i) for i in m.boxes)))
    return drop_unused_boxes(merged)


def keep_references(item: Item, row: Mapping[int, int]) -> Item:
    """With references to some boxes alone, which have other numbers from now on."""
    kept = drop_exchanges(item, lambda asked, _: not set(asked.boxes) <= row.keys())
    return kept.edited(lambda message: _keep_references(message, row))


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
    return item.edited(lambda message: _spell(message, pointed), HUMAN) if pointed else item


def remove(text: str, pattern: re.Pattern[str]) -> str:
    """Text without a pattern, in which what was beside it does not become a tag."""
    clean = pattern.sub("", text)
    return pattern.sub(" ", text) if TAG.search(clean) else clean


def keep_places(text: str, places: Iterable[bool]) -> str:
    """Text in which only some places for boxes stay; a phrase without any becomes plain words."""
    kept = iter(places)

    def edit(match: re.Match[str]) -> str:
        tags = match["boxes"] or match["stray"]
        count = sum(next(kept) for _ in range(tags.count(GROUND_BOX)))
        if match["stray"]:
            return match["stray"] if count or match["stray"] != GROUND_BOX else ""
        words = match["words"] or ""
        return f"<p>{words}</p><roi>{GROUND_BOX * count}</roi>" if count else words

    return PART.sub(edit, text)


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


def _keep_references(message: Message, row: Mapping[int, int]) -> Message:
    """A message without some of its box numbers, and their places in its text."""
    boxes = tuple(row[index] for index in message.boxes if index in row)
    if message.role != GPT or message.text.count(GROUND_BOX) != len(message.boxes):
        return replace(message, boxes=boxes)
    text = message.text
    if len(boxes) < len(message.boxes):
        text = keep_places(text, [index in row for index in message.boxes])
    return replace(message, text=text, boxes=boxes)
