"""What one browser tab owns, and how long it is kept in memory."""

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from groma.chat.chat import Chat, Drawn, Groma
from groma.chat.conversation import Conversation, GroundedReply, Turn
from groma.masks.maker import PictureMasks
from groma.named_regions import Region
from groma.types import Detail, GromaError

from .gpu_memory import free_memory, retrying, stream_retrying
from .models_at_hand import Models
from .picture_files import keep_file, read_picture, to_thumbnail
from .tickets import Tickets

Clock = Callable[[], float]
"""Seconds of a clock that never goes back."""

MOST_FORGOTTEN = 10_000
"""Tabs of which it is known that they had a talk."""

MOST_FORMER = 8
"""Talks that a browser tab can go back to; the oldest is forgotten for one more."""

SECONDS_TO_STOP = 5.0
"""At most, from when a page is closed until its answer has ended."""

FORGOTTEN = (
    "This talk was left alone for too long and is forgotten; please choose its picture again."
)

Fields = dict[str, Any]
"""Fields of `GenerationSettings`, as the settings panel says them."""

Seen = tuple[Chat | None, Conversation, tuple[Region, ...]]
"""Encoded picture where it is kept, the talk, and what the region proposer found."""

_Result = TypeVar("_Result")


@dataclass(eq=False)
class Session:
    """What one browser tab owns.

    Attributes:
        model: name of the model that was chosen.
        picture: the file the talk is about, or None before there is one.
        conversation: what was said; it stays when the memory below is freed.
        proposals: what the region proposer found, before anything has a name.
        detail: how closely the picture is looked at, see `GenerationSettings`.
        chat: encoded picture and caches; None when freed, and made again when needed.
        last_used: when the tab last asked for anything.
        stopping: set to end the answer that is being made.
        busy: held while the model works for this tab.
        adapted: who answers in the model's place, if an adapter is in use.
        adapter: what that one is called.
        is_forgotten: whether the tab had a talk that was left alone for too long.
        is_left: whether the tab was closed, until it asks for anything again.
        former: talks that others replaced, as sessions of their own by their keys, newest last.
        before: key of the one that the last change replaced, "" if it replaced none.
        drawn: of a former talk, what was drawn and not yet asked about, as the page had it.
        thumbnail: of a former talk, its picture as a data URI, "" if its file was gone.
    """

    model: str
    picture: Path | None = None
    conversation: Conversation | None = None
    proposals: tuple[Region, ...] = ()
    detail: Detail = 1
    chat: Chat | None = None
    last_used: float = 0.0
    stopping: threading.Event = field(default_factory=threading.Event)
    busy: threading.Lock = field(default_factory=threading.Lock)
    adapted: Groma | None = None
    adapter: str = ""
    is_forgotten: bool = False
    is_left: bool = False
    former: "dict[str, Session]" = field(default_factory=dict)
    before: str = ""
    drawn: tuple[Any, ...] = ()
    thumbnail: str = ""

    @property
    def turns(self) -> tuple[Turn, ...]:
        """What was said, oldest first."""
        return self.conversation.turns if self.conversation else ()

    @property
    def has_turns(self) -> bool:
        """Whether anything was said."""
        return bool(self.turns)

    @property
    def settings(self) -> Fields:
        """How the last answer was made; empty before there is one."""
        return vars(self.turns[-1].settings) if self.turns else {}

    @property
    def num_bytes(self) -> int:
        """Memory of the encoded picture and the caches."""
        chat = self.chat
        return 0 if chat is None else chat.image.num_bytes + chat.num_cached_bytes

    def follow(self, former: "Session") -> None:
        """Go on with another session's talk, which goes on by itself as well."""
        self.picture, self.conversation = former.picture, former.conversation
        self.proposals, self.model = former.proposals, former.model
        self.detail = former.detail
        self.adapted, self.adapter = former.adapted, former.adapter

    def begins(self, other: "Session") -> bool:
        """Whether another session's talk is this one, perhaps with more turns."""
        return self.picture == other.picture and self.turns == other.turns[: len(self.turns)]


