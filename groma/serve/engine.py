"""One model for many who ask at once: pictures are kept, steps of answers are shared."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Hashable, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from transformers import Cache

from groma.chat.chat import Chat, Drawn, Groma, Stream
from groma.chat.conversation import Conversation, GroundedReply
from groma.chat.decoder import read_alone
from groma.chat.settings import GenerationSettings
from groma.model.batched_step import step_rows
from groma.serve.together import Line, Together
from groma.shapes import Shape
from groma.types import Detail, EncodedImage, PixelInput

T = TypeVar("T")
PATIENCE = 0.003
"""Seconds that a step waits for others; a step of a small model takes about twice as long."""
_MOST_PICTURES = 4
"""Encoded in one go on a GPU; on a CPU each would take an eighth longer than by itself."""
_MOST_PROMPTS = 4
"""Read one after another before those who speak get their next tokens."""
_NUM_CORES = torch.get_num_threads()
"""Asked at import: a thread that begins beside a shared step is told one."""


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


class _Shelf(Generic[T]):
    """Things by key, least recently used first, and the bytes they took when they came."""

    def __init__(self) -> None:
        self.num_bytes = 0
        self._things: OrderedDict[Hashable, tuple[T, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._things)

    def put(self, key: Hashable, thing: T, num_bytes: int) -> None:
        """Keep a thing, the newest of all."""
        self.take(key)
        self._things[key] = thing, num_bytes
        self.num_bytes += num_bytes

    def take(self, key: Hashable) -> T | None:
        """Give a thing away, if it is there."""
        thing, num_bytes = self._things.pop(key, (None, 0))
        self.num_bytes -= num_bytes
        return thing

    def drop(self) -> None:
        """Forget what was not used for longest."""
        self.take(next(iter(self._things)))

    def newest(self, chosen: Callable[[Any], bool]) -> T | None:
        """The newest whose key is chosen."""
        keys = filter(chosen, reversed(self._things))
        return next((self._things[key][0] for key in keys), None)


@dataclass
class _Kept:
    """What is remembered, up to a budget of bytes."""

    budget: int
    pictures: _Shelf[EncodedImage] = field(default_factory=_Shelf)
    talks: _Shelf[Chat] = field(default_factory=_Shelf)

    def keep_picture(self, key: str, picture: EncodedImage) -> None:
        """Remember a picture, the newest of all."""
        self.pictures.put(key, picture, picture.num_bytes)
        self._tidy()

    def keep_talk(self, key: tuple, chat: Chat) -> None:
        """Remember a talk that answers nothing just now."""
        self.talks.put(key, chat, chat.num_cached_bytes)
        self._tidy()

    def prepare(self, picture: str, chat: Chat) -> None:
        """Let a new talk begin with what one about the same picture has read."""
        if (other := self.talks.newest(lambda key: key[0] == picture)) is not None:
            chat.take_over(other)

    def _tidy(self) -> None:
        """Forget talks, then pictures, until the rest fits; the newest stays."""
        for shelf in (self.talks, self.pictures):
            while self.num_bytes > self.budget and len(shelf) > 1:
                shelf.drop()

    @property
    def num_bytes(self) -> int:
        """Memory of all."""
        return self.talks.num_bytes + self.pictures.num_bytes


class Engine:
    """Answers many at once with one model; every answer is what it would be alone.

    Each question has a thread, a grammar, regions and a cache of its own. What they share is the
    thread that computes: who needs a step at the same time gets it from one call
    (`groma.model.batched_step`). On a GPU it takes turns between steps, pictures and prompts; on a
    CPU the latter two are for each question's own thread, as many at once as there are cores.

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
        self._wanted = 0
        self._cores = threading.Semaphore(_NUM_CORES)
        self._lines = {
            "pictures": Line(self._encode, _MOST_PICTURES),
            "prompts": Line(self._read, _MOST_PROMPTS),
            "steps": Line(self._step, at_once, lambda: self._speaking, PATIENCE),
        }
        self._together = Together(self._lines)
        self._speaking = 0
        self._is_on_cpu = groma.model.device.type == "cpu"
        self.groma = groma.with_helpers(
            lambda rows, cache: self._compute(
                "prompts" if len(rows) > 1 else "steps", (rows, cache)
            ),
            partial(self._compute, "pictures"),
        )

    def close(self) -> None:
        """End the thread that computes."""
        self._together.close()

    @property
    def num_bytes(self) -> int:
        """Memory of what is kept."""
        with self._lock:
            return self._kept.num_bytes

    def picture(self, data: bytes, detail: Detail = 1) -> tuple[str, EncodedImage]:
        """A picture's key and what the model makes of it.

        Args:
            data: of a file.
            detail: see `GenerationSettings`.

        Raises:
            GromaError: if it is no picture, damaged or too large.
        """
        key = f"{hashlib.sha256(data).hexdigest()} {detail}"
        with self._lock:
            encoded = self._kept.pictures.take(key)
            if encoded is not None:
                self._kept.keep_picture(key, encoded)
                return key, encoded
        encoded = self.groma.encode_image(data, detail=detail)
        with self._lock:
            self._kept.keep_picture(key, encoded)
        return key, encoded

    @contextmanager
    def talk(self, data: bytes, before: Sequence[Asked], detail: Detail = 1) -> Generator[Chat]:
        """A conversation about a picture, taken up where it was left.

        If it is remembered, its answers stand in their exact tokens and cost nothing to read
        again; else it is put together from what was said. Nobody else gets it meanwhile, and it
        is remembered afterwards, unless an answer came with the question.

        Args:
            data: of the picture's file.
            before: what was said so far.
            detail: see `picture`.

        Raises:
            GromaError: as `picture`, or if a box or mention of an earlier turn is wrong.
        """
        picture, encoded = self.picture(data, detail)
        with self._lock:
            chat = self._kept.talks.take((picture, _said(before)))
        # An answer that a program made up is remembered for nobody: it may lie.
        is_ours = chat is not None or all(asked.reply is None for asked in before)
        if chat is None:
            chat = self.groma.chat(encoded, self._recall(encoded, before))
            with self._lock:
                self._kept.prepare(picture, chat)
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

    def masked(self, chat: Chat, data: bytes) -> GroundedReply:
        """The last answer of a talk, with a mask for every region.

        Args:
            chat: the talk.
            data: of the picture's file.
        """
        return chat.make_masks(chat.image.masks or self.groma.look_for_masks(data)).turns[-1].reply

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
            self._kept.keep_talk((picture, _said(said)), chat)

    def _recall(self, encoded: EncodedImage, before: Sequence[Asked]) -> Conversation:
        chat = self.groma.chat(encoded)
        for asked in before:
            reply = asked.reply or GroundedReply(asked.answer, (), encoded.original_size, "stop")
            chat.say(asked.question, asked.drawn, reply)
        # What a program sends back is as foreign as a file.
        return Conversation.from_dict(chat.to_dict())

    def _compute(self, line: str, value: Any) -> Any:
        """The result for one value of a line; on a CPU only steps are better shared."""
        with self._wanting():
            if not self._is_on_cpu or line == "steps":
                return self._together(line, value)
            with self._cores:
                before = torch.get_num_threads()
                try:
                    return self._lines[line].run([value])[0]
                finally:
                    torch.set_num_threads(before)

    @contextmanager
    def _wanting(self) -> Generator[None]:
        with self._lock:
            self._wanted += 1
        try:
            yield
        finally:
            with self._lock:
                self._wanted -= 1

    def _share_cores(self) -> None:
        """Let this thread compute with all cores where nobody else wants any, else with one."""
        torch.set_num_threads(1 if self._wanted > 1 else _NUM_CORES)

    @torch.inference_mode()
    def _read(self, prompts: Sequence[tuple[Tensor, Cache]]) -> Sequence[Tensor]:
        self._share_cores()
        with self._lock:
            self._speaking += len(prompts)
        return [read_alone(self.groma.model.language_model, *prompt) for prompt in prompts]

    @torch.inference_mode()
    def _step(self, rows: Sequence[tuple[Tensor, Cache]]) -> Sequence[Tensor]:
        embeddings, caches = zip(*rows, strict=True)
        self._share_cores()
        with self._lock:
            self._speaking = len(rows)
        self.counts.steps += 1
        self.counts.tokens += len(rows)
        logits = step_rows(self.groma.model.language_model, torch.cat(embeddings), caches)
        return list(logits)

    def _encode(self, pictures: Sequence[PixelInput]) -> Sequence[EncodedImage]:
        self._share_cores()
        with self._lock:
            self.counts.pictures += len(pictures)
        return self.groma.encode_pixels(pictures)


def _said(turns: Sequence[Asked]) -> tuple:
    """What tells one talk from another."""
    return tuple((turn.question, turn.drawn, turn.answer) for turn in turns)
