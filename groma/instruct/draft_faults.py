"""Which conversations are good enough to learn from, and what is wrong with the others."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from groma.data.sample import QA, Mention, Phrase, plain_text, regions_of
from groma.types import Box, GromaError

_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_COUNTS = {word: count for count, word in enumerate(_NUMBERS, start=1)}
_COUNTS |= {str(count): count for count in _COUNTS.values()}
_COUNTS |= {"a": 1, "an": 1, "another": 1, "this": 1, "both": 2}

_TALK_OF_MARKS = re.compile(
    r"\b(?:(?:mark|marker|region|object|label) ?#?\d+|bounding box(?:es)?|coordinates?"
    r"|the (?:numbered|given|marks?|markers?|labels?|annotations?|descriptions?|captions?)"
    r"|(?:given|provided) (?:context|information|descriptions?|captions?))\b",
    re.I,
)
_REFUSAL = re.compile(
    r"\b(?:as an ai|language model|i(?:'m| am) sorry|i can(?:no|')t (?:see|help|assist|tell|view)"
    r"|unable to (?:see|view|assist|determine)|no image|not visible in the text)\b",
    re.I,
)
_SIDES = re.compile(
    r"^\s*(?:is|are|stands?|sits?|lies?|hangs?)?\s*(?:just |directly |right )?"
    r"(?:(?:to|on) the (?P<side>left|right) (?:side )?of|(?P<level>above|below))\s*$",
    re.I,
)


@dataclass(frozen=True)
class QualityRules:
    """What a conversation must be like."""

    fewest_rounds: int = 3  # questions with answers, at least
    most_rounds: int = 5  # at most
    fewest_regions: int = 2  # different regions its answers mean, at least
    grounded: float = 0.5  # least share of answers that mean regions
    longest_phrase: int = 10  # most words that may mean regions together
    longest_question: int = 60  # most words of a question
    longest_answer: int = 150  # most words of an answer

    def __post_init__(self) -> None:
        """Refuse rules that no conversation can follow."""
        if not 1 <= self.fewest_rounds <= self.most_rounds:
            raise GromaError("The fewest rounds must be 1 at least, and no more than the most.")


@dataclass(frozen=True, slots=True)
class Complaint:
    """A draft that was refused."""

    draft: str  # what was written
    reasons: tuple[str, ...]  # what is wrong with it, one sentence each


def find_faults(turns: Sequence[QA], boxes: Sequence[Box], rules: QualityRules) -> tuple[str, ...]:
    """What is wrong with a conversation about boxes xyxy in [0, 1], one sentence each."""
    faults = [*_whole(turns, rules)]
    for turn in turns:
        faults += [*_lengths(turn, rules), *_wording(turn), *_phrases(turn, rules)]
        faults += _places(turn, boxes)
    return tuple(dict.fromkeys(faults))


def _whole(turns: Sequence[QA], rules: QualityRules) -> Iterator[str]:
    if not rules.fewest_rounds <= len(turns) <= rules.most_rounds:
        yield f"It has {len(turns)} rounds, not {rules.fewest_rounds} to {rules.most_rounds}."
    meant = {region for turn in turns for region in regions_of(turn.answer)}
    if len(meant) < rules.fewest_regions:
        yield f"Its answers mean fewer than {rules.fewest_regions} different regions."
    num_grounded = sum(1 for turn in turns if turn.phrases)
    if num_grounded < rules.grounded * len(turns):
        yield f"Fewer than {rules.grounded:.0%} of its answers mean regions."
    questions = [_with_regions(turn).casefold() for turn in turns]
    if len(set(questions)) < len(questions):
        yield "A question is asked twice."
    answers = [plain_text(turn.answer).casefold() for turn in turns]
    if any(answer.count(" ") > 2 and answers.count(answer) > 1 for answer in answers):
        yield "An answer is given twice."


def _lengths(turn: QA, rules: QualityRules) -> Iterator[str]:
    question, answer = _with_regions(turn), plain_text(turn.answer)
    if len(question.split()) > rules.longest_question:
        yield f"A question has more than {rules.longest_question} words."
    if len(answer.split()) > rules.longest_answer:
        yield f"An answer has more than {rules.longest_answer} words."
    for text in (question, answer):
        if not re.search(r"\w", text):
            yield "A text has no words."


def _wording(turn: QA) -> Iterator[str]:
    question = "".join(piece for piece in turn.question if isinstance(piece, str))
    for text in (question, plain_text(turn.answer)):
        if talk := _TALK_OF_MARKS.search(text):
            yield f"It speaks of what only the writer was given: {talk[0]!r}."
        if refusal := _REFUSAL.search(text):
            yield f"It declines to answer: {refusal[0]!r}."


def _phrases(turn: QA, rules: QualityRules) -> Iterator[str]:
    for phrase in turn.phrases:
        words = re.findall(r"\w+", phrase.text.casefold())
        if not any(word.isalpha() for word in words):
            yield f"{phrase.text!r} cannot mean a region: it has no words."
            continue
        if len(words) > rules.longest_phrase:
            yield f"A phrase has more than {rules.longest_phrase} words: {phrase.text!r}."
        if re.search(r"[.!?;:]", phrase.text):
            yield f"A phrase is more than a name: {phrase.text!r}."
        if not _counts_right(words, len(phrase.regions)):
            yield f"{phrase.text!r} does not mean {len(phrase.regions)} regions."


def _counts_right(words: list[str], num_regions: int) -> bool:
    """Whether the first word of a phrase, where it counts, allows so many regions.

    One region may hold "two eggs"; and "a pair of shoes", or "a cup and a plate", may be two.
    """
    count = _COUNTS.get(words[0], num_regions)
    is_group = not {"of", "and", "or", "with"}.isdisjoint(words)
    return count == num_regions or is_group or (count > 1 and num_regions == 1)


def _places(turn: QA, boxes: Sequence[Box]) -> Iterator[str]:
    """Claims such as "[a dog](1) is to the left of [a cat](2)" that the boxes deny."""
    for left, between, right in zip(turn.answer, turn.answer[1:], turn.answer[2:], strict=False):
        if not (isinstance(left, Phrase) and isinstance(right, Phrase)):
            continue
        claim = _SIDES.match(between) if isinstance(between, str) else None
        if claim and not _is_true(claim, _middle(left, boxes), _middle(right, boxes)):
            yield f"The boxes deny it: {left.text!r}{between}{right.text!r}."


def _is_true(claim: re.Match[str], this: tuple[float, float], that: tuple[float, float]) -> bool:
    place = (claim["side"] or claim["level"]).lower()
    across, down = that[0] - this[0], that[1] - this[1]
    return {"left": across, "right": -across, "above": down, "below": -down}[place] > 0


def _middle(phrase: Phrase, boxes: Sequence[Box]) -> tuple[float, float]:
    """Mean centre (x, y) in [0, 1] of what a phrase means."""
    meant = [boxes[region] for region in phrase.regions]
    x = sum(box[0] + box[2] for box in meant) / (2 * len(meant))
    return x, sum(box[1] + box[3] for box in meant) / (2 * len(meant))


def _with_regions(turn: QA) -> str:
    """A question with the indices of the regions it points at."""
    return "".join(
        f"[{piece.region}]" if isinstance(piece, Mention) else plain_text((piece,))
        for piece in turn.question
    )
