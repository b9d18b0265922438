"""Pictures with labelled boxes, and the questions and answers made of them.

A label that one box of a picture has is a description: "Where is …?" and "What is [1]?" are asked.
A label that several boxes have is a class: all of them are asked for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from groma.data.sample import QA, GroundedSample, Mention, Phrase
from groma.data.sources.groma_instruct import format_item
from groma.data.sources.items import UNKNOWN_SIZE
from groma.data.templates import pose
from groma.dice import Dice
from groma.instruction_sets.readers.set_items import Item, Message, RawBox
from groma.types import Size

MOST_TURNS = 6
"""So many questions about one picture are one item."""


@dataclass(frozen=True)
class LabelledPicture:
    """What box formats have in common.

    Attributes:
        name: of the file.
        size: (H, W) in pixels as annotated, or None.
        boxes: x, y, width, height in pixels.
        labels: one per box; a box without one is asked nothing about.
        captions: sentences about the picture whose phrases mean boxes, as turns.
        flaws: why parts of it could not be read.
    """

    name: str
    size: Size | None
    boxes: tuple[RawBox, ...]
    labels: tuple[str, ...]
    captions: tuple[QA, ...] = ()
    flaws: tuple[str, ...] = ()


def make_items(pictures: Iterable[LabelledPicture]) -> Iterator[Item]:
    """Ask about labelled boxes: finding in one item, naming in another, for one tells the other.

    The same pictures always give the same items.
    """
    numbers = count()
    for picture in pictures:
        groups = _group(picture.labels)
        for turns in (_find(groups), _name(groups), picture.captions):
            for start in range(0, len(turns), MOST_TURNS):
                some = turns[start : start + MOST_TURNS]
                yield _make_item(picture, some, next(numbers))
        if picture.flaws and not groups:
            yield Item(next(numbers), picture.name, picture.size, flaws=picture.flaws)


def _make_item(picture: LabelledPicture, turns: Sequence[QA], number: int) -> Item:
    used = sorted({region for turn in turns for region in _regions(turn)})
    row = {region: index for index, region in enumerate(used)}
    sample = GroundedSample(picture.name, UNKNOWN_SIZE, (), (), tuple(turns))
    posed = pose(sample, Dice(np.random.SeedSequence(number)))
    messages = tuple(
        Message(
            said["from"],
            said["value"],
            tuple(row[region] for region in said["box_inds"]),
            said.get("grounding", True),
        )
        for said in format_item(posed)["conversation"]
    )
    found = tuple(picture.boxes[region] for region in used)
    return Item(number, picture.name, picture.size, found, messages, picture.flaws)


def _group(labels: Sequence[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for box, label in enumerate(labels):
        if label:
            groups.setdefault(label, []).append(box)
    return groups


def _find(groups: Mapping[str, Sequence[int]]) -> list[QA]:
    return [
        QA((label,), (Phrase(label, tuple(boxes)),), "rec" if len(boxes) == 1 else "find")
        for label, boxes in groups.items()
    ]


def _name(groups: Mapping[str, Sequence[int]]) -> list[QA]:
    return [
        QA((Mention(boxes[0]),), (label,), "region_caption", grounding=False)
        for label, boxes in groups.items()
    ]


def _regions(turn: QA) -> list[int]:
    asked = [piece.region for piece in turn.question if isinstance(piece, Mention)]
    meant = [i for piece in turn.answer if isinstance(piece, Phrase) for i in piece.regions]
    return asked + meant
