"""What one browser tab owns, and how long it is kept in memory."""

import gc
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from app.pictures import read_picture
from groma.chat import Boxes, Chat, Groma
from groma.conversation import Conversation, Turn
from groma.types import GromaError, GroundedReply, Region

Clock = Callable[[], float]
"""Seconds of a clock that never goes back."""


@dataclass(eq=False)
class Session:
    """What one browser tab owns.

    Attributes:
        picture: the file the talk is about, or None before there is one.
        conversation: what was said; it stays when the memory below is freed.
        proposals: what the region proposer found, before anything has a name.
        chat: encoded picture and caches; None when freed, and made again when needed.
        last_used: when the tab last asked for anything.
        stopping: set to end the answer that is being made.
        busy: held while the model works for this tab.
        groma: who answers, if it is not the model that everybody begins with.
    """

    picture: Path | None = None
    conversation: Conversation | None = None
    proposals: tuple[Region, ...] = ()
    chat: Chat | None = None
    last_used: float = 0.0
    stopping: threading.Event = field(default_factory=threading.Event)
    busy: threading.Lock = field(default_factory=threading.Lock)
    groma: Groma | None = None

    @property
    def num_bytes(self) -> int:
        """Memory of the encoded picture and the caches."""
        chat = self.chat
        return 0 if chat is None else chat_bytes(chat)


