"""Examples made by hand: boxes drawn, a question, an answer whose words mean boxes.

Whatever is kept is on disk as Groma-Instruct JSON with its pictures, so that it is checked and
learnt like a set that was uploaded. A mistake is a GromaError and changes nothing.
"""

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Self
from uuid import uuid4

from PIL import Image

from groma.atomic_file import replacing
from groma.chat.conversation import Conversation
from groma.config import NUM_REGION_TOKENS
from groma.data.sample import (
    QA,
    GroundedSample,
    Mention,
    Phrase,
    Piece,
    Pieces,
    join_pieces,
    plain_text,
)
from groma.data.sources.groma_instruct import NUMBER, format_item, numbered
from groma.image import check_boxes, normalise_boxes
from groma.instruction_sets.readers.reading import read_set
from groma.instruction_sets.readers.writing import NAME, write_set
from groma.instruction_sets.talks import talk_to_sample
from groma.types import Box, GromaError, Size

from ..shared.picture_files import displayable, read_picture, to_thumbnail

ZIP_NAME = "my-examples.zip"
_SAME = 1e-3
"""Sides of a box that differ by less, in parts of the picture, differ by rounding alone."""


@dataclass(frozen=True)
class Draft:
    """An example while it is being made.

    Attributes:
        picture: the file, or None before there is one.
        boxes: xyxy in pixels.
        question: as typed; `[K]` is box K, from 1.
        answer: text and phrases, whose regions are indices into `boxes`.
        grounding: whether the question asks for boxes, even where the answer has none.
        earlier: what was said before the question, with boxes of its own; a browser is told, but
            does not give it back.
        has_earlier: whether it is to be kept.
    """

    picture: Path | None = None
    boxes: tuple[Box, ...] = ()
    question: str = ""
    answer: Pieces = ()
    grounding: bool = True
    earlier: GroundedSample | None = None
    has_earlier: bool = False

    @property
    def content(self) -> tuple:
        """What somebody did; a picture alone is nothing yet."""
        return self.boxes, self.question.strip(), self.answer, self.has_earlier

    def to_sample(self) -> GroundedSample:
        """The example ready to be learnt.

        Raises:
            GromaError: naming the first thing that is missing or wrong.
        """
        if self.picture is None:
            raise GromaError("Please open a picture first.")
        if not self.question.strip():
            raise GromaError("Please write a question.")
        if not plain_text(self.answer).strip():
            raise GromaError("Please write the answer that is to be learnt.")
        picture = read_picture(self.picture)
        size = picture.height, picture.width
        boxes = check_boxes(self.boxes, size, NUM_REGION_TOKENS)
        question = join_pieces(numbered(self.question.strip(), range(len(boxes))))
        self._check_uses(question)
        answer = _stripped(self.answer)
        grounds = any(isinstance(piece, Phrase) for piece in answer)
        turn = QA(question, answer, grounding=self.grounding or grounds)
        rows = tuple((x1, y1, x2, y2) for x1, y1, x2, y2 in normalise_boxes(boxes, size).tolist())
        own = GroundedSample(str(self.picture), size, rows, ("",) * len(rows), (turn,))
        return _joined(self.earlier, own) if self.earlier and self.has_earlier else own

    def _check_uses(self, question: Pieces) -> None:
        """Every number is a box, and every box means something."""
        count = len(self.boxes)
        wrong = [number for number in NUMBER.findall(self.question) if int(number) > count]
        if wrong:
            raise GromaError(f"The question speaks of [{wrong[0]}], but {_boxes(count)}.")
        used = set(_regions((*question, *self.answer)))
        if not used <= set(range(count)):
            raise GromaError("Words of the answer mean a box that is gone; mark them again.")
        for index in range(count):
            if index not in used:
                raise GromaError(
                    f"Box {index + 1} means nothing yet: select its words in the answer and press "
                    f"{index + 1}, or point at it with [{index + 1}] in the question."
                )


@dataclass(frozen=True)
class Kept:
    """An example of the set.

    Attributes:
        number: its own as long as it lives, from 1.
        draft: with a picture of the set.
        size: (H, W) of the picture.
        thumbnail: of the picture, as a data URI.
        item: as Groma-Instruct has it.
    """

    number: int
    draft: Draft
    size: Size
    thumbnail: str
    item: dict[str, Any] = field(hash=False)


