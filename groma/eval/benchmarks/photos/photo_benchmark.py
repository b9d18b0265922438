"""Photographs with known things: found, named, pointed at, denied, described.

For any COCO-like file whose pictures are annotated for all its categories. Each picture is encoded
once; every question starts from an empty conversation, and is put as to the application.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from groma.chat.conversation import GroundedReply
from groma.data.geometry import is_crowd
from groma.data.sources.items import box_from_xywh, read_parts
from groma.dice import Dice
from groma.eval.benchmarks.coco_file import CocoFile, Entry, reading, size_of
from groma.eval.benchmarks.lvis_ground import class_name
from groma.eval.benchmarks.photos.photo_judging import FIGURES, Outcomes, judge_regions, judge_reply
from groma.eval.benchmarks.photos.photo_names import Names
from groma.eval.benchmarks.photos.photo_questions import (
    LARGE,
    SMALL,
    Question,
    Thing,
    ask,
    find_companions,
)
from groma.eval.harness.asker import Asker, Protocol, Wording
from groma.eval.harness.benchmark import Answers, Benchmark, Case, Score, read_boxes, rescale
from groma.eval.statistics.intervals import Figure, divide, sums
from groma.run_journal import Fields
from groma.types import GromaError, Size

_NOTE = (
    "The size of a thing is the square root of its box's share of the picture: small below "
    f"{SMALL}, large above {LARGE}; over a tenth is all that is not small. Crowds are not counted."
)


@dataclass(frozen=True)
class _Photograph(Case):
    """A photograph, what is on it, and what is asked about it."""

    things: tuple[Thing, ...]  # what must be found and told
    crowds: tuple[Thing, ...]  # boxes that hold many of their category
    questions: tuple[Question, ...]  # in the order they are asked
    size: Size  # (H, W)


class Photos(Benchmark[_Photograph]):
    """What a model sees on photographs of a COCO-like file, and how it talks about that."""

    name = "photos"
    unit = "things"

    def __init__(self, annotations: Path) -> None:
        with reading(annotations):
            file = CocoFile.read(annotations)
            categories = {each["id"]: class_name(each["name"]) for each in file.categories}
            self._names = Names(categories.values())
            cases, unusable = _read(file, categories)
        super().__init__([annotations], cases, unusable)

    @classmethod
    def protocol(cls, wording: Wording) -> Protocol:
        """As in the application: with regions, and the model's own thresholds."""
        return Protocol(wording, 256, grounding=True)

    def answer(self, asker: Asker, case: _Photograph, number: int) -> Fields:  # noqa: ARG002
        """The regions the model is shown, and its replies."""
        size = asker.image.original_size
        replies = []
        for question in case.questions:
            drawn = question.kind == "name" and question.thing
            boxes = (drawn.in_pixels(size),) if drawn else ()
            reply = asker.ask(question.text, boxes, grounding=asker.protocol.grounding)
            replies.append({"question": question.text, **reply.to_dict()})
        shown = rescale((region.box for region in asker.regions), size, case.size)
        return {"boxes": shown, "replies": replies}

    def measure(self, cases: Sequence[_Photograph], answers: Answers) -> Score:
        """Shares of right answers."""
        keys = list(FIGURES)
        above, below = np.zeros((2, len(cases), len(keys)))
        for unit, case in enumerate(cases):
            for key, outcome in self._judge(case, answers.get(case.key)):
                above[unit, keys.index(key)] += outcome
                below[unit, keys.index(key)] += 1
        figures = tuple(
            _figure(key, int(cases)) for key, cases in zip(keys, below.sum(axis=0), strict=True)
        )
        number, counts = len(keys), np.concatenate([above, below], axis=1)
        means = sums(figures, counts, lambda x: divide(x[..., :number], x[..., number:]))
        return Score([means], [_NOTE])

    @property
    def num_usable(self) -> int:
        """Things and crowds."""
        return sum(len(case.things) + len(case.crowds) for case in self.cases)

    def _judge(self, case: _Photograph, answer: Fields | None) -> Outcomes:
        """All outcomes of a photograph; without an answer the model has seen and said nothing."""
        found, replies = [], [GroundedReply("", (), case.size)] * len(case.questions)
        if answer is not None:
            height, width = case.size
            found = [
                (x1 / width, y1 / height, x2 / width, y2 / height)
                for x1, y1, x2, y2 in read_boxes(answer, case.key)
            ]
            replies = _read_replies(answer, case)
        yield from judge_regions(found, case.things)
        for question, reply in zip(case.questions, replies, strict=True):
            yield from judge_reply(question, reply, case.things, case.crowds, self._names)


def _figure(key: str, cases: int) -> Figure:
    is_share = key != "regions"
    return Figure(key, FIGURES[key], cases, 100.0 if is_share else 1.0, is_share)


def _read_replies(answer: Fields, case: _Photograph) -> list[GroundedReply]:
    """The replies of an answer; raises `GromaError` if they are none, or to other questions."""
    try:
        asked = [str(reply["question"]) for reply in answer["replies"]]
        replies = [GroundedReply.from_dict(reply) for reply in answer["replies"]]
    except (KeyError, TypeError, ValueError) as error:
        raise GromaError(f"The answer to case {case.key} has no `replies`.") from error
    if asked != [question.text for question in case.questions]:
        raise GromaError(f"The replies to case {case.key} are to other questions.")
    return replies


def _read(file: CocoFile, categories: Mapping[int, str]) -> tuple[list[_Photograph], Counter[str]]:
    """A case for every picture, and how many things cannot be used for which reason."""
    broken: Counter[str] = Counter()
    seen = {image["id"]: file.annotations.get(image["id"], ()) for image in file.images}
    names = [{categories[each["category_id"]] for each in found} for found in seen.values()]
    companions = find_companions(categories.values(), names)
    cases = []
    for number, image in enumerate(file.images):
        size, key = size_of(image), str(image["id"])
        things, crowds = _read_things(seen[image["id"]], categories, size, broken)
        questions = tuple(ask(things, crowds, companions, Dice.of("test", 0, number)))
        cases.append(_Photograph(key, image["file_name"], things, crowds, questions, size))
    return cases, broken


def _read_things(
    found: Sequence[Entry], categories: Mapping[int, str], size: Size, broken: Counter[str]
) -> tuple[tuple[Thing, ...], tuple[Thing, ...]]:
    """Things, and crowds; what cannot be used is counted in `broken`."""

    def read(each: Entry) -> tuple[bool, Thing]:
        name, box = categories[each["category_id"]], box_from_xywh(each["bbox"], size)
        return is_crowd(each), Thing(name, box)

    read_ones = read_parts(found, read, broken, needed=False)
    things, crowds = (tuple(t for is_many, t in read_ones if is_many is k) for k in (False, True))
    return things, crowds
