"""What is asked about a photograph whose things are known: the same for every model."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from groma.dice import Dice
from groma.text.grammar import a, the
from groma.types import Box, Size, scale_box

_Kind = Literal["name", "where", "present", "absent", "describe"]

SMALL, LARGE = 0.1, 0.3  # sides between which a thing is medium
_NUM_ABSENT = 4  # absent categories asked for of each kind: any, and those that are likely here


@dataclass(frozen=True)
class Thing:
    """One annotated thing."""

    name: str  # its category
    box: Box  # xyxy in [0, 1]

    @property
    def side(self) -> float:
        """Square root of the box's share of the picture."""
        x1, y1, x2, y2 = self.box
        return ((x2 - x1) * (y2 - y1)) ** 0.5

    @property
    def size(self) -> str:
        """Small, medium or large."""
        return "small" if self.side < SMALL else "large" if self.side > LARGE else "medium"

    def in_pixels(self, size: Size) -> Box:
        """The box in pixels of a picture of size (H, W)."""
        return scale_box(self.box, size)


@dataclass(frozen=True)
class Question:
    """One question, and what it is about."""

    kind: _Kind  # of question
    text: str  # as it is asked
    # That is marked as [1], or that is looked for; the largest that is asked after.
    thing: Thing | None = None
    is_likely: bool = False  # whether something absent is seen elsewhere beside what is here


def ask(
    things: Sequence[Thing], crowds: Sequence[Thing], companions: Mapping[str, set[str]], dice: Dice
) -> Iterator[Question]:
    """All questions about a photograph.

    Of marked things and things without their like, if they are not small; of what is there, what is
    not, drawn from `companions`, and of the whole picture. Nobody is asked about crowds, boxes that
    hold many of their category.
    """
    seen = [thing.name for thing in (*things, *crowds)]
    visible = [thing for thing in things if thing.size != "small"]
    for thing in visible:
        yield Question("name", "What is [1]?", thing)
    for thing in visible:
        if seen.count(thing.name) == 1:
            words = the(thing.name)
            yield Question("where", f"Where {words.agreement['is']} {words.text}?", thing)
    largest = {thing.name: thing for thing in sorted(things, key=lambda thing: thing.side)}
    for name, thing in largest.items():
        yield Question("present", _is_there(name), thing)
    absent = [name for name in companions if name not in seen]
    drawn = dice.sample(absent, _NUM_ABSENT)
    beside = set[str]().union(*(companions[name] for name in seen))
    likely = [name for name in absent if name in beside and name not in drawn]
    for name in drawn:
        yield Question("absent", _is_there(name))
    for name in dice.sample(likely, _NUM_ABSENT):
        yield Question("absent", _is_there(name), is_likely=True)
    yield Question("describe", "Describe the picture.")


def find_companions(names: Iterable[str], pictures: Iterable[set[str]]) -> dict[str, set[str]]:
    """Every category, with those that share a picture with it; a picture is its categories."""
    companions: dict[str, set[str]] = {name: set() for name in names}
    for together in pictures:
        for name in together:
            companions[name] |= together - {name}
    return companions


def _is_there(name: str) -> str:
    return f"Is there {a(name)}?"