class Sessions:
    """Every tab's session by its id; least recently used memory is freed beyond a budget.

    Args:
        models: those at hand.
        budget: bytes that encoded pictures and caches of all tabs may hold together. The tab at
            work may exceed it.
        rest: seconds after which the memory of an unused session is freed; its talk stays.
        lifetime: seconds after which an unused session is forgotten altogether.
        capacity: most sessions; the least recently used is forgotten for a new one.
        clock: for tests.
        patience: seconds that work for a tab waits until other work for it is done.
    """

    at_once = 16
    """Most tabs that are answered at the same time."""

    def __init__(
        self,
        models: Models,
        budget: int,
        rest: float = 1800,
        lifetime: float = 24 * 3600,
        capacity: int = 1000,
        clock: Clock = time.monotonic,
        patience: float = 0,
    ) -> None:
        self.models = models
        self._budget = budget
        self._rest = rest
        self._lifetime = lifetime
        self._capacity = capacity
        self._clock = clock
        self._patience = patience
        self._sessions: dict[str, Session] = {}
        self._forgotten: dict[str, str] = {}
        self._tickets = Tickets()
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
            self._forget_expired()
            # Taken out and put back, so that the dictionary stays in order of use.
            session = self._sessions.pop(tab, None)
            if session is None:
                model = self._forgotten.get(tab, self.models.given)
                session = Session(model, is_forgotten=tab in self._forgotten)
                self._make_room()
            self._sessions[tab] = session
            session.last_used, session.is_left = self._clock(), False
            for talk in (session, *session.former.values()):
                if talk.picture:
                    keep_file(talk.picture)
            return session

    def require(self, tab: str) -> Session:
        """The session of a tab that has a picture.

        Raises:
            GromaError: if it has none, or its talk was forgotten.
        """
        session = self.get(tab)
        if session.is_forgotten:
            raise GromaError(FORGOTTEN)
        if session.picture is None:
            raise GromaError("Please choose a picture first.")
        return session

    def ticket(self, tab: str) -> str:
        """What lets the next page of a browser tab `come_back` to the talk of this one."""
        return self._tickets.issue(tab)

    def tab_before(self, ticket: str) -> str | None:
        """The id of the page that a ticket was issued for; None if it never was."""
        return self._tickets.read(ticket)

    def come_back(self, tab: str, ticket: str) -> Session | None:
        """Go on with the talk that a browser tab had before its page was loaded again.

        Two pages never answer in one talk: if the former one is still there, as when a tab was
        duplicated, each goes on by itself.

        Args:
            tab: id of the new page.
            ticket: of the former one.

        Returns:
            The new page's session, or None if there is nothing to come back to.

        Raises:
            GromaError: if the talk was forgotten.
        """
        former = self._former(self.tab_before(ticket))
        if former is None:
            return None
        # What was answered until the page was closed belongs to the talk.
        if former.is_left and former.busy.acquire(timeout=SECONDS_TO_STOP):
            former.busy.release()
        session = self.get(tab)
        if session.picture is not None:
            return None  # Its owner was faster.
        session.follow(former)
        session.former = dict(former.former)
        return self.get(tab)

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
        with self._exclusive(session):
            self._look(session, picture, conversation, settings)
        self._free_surplus()

    def propose(self, tab: str, **settings: Any) -> None:
        """Find the tab's proposals anew, with other settings.

        Raises:
            GromaError: as `talk`.
        """
        with self.talk(tab, settings.get("detail")) as chat:
            session = self.get(tab)
            groma = self.answering(session)
            session.proposals = self._retrying(
                session, lambda: groma.regions(chat.image, **settings)
            )

    def choose(self, tab: str, model: str, **settings: Any) -> None:
        """Let another model answer in a tab: it begins a new talk about the tab's picture.

        Args:
            tab: id of the browser tab.
            model: name of one of those at hand.
            settings: fields of `GenerationSettings`.

        Raises:
            GromaError: if the model cannot be loaded, or as `open`; then nothing changes.
        """
        session = self.get(tab)
        with self._exclusive(session):
            session.chat = None  # there may be no room for two
            self._retrying(session, lambda: self.models.get(model))
            other = Session(model)
            if session.picture is not None:
                self._look(other, session.picture, None, settings)
            session.follow(other)
            session.chat = other.chat
        self._free_surplus()

    def switch(self, tab: str, adapted: Groma | None, name: str = "") -> None:
        """Let the model that everybody begins with answer in a tab; the talk goes on.

        Args:
            tab: id of the browser tab.
            adapted: that model with an adapter, or None without any.
            name: of the adapter, for people.

        Raises:
            GromaError: if the tab is still answering.
        """
        session = self.get(tab)
        with self._exclusive(session):
            session.model, session.chat = self.models.given, None
            session.adapted, session.adapter = adapted, name

    def peek(self, tab: str) -> Session:
        """The session of a tab as it is, which is no use of it; a new one if there is none."""
        return self._sessions.get(tab) or Session(self.models.given)

    def answering(self, session: Session) -> Groma:
        """Who answers in a session.

        Raises:
            GromaError: as `Models.get`.
        """
        return session.adapted or self.models.get(session.model)

    def undo(self, tab: str, count: int = 1) -> Turn:
        """Forget the last turns of a tab's talk, and return the first of them.

        Raises:
            GromaError: as `talk`, or if there is no turn.
        """
        with self.talk(tab) as chat:
            return [chat.undo() for _ in range(count)][-1]

    def keep(self, tab: str, drawn: tuple[Any, ...] = ()) -> None:
        """Keep a tab's talk as it is, for `restore`, unless nothing was said.

        Args:
            tab: id of the browser tab.
            drawn: and not yet asked about, as the page has it.
        """
        session = self.get(tab)
        session.before = ""
        if session.has_turns:
            session.before = uuid4().hex
            session.former[session.before] = _kept(session, drawn)
        while len(session.former) > MOST_FORMER:
            del session.former[next(iter(session.former))]

    def restore(self, tab: str, key: str = "", drawn: tuple[Any, ...] = ()) -> Session:
        """Give a tab a former talk back, and return it as it was then.

        The talk that the tab has meanwhile is kept for it, unless the former one begins with it.

        Args:
            tab: id of the browser tab.
            key: of the former talk; "" is the one that the last change replaced.
            drawn: as `keep`.

        Raises:
            GromaError: if there is none, or the tab is still answering.
        """
        session = self.get(tab)
        key = key or session.before
        if key not in session.former:
            raise GromaError("There is nothing to bring back.")
        with self._exclusive(session):
            former = session.former.pop(key)
            if not session.begins(former):
                self.keep(tab, drawn)
            session.follow(former)
            session.chat, session.before = None, ""
        return former

    def clear(self, tab: str) -> None:
        """Forget everything that was said in a tab, but not its picture.

        Raises:
            GromaError: as `talk`.
        """
        with self.talk(tab) as chat:
            while chat.conversation.turns:
                chat.undo()

    def make_masks(self, tab: str) -> None:
        """Make a mask for every region that an answer of a tab's talk means.

        Raises:
            GromaError: as `talk`.
        """
        with self.talk(tab) as chat:
            chat.make_masks(chat.image.masks or self._look_for_masks(tab))

    def _look_for_masks(self, tab: str) -> PictureMasks:
        """A tab's picture as a maker of masks sees it."""
        picture = self.require(tab).picture
        assert picture is not None
        return self.answering(self.get(tab)).look_for_masks(read_picture(picture))

    @contextmanager
    def talk(self, tab: str, detail: Detail | None = None) -> Generator[Chat]:
        """Exclusive use of a tab's conversation; what was freed is silently made again.

        Args:
            tab: id of the browser tab.
            detail: how closely its picture is to be looked at; None leaves it as it is.

        Raises:
            GromaError: as `require`, or if the tab is still answering.
        """
        session = self.require(tab)
        try:
            with self._exclusive(session):
                if detail not in (None, session.detail):
                    session.detail, session.chat = detail, None
                chat = session.chat = session.chat or self._open_again(session)
                try:
                    yield chat
                finally:
                    session.conversation = chat.conversation
                    session.stopping.clear()
        finally:
            if session.is_left:
                _free(session)
            self._free_surplus()

    def stream(
        self,
        tab: str,
        text: str | None,
        boxes: Drawn | None = None,
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
        yield from stream_retrying(
            lambda: self._stream_once(tab, text, boxes, again, settings), self.free
        )

    def free(self) -> None:
        """Free the memory of every tab that is not at work."""
        with self._lock:
            for session in self._sessions.values():
                _free(session)
        free_memory()

    def tidy(self) -> None:
        """Free the memory of those who left long ago, and forget who never came back."""
        with self._lock:
            self._forget_expired()
            for session in self._sessions.values():
                if session.last_used < self._clock() - self._rest:
                    _free(session)

    def leave(self, tab: str) -> None:
        """Free a tab's memory and end its answer; its conversation stays, should it come back."""
        with self._lock:
            session = self._sessions.get(tab)
        if session:
            session.is_left = True
            if session.busy.locked():
                session.stopping.set()
            _free(session)

    def _stream_once(
        self, tab: str, text: str | None, boxes: Drawn | None, again: bool, fields: Fields
    ) -> Generator[GroundedReply]:
        """Answer without a second try."""
        stop = self.get(tab).stopping.is_set
        with self.talk(tab, fields.get("detail")) as chat:
            if again:
                yield from chat.stream_again(text, boxes, stop, **fields)
            else:
                yield from chat.stream(text or "", stop=stop, regions=boxes or (), **fields)

    def _retrying(self, session: Session, run: Callable[[], _Result]) -> _Result:
        """Run for a session at work, and once more after freeing memory, its own included."""

        def free() -> None:
            session.chat = None
            self.free()

        return retrying(run, free)

    def _open_again(self, session: Session) -> Chat:
        """What was freed of a session that has a picture."""
        picture, conversation = session.picture, session.conversation
        assert picture is not None
        groma, detail = self.answering(session), session.detail
        return self._retrying(
            session, lambda: groma.chat(read_picture(picture), conversation, detail=detail)
        )

    def _look(
        self, session: Session, picture: Path, conversation: Conversation | None, fields: Fields
    ) -> None:
        """Begin a session's talk about a picture; nothing changes if that fails."""
        found = self._find(session, picture, conversation, fields)
        session.chat, session.conversation, session.proposals = found
        session.picture, session.is_forgotten = picture, False
        session.detail = fields.get("detail", 1)

    def _find(
        self, session: Session, picture: Path, conversation: Conversation | None, fields: Fields
    ) -> Seen:
        """Look at a picture with who answers in a session."""
        groma = self.answering(session)

        def see() -> Seen:
            detail = fields.get("detail", 1)
            chat = groma.chat(read_picture(picture), conversation, detail=detail)
            return chat, chat.conversation, groma.regions(chat.image, **fields)

        return self._retrying(session, see)

    def _former(self, tab: str | None) -> Session | None:
        """The session of a tab that may be closed, which is no use of it.

        Raises:
            GromaError: if its talk was forgotten.
        """
        with self._lock:
            self._forget_expired()
            session = self._sessions.get(tab or "")
            is_forgotten = session.is_forgotten if session else tab in self._forgotten
        if is_forgotten:
            raise GromaError(FORGOTTEN)
        return session

    def _forget_expired(self) -> None:
        """Forget sessions that were left alone for too long."""
        for tab, session in list(self._sessions.items()):
            if session.last_used >= self._clock() - self._lifetime:
                return
            self._forget(tab, session)

    def _make_room(self) -> None:
        """Forget the least recently used sessions until there is room for one."""
        for tab, session in list(self._sessions.items()):
            if len(self._sessions) < self._capacity:
                return
            self._forget(tab, session)

    def _forget(self, tab: str, session: Session) -> None:
        """Forget a session unless it is at work, but not that there was a talk."""
        if session.busy.locked():
            return
        del self._sessions[tab]
        self._forgotten.pop(tab, None)
        if session.has_turns or session.is_forgotten:
            self._forgotten[tab] = session.model
        if len(self._forgotten) > MOST_FORGOTTEN:
            del self._forgotten[next(iter(self._forgotten))]

    @contextmanager
    def _exclusive(self, session: Session) -> Generator[None]:
        if not session.busy.acquire(timeout=self._patience):
            raise GromaError("This conversation is still answering; please wait or press Stop.")
        try:
            yield
        finally:
            session.busy.release()

    def _free_surplus(self) -> None:
        """Free least recently used memory until the rest fits the budget."""
        with self._lock:
            others = list(self._sessions.values())[:-1]
            surplus = self.num_bytes - self._budget
            for session in others:
                if surplus <= 0:
                    return
                surplus -= _free(session)


def _kept(session: Session, drawn: tuple[Any, ...]) -> Session:
    """A session's talk as it is."""
    kept = Session(session.model, drawn=drawn)
    kept.follow(session)
    with suppress(GromaError):
        kept.thumbnail = to_thumbnail(read_picture(session.picture)) if session.picture else ""
    return kept


def _free(session: Session) -> int:
    """Free a session's memory unless it is at work, and return how much that was."""
    if not session.busy.acquire(blocking=False):
        return 0
    try:
        freed, session.chat = session.num_bytes, None
    finally:
        session.busy.release()
    return freed
