"""Is an answer right? Pure functions of what was expected and what was replied.

Boxes are judged by their overlap with the truth, words by what they mean; an empty answer is
never right.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np

from groma.chat.conversation import GroundedReply
from groma.data.sample import QA, Expected
from groma.eval.harness.answer_words import agrees, denies
from groma.eval.statistics.matching import is_first, match_boxes, num_matched
from groma.types import Box
from recipes.scenes.evaluation import answer_reading as reading
from recipes.scenes.language.attributes import colour_known
from recipes.scenes.scene import Thing


@dataclass(frozen=True, slots=True)
class Verdict:
    """How good one answer is.

    Attributes:
        right: everything that is judged is right.
        said: words, number, yes or no are right; None where they are not judged.
        pointed: exactly the right regions are pointed at; None where that is not judged.
    """

    right: bool
    said: bool | None
    pointed: bool | None


@dataclass(frozen=True, slots=True)
class Description:
    """How well the phrases of a description fit (grounded chat, paper 4).

    Attributes:
        grounded: pairs of a phrase and one of its regions.
        right: those whose region holds what the phrase names.
        wanted: regions that had to be described.
        covered: those that a right pair describes.
        colours: right pairs whose phrase names the colour of a thing of known colour.
        colours_right: those that name it right.
        sizes: right pairs whose phrase names the size of a thing.
        sizes_right: those that name it right.
    """

    grounded: int
    right: int
    wanted: int
    covered: int
    colours: int
    colours_right: int
    sizes: int
    sizes_right: int


def count_pointed(reply: GroundedReply, boxes: Sequence[Box]) -> tuple[int, int, int]:
    """Right regions, regions pointed at, and regions to point at."""
    found = [region.box for region in reply.regions]
    return num_matched(found, boxes), len(found), len(boxes)


def points_exactly(reply: GroundedReply, boxes: Sequence[Box]) -> bool:
    """Whether an answer points at each of these once and at nothing else."""
    return len(set(count_pointed(reply, boxes))) == 1


def points_first(reply: GroundedReply, box: Box) -> bool:
    """Whether the first region of an answer is this one (REC, paper 5.1)."""
    return is_first([region.box for region in reply.regions], box)


def is_judged(expected: Expected) -> bool:
    """Whether anything is known about the right answer."""
    return expected != Expected()


def judge(turn: QA, reply: GroundedReply, boxes: Sequence[Box]) -> Verdict:
    """Compare an answer with everything that is known about the right one.

    Args:
        turn: the question.
        reply: the answer.
        boxes: of the regions that `turn.expected` names, xyxy in pixels.
    """
    expected = turn.expected
    said = _judge_words(turn, reply.text)
    pointed = None
    if expected.regions is not None:
        pointed = points_exactly(reply, [boxes[i] for i in sorted(expected.regions)])
    answers = bool(reply.text.strip() or reply.spans)
    return Verdict(answers and said is not False and pointed is not False, said, pointed)


def _judge_words(turn: QA, text: str) -> bool | None:
    """Whether the words are right; None where nothing is known about them."""
    expected, tokens = turn.expected, reading.read(text)
    checks: list[bool] = []
    if expected.yes is not None:
        checks.append(agrees(tokens) is expected.yes)
    if expected.count is not None:
        checks.append(reading.number_said(tokens) == expected.count)
    if expected.words:
        groups = expected.words
        checks += [any(reading.says(tokens, word) for word in group) for group in groups]
        checks.append(not reading.contradicts(tokens, groups))
    if must_deny(turn):
        checks.append(denies(tokens))
    return all(checks) if checks else None


def must_deny(turn: QA) -> bool:
    """Whether the right answer says that there is nothing: not so in small talk."""
    return turn.expected.regions == frozenset() and not turn.kind.startswith("chat_")


def judge_caption(text: str, thing: Thing) -> dict[str, bool]:
    """Judge the description of a region.

    Args:
        text: the answer.
        thing: what the region shows.

    Returns:
        Whether "name" and "size" are right, and "colour" where it is known; a thing of which no
        size is said is called medium-sized. Size and colour count in the first sentence alone:
        later ones speak of the neighbours.
    """
    names = reading.names_said(reading.read(text))
    start = reading.read(reading.first_sentence(text))
    sizes = reading.sizes_said(start) or {"medium"}
    verdicts = {
        "name": names[:1] == [thing.noun],
        "size": bool(start) and sizes == {thing.size},
    }
    if colour_known(thing):
        verdicts["colour"] = reading.colours_said(start) == {thing.colour}
    return verdicts


def judge_description(
    reply: GroundedReply,
    names: Sequence[str],
    boxes: Sequence[Box],
    wanted: Collection[int],
    things: Sequence[Thing],
) -> Description:
    """Judge the phrases of a description: the right box for the right noun.

    What need not be described may be, if it is right.

    Args:
        reply: the answer.
        names: what each region holds: things first.
        boxes: of the same regions, xyxy in pixels.
        wanted: indices of regions that have to be described.
        things: for colours and sizes.
    """
    pairs = _grounded_pairs(reply)
    allowed = np.array([[noun == name for name in names] for _, noun, _ in pairs], bool)
    matched = match_boxes([box for _, _, box in pairs], boxes, allowed=allowed)
    described = [(pairs[i][0], things[j]) for i, j in matched if j < len(things)]
    colours = [
        colours == {thing.colour}
        for tokens, thing in described
        if colour_known(thing) and (colours := reading.colours_said(tokens))
    ]
    sizes = [
        sizes == {thing.size}
        for tokens, thing in described
        if (sizes := reading.sizes_said(tokens))
    ]
    return Description(
        grounded=len(pairs),
        right=len(matched),
        wanted=len(wanted),
        covered=sum(j in wanted for _, j in matched),
        colours=len(colours),
        colours_right=sum(colours),
        sizes=len(sizes),
        sizes_right=sum(sizes),
    )


def _grounded_pairs(reply: GroundedReply) -> list[tuple[reading.Tokens, str, Box]]:
    """Each phrase's words, its noun ("" if none is known) and a region, no such pair twice."""
    pairs: dict[tuple[str, int], tuple[reading.Tokens, str, Box]] = {}
    for span in reply.spans:
        tokens = reading.read(reply.phrase(span))
        noun = (reading.names_said(tokens) or [""])[-1]
        for region in span.regions:
            pairs.setdefault((noun, region.id), (tokens, noun, region.box))
    return list(pairs.values())
