"""One picture with regions and what is said about it, before it becomes tokens."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

from pydantic import Field, TypeAdapter

from groma.text.grammar import capitalised
from groma.types import Box, Size, scale_box


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words of an answer that mean regions: `<p>text</p><roi>…</roi>` (paper 3.2)."""

    text: Annotated[str, Field(alias="phrase")]  # the words, never empty
    # Indices into `GroundedSample.boxes`, in the order they are to be named.
    regions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Mention:
    """A region the user points at in a question; a person reads it as `[K]` (paper 3.2)."""

    region: Annotated[int, Field(alias="mention")]  # index into `GroundedSample.boxes`


Piece = str | Phrase | Mention
Pieces = tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """What makes an answer right; each field left at None (or empty) is not judged."""

    # Exactly these must be pointed at; empty means that nothing may be.
    regions: frozenset[int] | None = None
    count: int | None = None  # the number the answer must say
    yes: bool | None = None  # whether the answer must agree or deny
    words: tuple[tuple[str, ...], ...] = ()  # of every group at least one must occur in the text


@dataclass(frozen=True, slots=True)
class QA:
    """One question, the answer to learn, and how to judge another answer."""

    question: Pieces  # text and mentions
    answer: Pieces  # text and phrases
    kind: str = "chat"  # name of the task, for evaluation by kind
    expected: Expected = Expected()  # the truth
    # Whether the question asks for regions ("[grounding]"); if not, the answer has no phrase.
    grounding: bool = True

    @property
    def phrases(self) -> tuple[Phrase, ...]:
        """What in the answer means regions."""
        return tuple(piece for piece in self.answer if isinstance(piece, Phrase))

    def renumbered(self, place: Mapping[int, int]) -> Self:
        """The same turn about a sample in which regions have other places."""
        question, answer = (
            tuple(_renumbered(piece, place) for piece in part)
            for part in (self.question, self.answer)
        )
        return replace(self, question=question, answer=answer)

    def ungrounded(self) -> Self:
        """The same turn with grounding off: phrases become plain words."""
        words = tuple(piece.text if isinstance(piece, Phrase) else piece for piece in self.answer)
        expected = replace(self.expected, regions=None)
        return replace(self, answer=join_pieces(words), expected=expected, grounding=False)


@dataclass(frozen=True, slots=True)
class GroundedSample:
    """A picture's regions and a conversation about them."""

    picture: str  # where the pixels come from: a file name, or the key of a scene
    size: Size  # (H, W) of the picture in pixels
    boxes: tuple[Box, ...]  # xyxy in [0, 1]
    names: tuple[str, ...]  # what each box holds, one noun each
    turns: tuple[QA, ...]  # oldest first

    @property
    def user_regions(self) -> tuple[int, ...]:
        """Regions the user points at, in order of first mention: place K - 1 is `[K]`."""
        return tuple(dict.fromkeys(i for turn in self.turns for i in regions_of(turn.question)))

    def in_pixels(self, regions: Iterable[int]) -> tuple[Box, ...]:
        """Boxes of some regions, xyxy in pixels."""
        return tuple(scale_box(self.boxes[region], self.size) for region in regions)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        return _JSON.dump_python(self, mode="json", by_alias=True)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "GroundedSample":
        """The inverse of `to_dict`; raises `ValueError` if it is something else."""
        return _JSON.validate_python(data)


_JSON = TypeAdapter(GroundedSample)


def regions_of(pieces: Iterable[Piece]) -> list[int]:
    """Regions that pieces mean, in order, as often as they do."""
    found: list[int] = []
    for piece in pieces:
        if isinstance(piece, Mention):
            found.append(piece.region)
        elif isinstance(piece, Phrase):
            found += piece.regions
    return found


def join_pieces(pieces: Iterable[Piece]) -> Pieces:
    """Merge neighbouring strings and drop empty ones: one text has one form."""
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        elif piece != "":
            joined.append(piece)
    return tuple(joined)


def listing(items: Sequence[Piece | Pieces]) -> Pieces:
    """Join items as English does: "a", "a and b", "a, b and c"."""
    pieces: list[Piece] = []
    for position, item in enumerate(items):
        if position:
            pieces.append(" and " if position == len(items) - 1 else ", ")
        pieces += item if isinstance(item, tuple) else (item,)
    return join_pieces(pieces)


def sentence(pieces: Iterable[Piece]) -> Pieces:
    """Merge pieces and give the first a capital letter."""
    merged = join_pieces(pieces)
    first = merged[0] if merged else ""
    if isinstance(first, str):
        return (capitalised(first), *merged[1:])
    if isinstance(first, Phrase):
        return (Phrase(capitalised(first.text), first.regions), *merged[1:])
    return merged


def plain_text(pieces: Pieces, user_regions: tuple[int, ...] = ()) -> str:
    """What a person reads of a question or an answer; `[K]` is number K of the user's regions."""
    words = []
    for piece in pieces:
        if isinstance(piece, Mention):
            words.append(f"[{user_regions.index(piece.region) + 1}]")
        else:
            words.append(piece.text if isinstance(piece, Phrase) else piece)
    return "".join(words)


def _renumbered(piece: Piece, place: Mapping[int, int]) -> Piece:
    if isinstance(piece, Mention):
        return Mention(place[piece.region])
    if isinstance(piece, Phrase):
        return Phrase(piece.text, tuple(place[region] for region in piece.regions))
    return piece
