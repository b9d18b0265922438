"""One model for many who ask at once: pictures are kept, steps of answers are shared."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor
from transformers import DynamicCache

from groma.chat.chat import Chat, Drawn, Groma, Stream
from groma.chat.conversation import Conversation, GroundedReply
from groma.chat.settings import GenerationSettings
from groma.image import load_image, to_pixels
from groma.model.batched_step import step_rows
from groma.serve.together import Together
from groma.shapes import Shape
from groma.types import EncodedImage, PixelInput

PATIENCE = 0.003
"""Seconds that a step waits for others; a step of a small model takes about twice as long."""
_MOST_PICTURES = 4
"""Encoded in one go; more take memory and no less time."""


@dataclass(frozen=True)
class Asked:
    """An earlier question and what was answered.

    Attributes:
        question: as typed.
        drawn: regions drawn with it.
        answer: plain text.
        reply: the grounded answer, where whoever asks has kept it.
    """

    question: str
    drawn: tuple[Shape, ...]
    answer: str
    reply: GroundedReply | None = None


@dataclass
class Counts:
    """What an engine is doing, for whoever watches it.

    Attributes:
        answering: answers that are being made.
        steps: of the language model so far.
        tokens: that these steps read.
        pictures: encoded so far.
    """

    answering: int = 0
    steps: int = 0
    tokens: int = 0
    pictures: int = 0


@dataclass
class _Kept:
    """What is remembered, least recently used first, up to a budget of bytes."""

    budget: int
    pictures: OrderedDict[str, EncodedImage] = field(default_factory=OrderedDict)
    talks: OrderedDict[tuple, Chat] = field(default_factory=OrderedDict)

    def tidy(self) -> None:
        """Forget talks, then pictures, until the rest fits; the newest stays."""
        while self.num_bytes > self.budget and len(self.talks) > 1:
            self.talks.popitem(last=False)
        while self.num_bytes > self.budget and len(self.pictures) > 1:
            self.pictures.popitem(last=False)

    @property
    def num_bytes(self) -> int:
        """Memory of all."""
        talks = sum(chat.num_cached_bytes for chat in self.talks.values())
        return talks + sum(map(_bytes_of, self.pictures.values()))


class Engine:
    """Answers many at once with one model; every answer is what it would be alone.

    Each question has a thread, a grammar, regions and a cache of its own. What they share is the
    language model: threads that need a step at the same time get it from one call
    (`groma.model.batched_step`). Pictures that wait at the same time are encoded together.

    Args:
        groma: the model.
        at_once: most answers that are made at the same time.
        budget: bytes for pictures and caches that are kept for whoever comes again.
    """

    def __init__(self, groma: Groma, at_once: int = 16, budget: int = 2_000_000_000) -> None:
        self.counts = Counts()
        self.at_once = at_once
        self._lock = threading.Lock()
        self._kept = _Kept(budget)
        self._steps = Together(self._step, at_once, lambda: self.counts.answering, PATIENCE)
        self._encodings = Together(self._encode, _MOST_PICTURES)
        self.groma = groma.with_step(lambda row, cache: self._steps((row, cache)))

    def close(self) -> None:
        """End the threads."""
        self._steps.close()
        self._encodings.close()

    @property
    def num_bytes(self) -> int:
        """Memory of what is kept."""
        with self._lock:
            return self._kept.num_bytes

    def picture(self, data: bytes) -> tuple[str, EncodedImage]:
        """A picture's key and what the model makes of it.

        Args:
            data: of a file.

        Raises:
            GromaError: if it is no picture, damaged or too large.
        """
        key = hashlib.sha256(data).hexdigest()
        with self._lock:
            if key in self._kept.pictures:
                self._kept.pictures.move_to_end(key)
                return key, self._kept.pictures[key]
        pixels = to_pixels(load_image(data), self.groma.config.image_size)
        encoded = self._encodings(pixels)
        with self._lock:
            self._kept.pictures[key] = encoded
            self._kept.tidy()
        return key, encoded

    @contextmanager
    def talk(self, data: bytes, before: Sequence[Asked]) -> Generator[Chat]:
        """A conversation about a picture, taken up where it was left.

        If it is remembered, its answers stand in their exact tokens and cost nothing to read
        again; else it is put together from what was said. Nobody else gets it meanwhile, and it
        is remembered afterwards, unless an answer came with the question.

        Args:
            data: of the picture's file.
            before: what was said so far.

        Raises:
            GromaError: as `picture`, or if a box or mention of an earlier turn is wrong.
        """
        picture, encoded = self.picture(data)
        with self._lock:
            chat = self._kept.talks.pop((picture, _said(before)), None)
        # An answer that a program made up is remembered for nobody: it may lie.
        is_ours = chat is not None or all(asked.reply is None for asked in before)
        if chat is None:
            chat = self.groma.chat(encoded, self._recall(encoded, before))
        try:
            yield chat
        finally:
            if is_ours:
                self._remember(picture, chat)

    def stream(
        self, chat: Chat, question: str, drawn: Drawn, settings: GenerationSettings
    ) -> Stream:
        """Answer a question of a talk; otherwise as `Chat.stream`."""
        stream = chat.stream(question, regions=drawn, **asdict(settings))
        with closing(stream) as replies, self._answering():
            yield from replies

    @contextmanager
    def _answering(self) -> Generator[None]:
        with self._lock:
            self.counts.answering += 1
        try:
            yield
        finally:
            with self._lock:
                self.counts.answering -= 1

    def _remember(self, picture: str, chat: Chat) -> None:
        said = [Asked(t.question, t.shapes, t.reply.text) for t in chat.conversation.turns]
        with self._lock:
            self._kept.talks[picture, _said(said)] = chat
            self._kept.tidy()

    def _recall(self, encoded: EncodedImage, before: Sequence[Asked]) -> Conversation:
        chat = self.groma.chat(encoded)
        for asked in before:
            reply = asked.reply or GroundedReply(asked.answer, (), encoded.original_size, "stop")
            chat.say(asked.question, asked.drawn, reply)
        # What a program sends back is as foreign as a file.
        return Conversation.from_dict(chat.to_dict())

    @torch.inference_mode()
    def _step(self, rows: Sequence[tuple[Tensor, DynamicCache]]) -> Sequence[Tensor]:
        embeddings, caches = zip(*rows, strict=True)
        self.counts.steps += 1
        self.counts.tokens += len(rows)
        logits = step_rows(self.groma.model.language_model, torch.cat(embeddings), caches)
        return list(logits)

    @torch.inference_mode()
    def _encode(self, pictures: Sequence[PixelInput]) -> Sequence[EncodedImage]:
        parameter = next(self.groma.model.image_encoder.parameters())
        pixels = torch.stack([picture.pixels for picture in pictures])
        self.counts.pictures += len(pictures)
        return self.groma.model.encode_image(
            pixels.to(parameter.device, parameter.dtype),
            [picture.original_size for picture in pictures],
        )


def _said(turns: Sequence[Asked]) -> tuple:
    """What tells one talk from another."""
    return tuple((turn.question, turn.drawn, turn.answer) for turn in turns)


def _bytes_of(encoded: EncodedImage) -> int:
    tensors = (encoded.image_tokens, *encoded.feature_maps, encoded.proposals.boxes)
    return sum(tensor.nbytes for tensor in tensors)
