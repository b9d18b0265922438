"""Instruction sets as read: whatever the file, in the terms of Groma-Instruct, flaws included.

Items are lenient where `GroundedSample` is strict: a box may lie outside its picture, an answer may
name boxes that do not exist. `to_sample` is the border between the two.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, Self

from groma.data.geometry import is_same_shape
from groma.data.sample import GroundedSample
from groma.data.sources.groma_instruct import GPT, HUMAN, Message, make_sample
from groma.data.sources.items import BrokenItem
from groma.types import GromaError, Size

RawBox = tuple[float, ...]
"""As annotated; four finite numbers if all is well, none where no numbers could be read."""

GROMA = "Groma-Instruct"
"""What a set is that nothing else is said of."""


@dataclass(frozen=True, slots=True)
class Item:
    """A picture, boxes on it, and a conversation about them."""

    number: int  # position in the file, from 0; it stays when other items leave
    picture: str = ""  # name of the file, as annotated; empty where there is none
    size: Size | None = None  # (H, W) in pixels as annotated, or None
    # x, y, width, height in pixels of `size` (of the file, where it is None).
    boxes: tuple[RawBox, ...] = ()
    messages: tuple[Message, ...] = ()  # oldest first
    # Why parts of it could not be read, one sentence each; it cannot be used then.
    flaws: tuple[str, ...] = ()
    is_stated: bool = False  # whether somebody said what its boxes mean: they are not doubted

    @property
    def exchanges(self) -> tuple[tuple[Message, Message], ...]:
        """Questions with their answers, where they alternate."""
        return tuple(
            (asked, answered)
            for asked, answered in zip(self.messages[::2], self.messages[1::2], strict=False)
            if (asked.role, answered.role) == (HUMAN, GPT)
        )

    def edited(self, edit: Callable[[Message], Message], role: str = "") -> Self:
        """With its messages, all or those of a role, changed."""
        changed = (m if role and m.role != role else edit(m) for m in self.messages)
        return replace(self, messages=tuple(changed))

    def to_dict(self, size: Size | None = None) -> dict[str, Any]:
        """As Groma-Instruct has it, with this size of the picture where none is annotated."""
        size = self.size or size
        known = {"height": size[0], "width": size[1]} if size else {}
        return {
            "file_name": self.picture,
            **known,
            "id": self.number + 1,
            "boxes": [list(box) for box in self.boxes],
            "conversation": [message.to_dict() for message in self.messages],
        }


@dataclass(frozen=True, slots=True)
class PictureFile:
    """What became of the name of a picture."""

    path: Path | None = None  # the file, absolute, or None
    size: Size | None = None  # (H, W) of the upright picture, or None where it cannot be used
    problem: Literal["", "missing", "outside", "unreadable"] = ""  # why it cannot
    reason: str = ""  # the same in one sentence
    near: str = ""  # another name under which there is a picture that might be meant
    is_guess: bool = False  # whether it is elsewhere than its name says, the only one of its name


class Note(NamedTuple):
    """Something a reader left out, or had to guess."""

    code: str
    sentence: str
    severity: Literal["warning", "note"] = "warning"


@dataclass(frozen=True)
class InstructionSet:
    """Examples to learn from."""

    items: tuple[Item, ...]  # in the order of the file
    # What is known of every name of a picture.
    pictures: Mapping[str, PictureFile] = field(default_factory=lambda: MappingProxyType({}))
    layout: str = GROMA  # what the file is, for people
    notes: tuple[Note, ...] = ()  # what the reader left out

    def __len__(self) -> int:
        """How many items there are."""
        return len(self.items)

    def find(self, number: int) -> Item:
        """The item of this number; raises `GromaError` if there is none."""
        for item in self.items:
            if item.number == number:
                return item
        raise GromaError(f"The set has no item {number + 1}.")

    def picture(self, item: Item) -> PictureFile:
        """The file of an item's picture, and what is known of it."""
        return self.pictures.get(item.picture, PictureFile(problem="missing"))


def to_sample(instructions: InstructionSet, item: Item) -> GroundedSample:
    """Make an item ready to be learnt; raises `BrokenItem`, with the reason, if it cannot be used.

    The sample's `picture` is the absolute path of the file and its `size` the file's own.
    """
    if item.flaws:
        raise BrokenItem("parts that cannot be read")
    found = instructions.picture(item)
    if found.path is None or found.size is None:
        raise BrokenItem("a picture that is missing or cannot be read")
    if item.boxes and item.size and not is_same_shape(item.size, found.size):
        raise BrokenItem("a picture of another shape than its annotations say")
    sample = make_sample(str(found.path), item.size or found.size, item.boxes, item.messages)
    return replace(sample, size=found.size)


def to_samples(instructions: InstructionSet) -> list[GroundedSample]:
    """Every item that can be used, as `to_sample` makes it; `left_out` knows the others."""
    return [sample for sample in _try_all(instructions) if isinstance(sample, GroundedSample)]


def left_out(instructions: InstructionSet) -> dict[int, str]:
    """Numbers of the items that cannot be used, and what each has wrong."""
    made = zip(instructions.items, _try_all(instructions), strict=True)
    return {item.number: reason for item, reason in made if isinstance(reason, str)}


def _try_all(instructions: InstructionSet) -> Iterator[GroundedSample | str]:
    for item in instructions.items:
        try:
            yield to_sample(instructions, item)
        except BrokenItem as error:
            yield str(error)
