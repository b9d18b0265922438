"""Sessions on a Hugging Face ZeroGPU Space, where a GPU is lent for one call at a time.

What runs on the GPU runs in a process of its own: its caches are gone afterwards, and what it is
given and gives back is copied. So every question sends the picture and the conversation along, and
is read from its beginning.
"""

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import spaces

from app.pictures import read_picture
from app.state import Sessions
from groma.chat import Boxes, Groma
from groma.conversation import Conversation, Turn
from groma.types import GromaError, GroundedReply, Region

SECONDS_TO_START = 15
SECONDS_PER_TOKEN = 0.08


def is_zero_gpu() -> bool:
    """Whether this is such a Space."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "true")


class ZeroGpuSessions(Sessions):
    """Sessions that hold no memory between questions.

    Args:
        groma: the model.
    """

    def __init__(self, groma: Groma) -> None:
        super().__init__(groma, budget=0)

        @spaces.GPU(duration=SECONDS_TO_START)
        def look(
            picture: Path, conversation: Conversation | None, settings: dict[str, Any]
        ) -> tuple[Conversation, tuple[Region, ...]]:
            chat = groma.chat(read_picture(picture), conversation)
            return chat.conversation, groma.regions(chat.image, **settings)

        @spaces.GPU(duration=estimate)
        def answer(
            picture: Path,
            conversation: Conversation,
            text: str,
            boxes: Boxes,
            settings: dict[str, Any],
        ) -> Iterator[GroundedReply | Conversation]:
            chat = groma.chat(read_picture(picture), conversation)
            yield from chat.stream(text, boxes, **settings)
            yield chat.conversation

        self._look = look
        self._answer = answer

    def open(
        self, tab: str, picture: Path, conversation: Conversation | None = None, **settings: Any
    ) -> None:
        """See `Sessions.open`."""
        session = self.get(tab)
        session.conversation, session.proposals = self._look(picture, conversation, settings)
        session.picture = picture

    def propose(self, tab: str, **settings: Any) -> None:
        """See `Sessions.propose`."""
        session = self.get(tab)
        if session.picture is not None:
            _, session.proposals = self._look(session.picture, session.conversation, settings)

    def undo(self, tab: str) -> Turn:
        """See `Sessions.undo`."""
        session = self.get(tab)
        conversation = session.conversation or Conversation((1, 1))
        session.conversation = conversation.without_last()
        return conversation.turns[-1]

    def clear(self, tab: str) -> None:
        """See `Sessions.clear`."""
        session = self.get(tab)
        if session.conversation is not None:
            session.conversation = Conversation(session.conversation.image_size)

    def stream(
        self,
        tab: str,
        text: str | None,
        boxes: Boxes | None = None,
        again: bool = False,
        **settings: Any,
    ) -> Generator[GroundedReply]:
        """See `Sessions.stream`; an answer that is stopped is not kept."""
        session = self.get(tab)
        if session.picture is None or session.conversation is None:
            raise GromaError("Please choose a picture first.")
        before = session.conversation
        if again:
            last, before = before.turns[-1], before.without_last()
            text = last.question if text is None else text
            boxes = last.boxes if boxes is None else boxes
        session.stopping.clear()
        for part in self._answer(session.picture, before, text or "", boxes or (), settings):
            if isinstance(part, Conversation):
                session.conversation = part
            elif session.stopping.is_set():
                raise GromaError("Stopped.")
            else:
                yield part


def estimate(
    picture: Path,  # noqa: ARG001
    conversation: Conversation,  # noqa: ARG001
    text: str,  # noqa: ARG001
    boxes: Boxes,  # noqa: ARG001
    settings: dict[str, Any],
) -> int:
    """Seconds of GPU that an answer may need; ZeroGPU calls it with the answer's arguments."""
    return SECONDS_TO_START + round(SECONDS_PER_TOKEN * settings.get("max_new_tokens", 512))
