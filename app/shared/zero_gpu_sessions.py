"""Sessions on a Hugging Face ZeroGPU Space, where a GPU is lent for one call at a time.

What runs on the GPU runs in a process of its own: its caches are gone afterwards, and what it is
given and gives back is copied. So every question sends the picture and the conversation along, and
is read from its beginning.
"""

import os
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr
import spaces
import torch

from groma.chat.chat import Drawn
from groma.chat.conversation import Conversation, GroundedReply, Turn
from groma.named_regions import Region
from groma.types import GromaError

from .gpu_memory import SECONDS_TO_START, seconds_to_answer, too_little_memory
from .models_at_hand import Models
from .picture_files import read_picture
from .sessions import Fields, Seen, Session, Sessions

Parts = Generator[GroundedReply | Conversation | GromaError]
"""An answer as it comes from the GPU: the talk with its beginning, how it grows, the whole talk."""


def is_zero_gpu() -> bool:
    """Whether this is such a Space."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true")


class ZeroGpuSessions(Sessions):
    """Sessions that hold no memory between questions.

    Args:
        models: those at hand; all are loaded at once, before there is a process with a GPU.
    """

    at_once = 1

    def __init__(self, models: Models) -> None:
        super().__init__(models, budget=0)
        models.load_all()

        @spaces.GPU(duration=SECONDS_TO_START)
        def look(
            model: str, picture: Path, conversation: Conversation | None, settings: dict[str, Any]
        ) -> tuple[Conversation, tuple[Region, ...]] | GromaError:
            try:
                groma = models.get(model)
                detail = settings.get("detail", 1)
                chat = groma.chat(read_picture(picture), conversation, detail=detail)
                return chat.conversation, groma.regions(chat.image, **settings)
            except (GromaError, torch.OutOfMemoryError) as error:
                return _mistake(error)

        @spaces.GPU(duration=estimate)
        def answer(
            model: str,
            picture: Path,
            conversation: Conversation,
            text: str,
            boxes: Drawn,
            settings: dict[str, Any],
        ) -> Parts:
            try:
                groma, detail = models.get(model), settings.get("detail", 1)
                chat = groma.chat(read_picture(picture), conversation, detail=detail)
                for place, reply in enumerate(chat.stream(text, regions=boxes, **settings)):
                    if place == 0:
                        yield chat.unfinished
                    yield reply
                yield chat.conversation
            except (GromaError, torch.OutOfMemoryError) as error:
                yield _mistake(error)

        self._see = look
        self._answer = answer

    def propose(self, tab: str, **settings: Any) -> None:
        """See `Sessions.propose`."""
        session = self.require(tab)
        assert session.picture is not None
        self._look(session, session.picture, session.conversation, settings)

    def undo(self, tab: str, count: int = 1) -> Turn:
        """See `Sessions.undo`."""
        conversation = self.require(tab).conversation
        assert conversation is not None
        for _ in range(count):
            first, conversation = conversation.turns[-1:], conversation.without_last()
        self.get(tab).conversation = conversation
        return first[0]

    def make_masks(self, tab: str) -> None:
        """See `Sessions.make_masks`."""
        session = self.require(tab)
        assert session.conversation is not None
        session.conversation = session.conversation.masked(self._look_for_masks(tab))

    def clear(self, tab: str) -> None:
        """See `Sessions.clear`."""
        session = self.require(tab)
        assert session.conversation is not None
        session.conversation = Conversation(session.conversation.image_size)

    def _stream_once(
        self, tab: str, text: str | None, boxes: Drawn | None, again: bool, fields: Fields
    ) -> Generator[GroundedReply]:
        session = self.require(tab)
        assert session.picture is not None
        assert session.conversation is not None
        before = session.conversation
        if again:
            last, before = before.turns[-1], before.without_last()
            text = last.question if text is None else text
            boxes = last.shapes if boxes is None else boxes
        session.detail = fields.get("detail", session.detail)
        about = (session.model, session.picture, before)
        parts = self._answer(*about, text or "", boxes or (), fields)
        try:
            with _sentences(), closing(parts):
                yield from _follow(parts, session)
        finally:
            session.stopping.clear()

    def _find(
        self, session: Session, picture: Path, conversation: Conversation | None, fields: Fields
    ) -> Seen:
        with _sentences():
            found = self._see(session.model, picture, conversation, fields)
        if isinstance(found, GromaError):
            raise found
        return None, *found


def _follow(parts: Parts, session: Session) -> Generator[GroundedReply]:
    """Show an answer growing; whole or stopped, it ends in the session's conversation."""
    begun: Conversation | None = None
    for part in parts:
        if isinstance(part, GromaError):
            raise part
        if isinstance(part, Conversation) and begun is None:
            begun = part
        elif isinstance(part, Conversation):
            session.conversation = part
        elif begun is not None and session.stopping.is_set() and part.finish == "streaming":
            stopped = replace(part, finish="cancelled")
            turn = replace(begun.turns[-1], reply=stopped)
            session.conversation = begun.without_last().with_turn(turn)
            yield stopped
            return
        else:
            yield part


@contextmanager
def _sentences() -> Generator[None]:
    """What ZeroGPU refuses, such as time beyond a visitor's share, is a sentence for people."""
    try:
        yield
    except gr.Error as error:
        raise GromaError(f"{error.title}: {error.message}") from error


def _mistake(error: Exception) -> GromaError:
    """A mistake to give back: one that is raised on the GPU arrives without its sentence."""
    return GromaError(str(error)) if isinstance(error, GromaError) else too_little_memory()


def estimate(
    model: str,  # noqa: ARG001
    picture: Path,  # noqa: ARG001
    conversation: Conversation,  # noqa: ARG001
    text: str,  # noqa: ARG001
    boxes: Drawn,  # noqa: ARG001
    settings: dict[str, Any],
) -> int:
    """Seconds of GPU that an answer may need; ZeroGPU calls it with the answer's arguments."""
    return seconds_to_answer(settings)
