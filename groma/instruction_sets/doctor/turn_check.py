"""Do user and assistant speak in turn, and do they say something, in letters?"""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from itertools import pairwise

from groma.data.sources.groma_instruct import GPT, HUMAN, TAG, Message, unescape
from groma.instruction_sets.doctor.edits import drop_exchanges, remove, spell_pointers
from groma.instruction_sets.doctor.finding import LEAVE_OUT, Finding, Fix
from groma.instruction_sets.doctor.written_boxes import has_named_boxes
from groma.instruction_sets.readers.set_items import Item
from groma.tokens import GROUNDING, NEW_TOKENS

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


def check_turns(item: Item) -> Iterator[Finding]:
    """Whether all of an item could be read, and the user asks and the assistant answers in turn."""
    if item.flaws:
        sentence = f"It cannot be read: {'; '.join(item.flaws)}."
        yield Finding("item-unreadable", "error", item.number, sentence, LEAVE_OUT)
        return
    roles = [message.role for message in item.messages]
    known = [role for role in roles if role in (HUMAN, GPT)]
    if not known:
        sentence = "Nobody says anything in it."
        yield Finding("conversation-empty", "error", item.number, sentence, LEAVE_OUT)
        return
    if others := sorted({role or "nobody" for role in roles if role not in (HUMAN, GPT)}):
        sentence = f"Somebody else speaks in it: {', '.join(map(repr, others))[:80]}."
        fix = Fix("leave out what others say", _drop_roles)
        yield Finding("turn-role", "error", item.number, sentence, fix)
    if known[0] == GPT:
        fix = Fix("leave the first answer out", _drop_first_answers)
        sentence = "It begins with an answer."
        yield Finding("turn-first", "error", item.number, sentence, fix)
    if any(one == other for one, other in pairwise(known)):
        fix = Fix("join what is said in a row", _join_messages)
        sentence = "One side speaks twice in a row."
        yield Finding("turn-twice", "error", item.number, sentence, fix)
    if known[-1] == HUMAN:
        fix = Fix("leave the last question out", _drop_last_question)
        sentence = "It ends with a question that has no answer."
        yield Finding("turn-last", "error", item.number, sentence, fix)


def check_texts(item: Item) -> Iterator[Finding]:
    """Whether texts say something, in letters."""
    if any(_says_nothing(message) for message in item.messages) and not item.flaws:
        fix = Fix("leave such questions and answers out", _drop_empty)
        sentence = "A question or an answer in it is empty."
        yield Finding("text-empty", "error", item.number, sentence, fix)
    texts = " ".join(message.text for message in item.messages)
    if _GARBLED.search(texts):
        fix = Fix("take the characters out", partial(_take_out, pattern=_GARBLED))
        sentence = "It holds control characters or characters that were lost in conversion."
        yield Finding("text-garbled", "warning", item.number, sentence, fix)
    # Boxes of other models are saved first; without their tags they would be lost.
    if not has_named_boxes(item) and (foreign := _find_foreign(texts)):
        fix = Fix("take them out", partial(_take_out, pattern=_FOREIGN_SPELT))
        sentence = f"{foreign!r} is no tag here: it would be learnt letter by letter."
        yield Finding("text-tag", "warning", item.number, sentence, fix)


def _drop_roles(item: Item) -> Item:
    """Without what is said by anybody but user and assistant."""
    return replace(item, messages=tuple(m for m in item.messages if m.role in (HUMAN, GPT)))


def _drop_first_answers(item: Item) -> Item:
    """Without what the assistant says before the first question."""
    first = next((i for i, m in enumerate(item.messages) if m.role != GPT), len(item.messages))
    return replace(item, messages=item.messages[first:])


def _drop_last_question(item: Item) -> Item:
    """Without questions at the end that have no answer."""
    last = max((i for i, m in enumerate(item.messages) if m.role == GPT), default=-1)
    return replace(item, messages=item.messages[: last + 1])


def _join_messages(item: Item) -> Item:
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


def _take_out(item: Item, pattern: re.Pattern[str]) -> Item:
    """With every text free of something that is no tag."""
    return item.edited(lambda m: replace(m, text=_take_out_between(m.text, pattern)))


def _take_out_between(text: str, pattern: re.Pattern[str]) -> str:
    parts = re.split(f"({TAG.pattern})", text)
    # Every other part is a tag.
    return "".join(part if i % 2 else remove(part, pattern) for i, part in enumerate(parts))


def _says_nothing(message: Message) -> bool:
    """Whether nothing is left of a text without its tags; a pointer says something."""
    return not _EMPTY.sub("", message.text) and not (message.role == HUMAN and message.boxes)


def _drop_empty(item: Item) -> Item:
    return drop_exchanges(item, lambda *pair: any(map(_says_nothing, pair)))


def _find_foreign(text: str) -> str:
    """The first thing that looks like a tag and is none, or nothing."""
    match = _FOREIGN.search(unescape(TAG.sub(" ", text)))
    return match[0] if match else ""
