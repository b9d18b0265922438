"""Puts questions to a model: a benchmark's one by one, greedy; a sample's as a conversation."""

import copy
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Literal, Self

from groma.chat.chat import Chat, Groma
from groma.chat.conversation import GroundedReply
from groma.chat.settings import GenerationSettings
from groma.data.questions import PHRASINGS, SUBJECT
from groma.data.sample import GroundedSample, plain_text
from groma.dice import Dice
from groma.image import load_image
from groma.masks.maker import load_maker
from groma.named_regions import Region
from groma.text.template import Piece, Template
from groma.tokens import PHRASE_CLOSE, PHRASE_OPEN
from groma.types import Box, Detail, EncodedImage, GromaError

Wording = Literal["tags", "words"]
"""How to ask where something is: `tags` as the released model was trained, with the phrase in `<p>`
and without `[grounding]`; the answer is regions alone. `words` as our own models are trained."""

_Objectness = Literal["fused", "coco", "sa1b"]
"""Which head says how much a region is a thing: both, as regions are chosen, or one alone."""

_MIXES: Mapping[_Objectness, tuple[float, float]] = {"coco": (1.0, 0.0), "sa1b": (0.0, 1.0)}
"""Exponents of the two heads where they are not those of the model."""

_NUM_PHRASINGS = 6
"""How many ways of asking there are; which one a case gets is drawn once and for all."""

_TAG = re.compile(f"({PHRASE_OPEN}|{PHRASE_CLOSE})")


@dataclass(frozen=True)
class Protocol:
    """How answers are made."""

    wording: Wording  # how to ask where something is
    max_new_tokens: int  # most tokens of an answer
    score_threshold: float | None = None  # least objectness of a region; None is the model's own
    max_regions: int | None = None  # most regions proposed; None is the model's own
    grounding: bool = False  # whether questions that are given word for word ask for regions
    objectness: _Objectness = "fused"  # what proposals are ranked by
    detail: Detail = 1  # how closely pictures are looked at, see `GenerationSettings`
    mask_maker: str | None = None  # makes masks of what answers mean, see `load_maker`

    def describe(self) -> str:
        """What a reader of a table should know, in part of a sentence."""
        parts = [f"wording `{self.wording}`", f"at most {self.max_new_tokens:,} new tokens"]
        if self.score_threshold is not None:
            parts.append(f"regions of objectness {self.score_threshold:g} or more")
        if self.max_regions is not None:
            parts.append(f"at most {self.max_regions:,} regions")
        if self.grounding:
            parts.append("asked for regions too")
        if self.detail != 1:
            parts.append(f"looked at in detail {self.detail}")
        if self.mask_maker:
            parts.append(f"masks by {self.mask_maker}")
        return ", ".join(parts)


class Asker:
    """One model and one picture at a time, which is encoded once for all questions about it.

    Raises `GromaError` if a setting is out of range, or the model has no such objectness.
    """

    def __init__(self, groma: Groma, protocol: Protocol) -> None:
        self.protocol = protocol
        self._settings = GenerationSettings(
            max_new_tokens=protocol.max_new_tokens,
            score_threshold=protocol.score_threshold,
            max_regions=protocol.max_regions,
            detail=protocol.detail,
        )
        self._mix = _MIXES.get(protocol.objectness)
        if self._mix and groma.config.is_convolutional:
            raise GromaError("This model has one objectness alone; leave --objectness out.")
        self._groma = copy.copy(groma)
        if protocol.mask_maker:
            device = str(groma.model.device)
            self._groma = groma.with_masks(load_maker(protocol.mask_maker, device))
        if protocol.wording == "tags":
            self._groma.template = _TaggedTemplate.of(groma.template)
        self._path: str | None = None
        self._chat: Chat | None = None

    def look(self, path: str) -> None:
        """Turn to a picture; raises `GromaError` if it cannot be read."""
        if path != self._path:
            encoded = self._groma.encode_image(load_image(path), self._mix, self.protocol.detail)
            self._chat = self._groma.chat(encoded, **asdict(self._settings))
            self._path = path

    @property
    def image(self) -> EncodedImage:
        """The picture at hand."""
        return self._open().image

    @property
    def regions(self) -> tuple[Region, ...]:
        """The proposals that the language model is shown of it, best first."""
        return self._groma.regions(self.image, **asdict(self._settings))

    def find(self, phrase: str, kind: str, number: int) -> GroundedReply:
        """Ask where something is; the number of the case decides how, among `PHRASINGS[kind]`."""
        if self.protocol.wording == "tags":
            phrase = f"{PHRASE_OPEN}{_TAG.sub('', phrase)}{PHRASE_CLOSE}"
        grounding = self.protocol.wording == "words"
        return self.ask(phrasing(kind, number).replace(SUBJECT, phrase), grounding=grounding)

    def ask(self, text: str, boxes: tuple[Box, ...] = (), grounding: bool = False) -> GroundedReply:
        """Ask anything; the conversation starts anew, and `[K]` means box number K, xyxy in pixels.

        Returns the answer, empty and "cancelled" where the model cannot take the question.
        """
        chat = self._open()
        try:
            reply = chat.ask(text, boxes, grounding=grounding)
        except GromaError:
            return GroundedReply("", (), chat.image.original_size, "cancelled")
        chat.undo()
        return reply.masked(chat.image.masks) if chat.image.masks else reply

    def _open(self) -> Chat:
        if self._chat is None:
            raise ValueError("There is no picture to ask about yet.")
        return self._chat


class _TaggedTemplate(Template):
    """Writes `<p>` and `</p>` in a question as the tags that they are."""

    @classmethod
    def of(cls, template: Template) -> Self:
        """The same spelling and tokens as another template."""
        made = cls.__new__(cls)
        made.tokens, made.plain = template.tokens, template.plain
        return made

    def question(
        self, text: str, names: Sequence[int] = (), drawn: int = 0, grounding: bool = True
    ) -> list[Piece]:
        """A user's message; see `Template.question`."""
        pieces: list[Piece] = []
        for piece in super().question(text, names, drawn, grounding):
            parts = _TAG.split(piece) if isinstance(piece, str) else [piece]
            pieces += [
                self.tokens[part] if part in (PHRASE_OPEN, PHRASE_CLOSE) else part for part in parts
            ]
        return pieces


def phrasing(kind: str, number: int) -> str:
    """The way of asking that a case gets, with `SUBJECT` where what is asked about stands."""
    return Dice.of("test", 0, number).choice(PHRASINGS[kind][:_NUM_PHRASINGS])


def hold(chat: Chat, sample: GroundedSample) -> tuple[GroundedReply, ...]:
    """Ask all questions of a sample in a row, and leave the conversation as it was.

    Returns one reply per turn. Where the model cannot take a question, because the conversation is
    too long or names run out, that reply and all after it are empty and "cancelled".
    """
    replies: list[GroundedReply] = []
    with suppress(GromaError):
        for turn, new in zip(sample.turns, sample.drawn, strict=True):
            text = plain_text(turn.question, sample.user_regions)
            replies.append(chat.ask(text, sample.in_pixels(new), grounding=turn.grounding))
    for _ in replies:
        chat.undo()
    missing = GroundedReply("", (), sample.size, "cancelled")
    return (*replies, *[missing] * (len(sample.turns) - len(replies)))