@dataclass(frozen=True)
class OwnSet:
    """What one visitor made, and what is on the workbench.

    Attributes:
        folder: of the pictures and the JSON file; None before anything is kept.
        examples: oldest first.
        editing: number of the example on the workbench; None for a new one.
        loaded: what was put on the workbench; anything else there is work that nobody kept.
        from_chat: whether it came from the chat.
    """

    folder: Path | None = None
    examples: tuple[Kept, ...] = ()
    editing: int | None = None
    loaded: Draft = Draft()
    from_chat: bool = False

    def close(self) -> None:
        """Remove everything; runs have copies of their own."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def copy(self) -> Self:
        """The same examples in a folder of their own, and nothing on the workbench."""
        if self.folder is None:
            return type(self)()
        folder = _new_folder()
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)

        def moved(kept: Kept) -> Kept:
            assert kept.draft.picture is not None
            picture = folder / kept.draft.picture.name
            return replace(kept, draft=replace(kept.draft, picture=picture))

        return self._written(folder, map(moved, self.examples), None, Draft(), from_chat=False)

    def keep(self, draft: Draft) -> Self:
        """Take what is on the workbench into the set, in its old place if it has one.

        Raises:
            GromaError: as `Draft.to_sample`.
        """
        draft = replace(draft, earlier=self.loaded.earlier)
        sample = draft.to_sample()
        folder = self.folder or _new_folder()
        draft = replace(draft, picture=_take_picture(Path(sample.picture), folder))
        assert draft.picture is not None
        number = self.editing or 1 + max((kept.number for kept in self.examples), default=0)
        item = format_item(replace(sample, picture=draft.picture.name), number)
        thumbnail = to_thumbnail(read_picture(draft.picture))
        made = Kept(number, draft, sample.size, thumbnail, item)
        others = [kept for kept in self.examples if kept.number != number]
        examples = sorted([*others, made], key=lambda kept: kept.number)
        return self._written(folder, examples, None, Draft(), from_chat=False)

    def edit(self, draft: Draft, number: Any) -> Self:
        """Put an example on the workbench.

        Raises:
            GromaError: if it is gone, or there is work that nobody kept.
        """
        self._check_free(draft)
        kept = self._find(number)
        return replace(self, editing=kept.number, loaded=kept.draft, from_chat=False)

    def correct(
        self,
        draft: Draft,
        picture: Path | None,
        conversation: Conversation | None,
        place: Any = -1,
    ) -> Self:
        """Put a turn of a talk on the workbench, with what was said before it.

        Args:
            draft: what is on the workbench.
            picture: of the talk.
            conversation: the talk.
            place: of the turn, from 0; -1 is the last one.

        Raises:
            GromaError: if there is none, or there is work that nobody kept.
        """
        if picture is None or conversation is None or not conversation.turns:
            raise GromaError("There is no answer yet that could be corrected.")
        count = len(conversation.turns)
        if not isinstance(place, int) or not -1 <= place < count:
            raise GromaError("This answer is gone already.")
        self._check_free(draft)
        loaded = draft_of_talk(picture, conversation, place % count)
        return replace(self, editing=None, loaded=loaded, from_chat=True)

    def delete(self, number: Any) -> Self:
        """Leave an example out.

        Raises:
            GromaError: if it is gone already, or on the workbench.
        """
        gone = self._find(number)
        if gone.number == self.editing:
            raise GromaError("This example is being edited; keep or discard it first.")
        assert self.folder is not None
        examples = [kept for kept in self.examples if kept != gone]
        return self._written(self.folder, examples, self.editing, self.loaded, self.from_chat)

    def discard(self) -> Self:
        """Clear the workbench."""
        return replace(self, editing=None, loaded=Draft(), from_chat=False)

    def pack(self) -> Path:
        """A zip with everything that is kept; written whole or not at all.

        Raises:
            GromaError: if nothing is.
        """
        if self.folder is None or not self.examples:
            raise GromaError("Please keep an example first.")
        draft, target = self.folder / f"{uuid4().hex}.zip", self.folder / ZIP_NAME
        try:
            write_set(read_set(self.folder), draft)
            return draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    def _written(
        self,
        folder: Path,
        examples: Iterable[Kept],
        editing: int | None,
        loaded: Draft,
        from_chat: bool,
    ) -> Self:
        examples = tuple(examples)
        items = [kept.item for kept in examples]
        with replacing(folder / NAME) as file:
            file.write(json.dumps(items, indent=1, ensure_ascii=False).encode())
        return type(self)(folder, examples, editing, loaded, from_chat)

    def _find(self, number: Any) -> Kept:
        for kept in self.examples:
            if kept.number == number:
                return kept
        raise GromaError("This example is gone already.")

    def _check_free(self, draft: Draft) -> None:
        """Nothing that somebody made is ever replaced."""
        if draft.content not in (Draft().content, self.loaded.content):
            raise GromaError("Please keep or discard the example you are working on first.")


def draft_of_talk(picture: Path, conversation: Conversation, place: int) -> Draft:
    """A turn of a talk to be corrected, with the boxes it speaks of; those before it stay."""
    sample = talk_to_sample(str(picture), conversation)
    last = _only(sample, sample.turns[place : place + 1])
    (turn,) = last.turns
    height, width = sample.size
    earlier = sample.turns[:place]
    return Draft(
        picture,
        tuple((x1 * width, y1 * height, x2 * width, y2 * height) for x1, y1, x2, y2 in last.boxes),
        plain_text(turn.question, tuple(range(len(last.boxes)))),
        turn.answer,
        turn.grounding,
        _only(sample, earlier) if earlier else None,
        has_earlier=bool(earlier),
    )


def _new_folder() -> Path:
    return Path(mkdtemp(prefix="groma-examples-"))


def _only(sample: GroundedSample, turns: tuple[QA, ...]) -> GroundedSample:
    """Some turns of a sample, with the boxes they speak of, in that order."""
    pieces = (piece for turn in turns for piece in (*turn.question, *turn.answer))
    rows = _regions(tuple(pieces))
    place = {region: index for index, region in enumerate(rows)}
    return replace(
        sample,
        boxes=tuple(sample.boxes[region] for region in rows),
        names=tuple(sample.names[region] for region in rows),
        turns=tuple(_renumbered(turn, place) for turn in turns),
    )


def _joined(earlier: GroundedSample, last: GroundedSample) -> GroundedSample:
    """A talk from its parts; a box that is where it was before is the same one."""
    boxes, names = list(earlier.boxes), list(earlier.names)
    place: dict[int, int] = {}
    for index, box in enumerate(last.boxes):
        known = (i for i, other in enumerate(earlier.boxes) if _is_same(box, other))
        place[index] = next(known, len(boxes))
        if place[index] == len(boxes):
            boxes.append(box)
            names.append(last.names[index])
    turns = (*earlier.turns, *(_renumbered(turn, place) for turn in last.turns))
    return replace(last, boxes=tuple(boxes), names=tuple(names), turns=turns)


def _renumbered(turn: QA, place: Mapping[int, int]) -> QA:
    """A turn whose regions have other places."""

    def renumber(piece: Piece) -> Piece:
        if isinstance(piece, Mention):
            return Mention(place[piece.region])
        if isinstance(piece, Phrase):
            return replace(piece, regions=tuple(place[region] for region in piece.regions))
        return piece

    question, answer = (tuple(map(renumber, part)) for part in (turn.question, turn.answer))
    return replace(turn, question=question, answer=answer)


def _is_same(one: Box, other: Box) -> bool:
    return all(abs(a - b) < _SAME for a, b in zip(one, other, strict=True))


def _regions(pieces: Pieces) -> list[int]:
    """Regions that are meant, in order, each once."""
    found: dict[int, None] = {}
    for piece in pieces:
        if isinstance(piece, Mention):
            found.setdefault(piece.region)
        elif isinstance(piece, Phrase):
            found |= dict.fromkeys(piece.regions)
    return list(found)


def _stripped(answer: Pieces) -> Pieces:
    """The answer without spaces around it."""
    pieces: list[Piece] = list(answer)
    for end, strip in ((0, str.lstrip), (-1, str.rstrip)):
        if isinstance(last := pieces[end], str):
            pieces[end] = strip(last)
    return join_pieces(pieces)


def _take_picture(picture: Path, folder: Path) -> Path:
    """The set's own copy of a picture; the same picture has one copy."""
    picture = displayable(picture)
    with Image.open(picture) as image:
        ending = "jpeg" if image.format == "MPO" else str(image.format).lower()
    with picture.open("rb") as file:
        name = hashlib.file_digest(file, "sha256").hexdigest()[:16]
    target = folder / f"{name}.{ending}"
    if not target.exists():
        with picture.open("rb") as source, replacing(target) as file:
            shutil.copyfileobj(source, file)
    return target


def _boxes(count: int) -> str:
    return {0: "there is no box", 1: "there is one box only"}.get(
        count, f"there are {count} boxes only"
    )