class Sessions:
    """Every tab's session by its id; least recently used memory is freed beyond a budget.

    Args:
        groma: the model.
        budget: bytes that encoded pictures and caches of all tabs may hold together. The tab at
            work may exceed it.
        lifetime: seconds after which an unused session is forgotten altogether.
        capacity: most sessions; the least recently used is forgotten for a new one.
        clock: for tests.
    """

    def __init__(
        self,
        groma: Groma,
        budget: int,
        lifetime: float = 6 * 3600,
        capacity: int = 1000,
        clock: Clock = time.monotonic,
    ) -> None:
        self._groma = groma
        self._budget = budget
        self._lifetime = lifetime
        self._capacity = capacity
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._lock = threading.RLock()

    def __len__(self) -> int:
        """Number of sessions."""
        return len(self._sessions)

    @property
    def num_bytes(self) -> int:
        """Memory that encoded pictures and caches hold."""
        with self._lock:
            return sum(session.num_bytes for session in self._sessions.values())

    def get(self, tab: str) -> Session:
        """The session of a tab, new if the tab is new or was away for too long."""
        with self._lock:
            # Taken out and put back, so that the dictionary stays in order of use.
            session = self._sessions.pop(tab, None)
            if session is None or self._is_expired(session):
                session = Session()
            self._forget()
            self._sessions[tab] = session
            session.last_used = self._clock()
            return session

    def open(
        self, tab: str, picture: Path, conversation: Conversation | None = None, **settings: Any
    ) -> None:
        """Start a talk about a picture, or continue one; what the tab had before is forgotten.

        Args:
            tab: id of the browser tab.
            picture: a file.
            conversation: what was said so far, for instance from a file.
            settings: fields of `GenerationSettings`.

        Raises:
            GromaError: if the picture cannot be read or does not fit the conversation, or the tab
                is still answering; then nothing changes.
        """
        session = self.get(tab)
        with _exclusive(session):
            groma = session.groma or self._groma
            chat = self._retrying(lambda: groma.chat(read_picture(picture), conversation))
            session.proposals = groma.regions(chat.image, **settings)
            session.picture, session.chat = picture, chat
            session.conversation = chat.conversation
        self._free_surplus()

    def propose(self, tab: str, **settings: Any) -> None:
        """Find the tab's proposals anew, with other settings.

        Raises:
            GromaError: as `talk`.
        """
        with self.talk(tab) as chat:
            session = self.get(tab)
            groma = session.groma or self._groma
            session.proposals = groma.regions(chat.image, **settings)

    def switch(self, tab: str, groma: Groma | None) -> None:
        """Let another model answer in a tab; the talk goes on.

        Args:
            tab: id of the browser tab.
            groma: who answers from now on; None is the model that everybody begins with.

        Raises:
            GromaError: if the tab is still answering.
        """
        session = self.get(tab)
        with _exclusive(session):
            session.groma, session.chat = groma, None

    def undo(self, tab: str) -> Turn:
        """Forget the last turn of a tab's talk, and return it.

        Raises:
            GromaError: as `talk`, or if there is no turn.
        """
        with self.talk(tab) as chat:
            return chat.undo()

    def clear(self, tab: str) -> None:
        """Forget everything that was said in a tab, but not its picture.

        Raises:
            GromaError: as `talk`.
        """
        with self.talk(tab) as chat:
            while chat.conversation.turns:
                chat.undo()

    @contextmanager
    def talk(self, tab: str) -> Generator[Chat]:
        """Exclusive use of a tab's conversation; what was freed is silently made again.

        Raises:
            GromaError: if the tab has no picture, or is still answering.
        """
        session = self.get(tab)
        if session.picture is None:
            raise GromaError("Please choose a picture first.")
        with _exclusive(session):
            session.stopping.clear()
            if session.chat is None:
                picture, conversation = session.picture, session.conversation
                groma = session.groma or self._groma
                session.chat = self._retrying(
                    lambda: groma.chat(read_picture(picture), conversation)
                )
            chat = session.chat
            try:
                yield chat
            finally:
                session.conversation = chat.conversation
        self._free_surplus()

    def stream(
        self,
        tab: str,
        text: str | None,
        boxes: Boxes | None = None,
        again: bool = False,
        **settings: Any,
    ) -> Generator[GroundedReply]:
        """Answer in a tab's conversation; if the GPU's memory is full, free it and try once more.

        Args:
            tab: id of the browser tab.
            text: the question; None keeps the last one, with `again`.
            boxes: drawn with it; None keeps the last ones, with `again`.
            again: whether this replaces the last turn.
            settings: fields of `GenerationSettings`.

        Raises:
            GromaError: as `talk` and `Chat.stream`, or if the memory does not suffice.
        """
        try:
            yield from self._stream_once(tab, text, boxes, again, settings)
            return
        except torch.OutOfMemoryError:
            pass  # The error's frames hold tensors, which go with it.
        self.free()
        try:
            yield from self._stream_once(tab, text, boxes, again, settings)
        except torch.OutOfMemoryError as error:
            raise _too_little_memory() from error

    def free(self) -> None:
        """Free the memory of every tab that is not at work."""
        with self._lock:
            for session in self._sessions.values():
                _free(session)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def leave(self, tab: str) -> None:
        """Free a tab's memory and end its answer; its conversation stays, should it come back."""
        with self._lock:
            session = self._sessions.get(tab)
        if session:
            session.stopping.set()
            _free(session)

    def _stream_once(
        self,
        tab: str,
        text: str | None,
        boxes: Boxes | None,
        again: bool,
        settings: dict[str, Any],
    ) -> Generator[GroundedReply]:
        stop = self.get(tab).stopping.is_set
        with self.talk(tab) as chat:
            if again:
                yield from chat.stream_again(text, boxes, stop, **settings)
            else:
                yield from chat.stream(text or "", boxes or (), stop, **settings)

    def _retrying(self, run: Callable[[], Chat]) -> Chat:
        """Run once more after freeing memory where it was too little."""
        try:
            return run()
        except torch.OutOfMemoryError:
            pass
        self.free()
        try:
            return run()
        except torch.OutOfMemoryError as error:
            raise _too_little_memory() from error

    def _is_expired(self, session: Session) -> bool:
        return session.last_used < self._clock() - self._lifetime

    def _forget(self) -> None:
        """Forget sessions that were left alone for too long, and make room for one."""
        for tab, session in list(self._sessions.items()):
            if not self._is_expired(session) and len(self._sessions) < self._capacity:
                return
            if not session.busy.locked():
                del self._sessions[tab]

    def _free_surplus(self) -> None:
        """Free least recently used memory until the rest fits the budget."""
        with self._lock:
            *others, _ = self._sessions.values()
            surplus = self.num_bytes - self._budget
            for session in others:
                if surplus <= 0:
                    return
                surplus -= _free(session)


def chat_bytes(chat: Chat) -> int:
    """Memory of a conversation: its encoded picture and its caches."""
    image = chat.image
    tensors = (
        image.image_tokens,
        *image.feature_maps,
        image.proposals.boxes,
        image.proposals.scores,
    )
    return sum(tensor.nbytes for tensor in tensors) + chat.num_cached_bytes


@contextmanager
def _exclusive(session: Session) -> Generator[None]:
    if not session.busy.acquire(blocking=False):
        raise GromaError("This conversation is still answering; please wait or press Stop.")
    try:
        yield
    finally:
        session.busy.release()


def _free(session: Session) -> int:
    """Free a session's memory unless it is at work, and return how much that was."""
    if not session.busy.acquire(blocking=False):
        return 0
    try:
        freed, session.chat = session.num_bytes, None
    finally:
        session.busy.release()
    return freed


def _too_little_memory() -> GromaError:
    return GromaError(
        "The GPU's memory is full, even with every cache freed; please try a shorter talk or "
        "fewer regions."
    )
