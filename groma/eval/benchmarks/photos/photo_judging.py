"""Is an answer about a photograph right? Pure functions of what is there and what was replied.

Every figure is the mean of outcomes, which are yielded one by one under the figure's key.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from pycocotools import mask as coco_mask

from groma.chat.conversation import GroundedReply
from groma.eval.benchmarks.coco_file import to_xywh
from groma.eval.benchmarks.photos.photo_names import Names
from groma.eval.benchmarks.photos.photo_questions import Question, Thing
from groma.eval.harness.answer_words import agrees, plain_words
from groma.eval.statistics.matching import IOU, is_first, match_boxes, overlaps
from groma.types import Box

FIGURES: Mapping[str, str] = {
    "found": "found at IoU 0.5, over a tenth",
    "found_large": "found, large",
    "found_medium": "found, medium",
    "found_small": "found, small",
    "regions": "regions per picture",
    "name": "name of a marked thing",
    "name_unsure": "name: answers in doubt",
    "where": "only one of its name: pointed at",
    "where_nothing": "only one of its name: nothing pointed at",
    "absent": "absent: denied",
    "absent_likely": "absent, but seen beside such things: denied",
    "absent_unsure": "absent: answers in doubt",
    "present": "present: affirmed",
    "present_visible": "present, over a tenth: affirmed",
    "present_unsure": "present: affirmed in doubt",
    "phrases": "described: phrases right",
    "said": "described: things over a tenth",
    "twice": "described: phrases that repeat a region",
}
"""Key -> label of a figure, in the order of the table."""

Outcomes = Iterator[tuple[str, float]]
"""Keys of figures, each with one outcome that the figure is the mean of."""

_DOUBT = re.compile(
    r"\b(may|might|could) be\b|\b(maybe|perhaps|possibly|probably|unsure|not (sure|certain))\b",
    re.IGNORECASE,
)
# Not every "not": whoever cannot tell, or has not learnt what it looks like, denies nothing.
_DENIAL = re.compile(
    r"\b(no|nope|none|nothing|nobody|without)\b|\b(is|are)(n't| not)\b"
    r"|(\b(can)?not|n't) (see|find|show|contain|have)\b",
    re.IGNORECASE,
)


def judge_regions(found: Sequence[Box], things: Sequence[Thing]) -> Outcomes:
    """Judge regions, xyxy in [0, 1], in a picture of these things."""
    yield "regions", len(found)
    closest = overlaps(found, [thing.box for thing in things]).max(axis=0, initial=0)
    for thing, iou in zip(things, closest, strict=True):
        yield f"found_{thing.size}", iou >= IOU
        if thing.size != "small":
            yield "found", iou >= IOU


def judge_reply(
    question: Question,
    reply: GroundedReply,
    things: Sequence[Thing],
    crowds: Sequence[Thing],
    names: Names,
) -> Outcomes:
    """Judge one answer; `crowds` are boxes that hold many of their category."""
    thing = question.thing
    if question.kind == "describe":
        yield from _judge_description(reply, things, crowds, names)
    elif question.kind == "absent":
        yield from _judge_absent(question, reply)
    elif thing is None:
        raise ValueError(f"{question.text} is about a thing.")
    elif question.kind == "present":
        yield from _judge_present(thing, reply)
    elif question.kind == "where":
        yield "where", is_first([r.box for r in reply.regions], thing.in_pixels(reply.image_size))
        yield "where_nothing", not reply.regions
    else:
        # Of what it may be, the first counts, also where that is no category at all.
        yield "name", names.first(reply.text.partition(" or ")[0]) == thing.name
        yield "name_unsure", _doubts(reply)


def _doubts(reply: GroundedReply) -> bool:
    """Whether an answer says that it may be otherwise."""
    return bool(_DOUBT.search(reply.text))


def _denies(reply: GroundedReply) -> bool:
    """Whether an answer says for sure that there is nothing, and points at nothing."""
    text = reply.text.replace("\u2019", "'")
    is_sure = not (_doubts(reply) or reply.regions or agrees(plain_words(text)))
    return is_sure and bool(_DENIAL.search(text))


def _affirms(reply: GroundedReply) -> bool:
    """Whether an answer says, or shows, that something is there, or may be."""
    shows = _doubts(reply) or bool(reply.regions) or agrees(plain_words(reply.text)) is True
    return shows and not _denies(reply)


def _judge_absent(question: Question, reply: GroundedReply) -> Outcomes:
    yield "absent", _denies(reply)
    yield "absent_unsure", _doubts(reply)
    if question.is_likely:
        yield "absent_likely", _denies(reply)


def _judge_present(thing: Thing, reply: GroundedReply) -> Outcomes:
    yield "present", _affirms(reply)
    yield "present_unsure", _affirms(reply) and _doubts(reply)
    if thing.size != "small":
        yield "present_visible", _affirms(reply)


def _judge_description(
    reply: GroundedReply, things: Sequence[Thing], crowds: Sequence[Thing], names: Names
) -> Outcomes:
    """Each thing may be told once; what lies in a crowd of its name is neither right nor wrong."""
    size = reply.image_size
    told = [
        (names.first(reply.phrase(span)), region.box)
        for span in reply.spans
        for region in span.regions
    ]
    allowed = np.array([[name == thing.name for thing in things] for name, _ in told], bool)
    truth = [thing.in_pixels(size) for thing in things]
    pairs = match_boxes([box for _, box in told], truth, allowed=allowed)
    right, said = {i for i, _ in pairs}, {j for _, j in pairs}
    for i, (name, box) in enumerate(told):
        many = [crowd.in_pixels(size) for crowd in crowds if crowd.name == name]
        if i in right or not _lies_in(box, many):
            yield "phrases", i in right
    for j, thing in enumerate(things):
        if thing.size != "small":
            yield "said", j in said
    before: set[int] = set()
    for span in reply.spans:
        shown = {region.id for region in span.regions}
        yield "twice", bool(shown & before)
        before |= shown


def _lies_in(box: Box, crowds: Sequence[Box]) -> bool:
    """Whether half of a box lies in a crowd."""
    if not crowds:
        return False
    shares = coco_mask.iou([to_xywh(box)], [to_xywh(crowd) for crowd in crowds], [1] * len(crowds))
    return bool(shares.max() >= IOU)
