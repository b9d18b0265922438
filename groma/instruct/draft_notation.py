"""How a writer points at marks: questions say `<3>`, answers `[the red kite](3)`.

A language model writes Markdown links without being taught, and a person can edit them.
"""

import json
import re
from collections.abc import Iterable

from groma.data.sample import QA, Mention, Phrase, Piece, Pieces, join_pieces, regions_of
from groma.data.sources.groma_instruct import TAG
from groma.types import GromaError

_POINTER = re.compile(r"<([1-9]\d{0,2})>")
_LINK = re.compile(r"\[([^\[\]]*)\]\(\s*([1-9]\d{0,2}(?:\s*,\s*[1-9]\d{0,2})*)\s*\)")
_STRAY = re.compile(r"\]\s*\(|<\s*\d+\s*>|\[[^\]]*\d[^\]]*\]")
_THOUGHTS = re.compile(r"\A\s*<think>.*?</think>", re.S)
_FENCE = re.compile(r"\A```(?:json)?\s*\n(.*)\n```\Z", re.S)
_LINE = re.compile(r"^([QA]):[ \t]*", re.M)


class BrokenDraftError(GromaError):
    """A text that is not what a writer was asked for; the message says why."""


def read_draft(text: str, num_regions: int) -> tuple[QA, ...]:
    """Read a writer's conversation, strictly.

    It is JSON, `{"conversation": [{"question": "…", "answer": "…"}, …]}`, alone, in a fenced block
    or after thoughts in `<think>` tags. Raises `BrokenDraftError` if it is anything else, or points
    at what is not there.
    """
    text = _THOUGHTS.sub("", text).strip()
    fenced = _FENCE.match(text)
    try:
        draft = json.loads(fenced[1] if fenced else text)
    except (ValueError, RecursionError):
        raise BrokenDraftError("The answer is not JSON alone.") from None
    if not isinstance(draft, dict) or draft.keys() != {"conversation"}:
        raise BrokenDraftError('The answer is no object with "conversation" and nothing else.')
    rounds = draft["conversation"]
    if not isinstance(rounds, list) or not all(map(_is_round, rounds)):
        raise BrokenDraftError(
            'The conversation is no list of objects with the texts "question" and "answer".'
        )
    return tuple(_read_turn(each["question"], each["answer"], num_regions) for each in rounds)


def write_draft(turns: Iterable[QA]) -> str:
    """The inverse of `read_draft`."""
    rounds = [
        {"question": _write_question(turn.question), "answer": _write_answer(turn.answer)}
        for turn in turns
    ]
    return json.dumps({"conversation": rounds}, indent=1, ensure_ascii=False)


def read_conversation(text: str, num_regions: int) -> tuple[QA, ...]:
    """Read what `write_conversation` wrote and somebody edited.

    Raises `BrokenDraftError` if questions and answers do not alternate, or as `_read_turn`.
    """
    start, *parts = _LINE.split(text.strip())
    if start or parts[::2] != ["Q", "A"] * (len(parts) // 4):
        raise BrokenDraftError("Lines that begin with Q: and A: must take turns.")
    texts = parts[1::2]
    pairs = zip(texts[::2], texts[1::2], strict=True)
    return tuple(_read_turn(question, answer, num_regions) for question, answer in pairs)


def write_conversation(turns: Iterable[QA]) -> str:
    """A conversation for a person to edit: one line `Q: …` and one `A: …` per round."""
    return "\n\n".join(
        f"Q: {_write_question(turn.question)}\nA: {_write_answer(turn.answer)}" for turn in turns
    )


def _read_turn(question: str, answer: str, num_regions: int) -> QA:
    """Read one round.

    Raises `BrokenDraftError` if a text is empty, points at a mark that is not there, or in a way
    that is not allowed there.
    """
    asked = _read(question, _POINTER, num_regions)
    answered = _read(answer, _LINK, num_regions)
    return QA(asked, answered, kind="instruct", grounding=bool(regions_of(answered)))


def _write_question(pieces: Pieces) -> str:
    """The inverse of `_read_turn` for a question."""
    return "".join(
        f"<{piece.region + 1}>" if isinstance(piece, Mention) else _words(piece) for piece in pieces
    )


def _write_answer(pieces: Pieces) -> str:
    """The inverse of `_read_turn` for an answer."""
    return "".join(
        f"[{piece.text}]({', '.join(str(region + 1) for region in piece.regions)})"
        if isinstance(piece, Phrase)
        else _words(piece)
        for piece in pieces
    )


def _read(text: str, pattern: re.Pattern[str], num_regions: int) -> Pieces:
    text = " ".join(text.split())
    pieces: list[Piece] = []
    at = 0
    for match in pattern.finditer(text):
        pieces += [text[at : match.start()], _piece(match, num_regions)]
        at = match.end()
    pieces.append(text[at:])
    for piece in pieces:
        if isinstance(piece, str) and (stray := _STRAY.search(piece) or TAG.search(piece)):
            raise BrokenDraftError(f"{stray[0]!r} points at nothing in {text[:80]!r}.")
    joined = join_pieces(pieces)
    if not joined:
        raise BrokenDraftError("A question or an answer is empty.")
    return joined


def _piece(match: re.Match[str], num_regions: int) -> Piece:
    numbers = [int(number) for number in match[match.re.groups].split(",")]
    regions = tuple(dict.fromkeys(number - 1 for number in numbers))
    if max(regions) >= num_regions:
        raise BrokenDraftError(f"There is no mark {max(numbers)}.")
    if match.re is _POINTER:
        return Mention(regions[0])
    words = match[1].strip()
    if not words:
        raise BrokenDraftError(f"No words stand before the mark {numbers[0]}.")
    return Phrase(words, regions)


def _is_round(value: object) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"question", "answer"}
        and all(isinstance(text, str) for text in value.values())
    )


def _words(piece: Piece) -> str:
    assert isinstance(piece, str)
    return piece
