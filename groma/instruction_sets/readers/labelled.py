"""Pictures with labelled boxes, and the questions and answers made of them.

A label that one box of a picture has is a description: "Where is …?" and "What is [1]?" are asked.
A label that several boxes have is a class: all of them are asked for.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import count
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from groma.data.questions import pose
from groma.data.sample import QA, GroundedSample, Mention, Phrase, regions_of
from groma.data.sources.groma_instruct import format_turns
from groma.data.sources.items import UNKNOWN_SIZE
from groma.dice import Dice
from groma.instruction_sets.readers.set_items import Item, Note, RawBox
from groma.types import Size

_MOST_TURNS = 6
"""So many questions about one picture are one item."""

_REASONS = {
    "file": "{} files cannot be read; they are left out.",
    "unknown": "{} other files are of no format that is known; they are left out.",
    "object": "{} entries cannot be read; they are left out.",
    "empty": "{} pictures have no box with a caption or class; they are left out.",
    "bare": "{} pictures have no file of labels; they are left out.",
    "stray": "{} boxes belong to no picture of the file; they are left out.",
    "picture": "{} files of labels belong to no picture; they are left out.",
    "label": "{} boxes have neither a caption nor a class; nothing is asked about them.",
    "shape": "{} shapes, such as points or lines, have no box to be read; they are left out.",
    "others": "{} further annotations of the same pictures are left out; the first of each counts.",
    "crowd": "{} boxes of classes with a crowd are left out, for not all of them are marked.",
    "all-crowd": "All {} boxes are marked as crowds, as by mask tools, and read as things.",
    "rotated": "{} boxes are rotated; the upright boxes around them are taken.",
    "shifted": "All {} classes have numbers one off those of their names; they are read as meant.",
    "together": "{} files of the same name are read as one set.",
}
_HARMLESS = ("rotated", "together", "unknown")


@dataclass(frozen=True)
class LabelledPicture:
    """What box formats have in common."""

    name: str  # of the file
    size: Size | None  # (H, W) in pixels as annotated, or None
    boxes: tuple[RawBox, ...]  # x, y, width, height in pixels
    labels: tuple[str, ...]  # one per box; a box without one is asked nothing about
    captions: tuple[QA, ...] = ()  # about the picture; their phrases mean boxes
    flaws: tuple[str, ...] = ()  # why parts of it could not be read
    is_stated: bool = True  # whether the format says without doubt what numbers of boxes mean
    are_shares: bool = False  # whether boxes are in [0, 1] of the picture instead

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to learn from it, and nothing to say about it."""
        return not (any(self.labels) or self.captions or self.flaws)

    def in_pixels(self, size: Size | None) -> "LabelledPicture":
        """The same with boxes in pixels, where the size (H, W) of its file is known."""
        if not self.are_shares or size is None:
            return self
        scale = (size[1], size[0]) * 2
        boxes = (
            tuple(side * by for side, by in zip(box, scale, strict=False)) for box in self.boxes
        )
        return replace(self, boxes=tuple(boxes), size=size, are_shares=False)


class Shape(NamedTuple):
    """Something that is marked on a picture."""

    label: str  # what it is called, or nothing
    box: RawBox  # as in `LabelledPicture`, empty where the shape has none
    is_rotated: bool = False  # whether that is around a rotated one


def label_picture(
    name: str, size: Size | None, shapes: Iterable[Shape], missed: Counter[str]
) -> LabelledPicture:
    """A picture, of which the size (H, W) may be known, with the shapes on it that have a box.

    `missed` counts what is left out or changed, by reason.
    """
    shapes = list(shapes)
    kept = [shape for shape in shapes if shape.box]
    missed["shape"] += len(shapes) - len(kept)
    missed["label"] += sum(not shape.label for shape in kept)
    missed["rotated"] += sum(shape.is_rotated for shape in kept)
    boxes, labels = tuple(s.box for s in kept), tuple(s.label for s in kept)
    return LabelledPicture(name, size, boxes, labels)


def match_numbers(
    names: Mapping[Any, str], used: Set[Any], missed: Counter[str]
) -> Mapping[Any, str]:
    """Names of classes by the numbers that are used.

    Where these count from one and those of the names from zero, or the reverse, they are one off;
    that is believed where it holds for every class. `missed` counts such classes.
    """
    for shift in (1, -1):
        moved = {number + shift: name for number, name in names.items() if _is_number(number)}
        if used and used == moved.keys() != names.keys():
            missed["shifted"] += len(moved)
            return moved
    return names


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def beside(file: PurePosixPath, name: str) -> str:
    """A picture's name from the top folder of a set, where it starts at the folder of a file.

    Only its end is left of a name that leads out of the set.
    """
    parts: list[str] = []
    for part in (file.parent / name.replace("\\", "/")).parts if name else ():
        if part != "..":
            parts.append(part)
        elif parts:
            parts.pop()
        else:
            return PurePosixPath(name.replace("\\", "/")).name
    return str(PurePosixPath(*parts)) if parts else ""


def explain_missed(code: str, missed: Counter[str]) -> Iterator[Note]:
    """What a reader left out or changed, in sentences; `code` is that of the format."""
    for reason, sentence in _REASONS.items():
        if missed[reason]:
            severity = "note" if reason in _HARMLESS else "warning"
            yield Note(
                f"{code or 'set'}-{reason}", sentence.format(f"{missed[reason]:,}"), severity
            )


class BoxFormat(NamedTuple):
    """A format that has boxes with labels alone."""

    name: str  # for people
    code: str  # of notes about it
    is_it: Callable[[Any], bool]  # tells it by what a file of JSON or XML holds
    # Makes pictures of that, given the file's name; counts what it leaves out, by reason.
    read: Callable[[Any, PurePosixPath, Counter[str]], Iterator[LabelledPicture]]
    is_split: bool = False  # whether every picture has a file of its own


def has_fields(*names: str) -> Callable[[Any], bool]:
    """Tells a format by an object of JSON that has all of these fields."""
    return lambda data: isinstance(data, Mapping) and {*names} <= data.keys()


def make_items(pictures: Iterable[LabelledPicture]) -> Iterator[Item]:
    """Ask about labelled boxes: finding in one item, naming in another, for one tells the other.

    The same pictures always give the same items.
    """
    numbers = count()
    for picture in pictures:
        groups = _group(picture.labels)
        for turns in (_find(groups), _name(groups), picture.captions):
            for start in range(0, len(turns), _MOST_TURNS):
                some = turns[start : start + _MOST_TURNS]
                yield _make_item(picture, some, next(numbers))
        if picture.flaws and not groups:
            yield Item(next(numbers), picture.name, picture.size, flaws=picture.flaws)


def _make_item(picture: LabelledPicture, turns: Sequence[QA], number: int) -> Item:
    used = sorted({i for turn in turns for i in regions_of((*turn.question, *turn.answer))})
    row = {region: index for index, region in enumerate(used)}
    sample = GroundedSample(picture.name, UNKNOWN_SIZE, (), (), tuple(turns))
    messages = tuple(
        replace(message, boxes=tuple(row[region] for region in message.boxes))
        for message in format_turns(pose(sample, Dice(np.random.SeedSequence(number))))
    )
    boxes = tuple(picture.boxes[region] for region in used)
    return Item(
        number, picture.name, picture.size, boxes, messages, picture.flaws, picture.is_stated
    )


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
