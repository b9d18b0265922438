"""The chat tab: what happens when somebody does something, as functions of inputs and session."""

import logging
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.canvas import Drawing
from app.pictures import displayable
from app.render import Pending, render_talk, shown_boxes
from app.state import Session, Sessions
from groma.conversation import Conversation, GenerationSettings, Turn
from groma.types import Box, GromaError, GroundedReply

_log = logging.getLogger(__name__)

SECONDS_BETWEEN_UPDATES = 0.05
"""Faster than this nobody reads; a phrase that closes is shown at once."""

NEW_TALK = "A new picture, a new talk."
CLEARED = "Cleared: a new talk about the same picture."


@dataclass(frozen=True)
class Settings:
    """What the settings panel says.

    Attributes:
        grounding: ask for boxes.
        temperature: 0 is greedy.
        top_p: draw from the likeliest tokens that make up this much probability.
        max_new_tokens: most tokens of an answer.
        score_threshold: least objectness of a proposal.
        max_regions: most proposals.
        certain: phrases below this score are shown as uncertain.
    """

    grounding: bool = True
    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 512
    score_threshold: float | None = None
    max_regions: int | None = None
    certain: float = 0.5

    @property
    def generation(self) -> dict[str, Any]:
        """Fields of `GenerationSettings`.

        Raises:
            GromaError: naming the setting that is out of range.
        """
        limit, threshold = self.max_regions, self.score_threshold
        fields: dict[str, Any] = {
            "grounding": bool(self.grounding),
            "temperature": float(self.temperature),
            "top_p": float(self.top_p),
            "max_new_tokens": int(self.max_new_tokens),
            "score_threshold": None if threshold is None else float(threshold),
            "max_regions": None if limit is None else int(limit),
        }
        GenerationSettings(**fields)
        return fields


@dataclass(frozen=True)
class View:
    """Changes of the page; None leaves a part as it is.

    Attributes:
        talk: the conversation as HTML.
        shown: what the canvas shows, see `shown_boxes`.
        drawing: picture and drawn boxes.
        question: text of the question box.
        is_answering: whether there is something to stop.
        warning: a sentence about what went wrong.
    """

    talk: str | None = None
    shown: dict[str, Any] | None = None
    drawing: Drawing | None = None
    question: str | None = None
    is_answering: bool | None = None
    warning: str | None = None


class ChatTab:
    """Handlers of the chat tab; each takes the id of the browser tab first.

    Args:
        sessions: what the browser tabs own.
    """

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions

    def open(self, tab: str, drawing: Drawing, settings: Settings) -> View:
        """Start a talk about a new picture."""
        session = self.sessions.get(tab)
        before = session.picture
        if drawing.picture is None:
            return View()
        try:
            self.sessions.open(tab, drawing.picture, **settings.generation)
        except GromaError as error:
            return View(drawing=Drawing(before and displayable(before)), warning=str(error))
        picture = displayable(drawing.picture)
        return View(
            talk=render_talk(session.conversation, note=NEW_TALK if before else ""),
            shown=self._shown(session, settings),
            drawing=None if picture == drawing.picture else Drawing(picture),
        )

    def resume(
        self,
        tab: str,
        picture: Path,
        conversation: Conversation | None,
        settings: Settings,
        question: str = "",
        boxes: Sequence[Box] = (),
    ) -> View:
        """Open a picture with what was said, or could be asked, about it."""
        try:
            self.sessions.open(tab, picture, conversation, **settings.generation)
        except GromaError as error:
            return View(warning=str(error))
        session = self.sessions.get(tab)
        return View(
            talk=self._talk(session, settings),
            shown=self._shown(session, settings),
            drawing=Drawing(displayable(picture), tuple(boxes)),
            question=question,
        )

    def ask(self, tab: str, drawing: Drawing, question: str, settings: Settings) -> Iterator[View]:
        """Answer a question; the view grows with the answer."""
        session = self.sessions.get(tab)
        try:
            options = settings.generation
            if session.picture is None and drawing.picture is not None:
                self.sessions.open(tab, drawing.picture, **options)
            pending = Pending(question, drawing.boxes)
            replies = self.sessions.stream(tab, question, drawing.boxes, **options)
            empty = Drawing(drawing.picture)
            yield from self._answer(
                session, replies, session.conversation, pending, settings, empty
            )
        except Exception as error:
            yield self._failed(session, settings, error, drawing, question)

    def regenerate(self, tab: str, settings: Settings) -> Iterator[View]:
        """Answer the last question anew."""
        session = self.sessions.get(tab)
        try:
            conversation = session.conversation or Conversation((1, 1))
            before, turn = conversation.without_last(), conversation.turns[-1]
            pending = Pending(turn.question, turn.boxes)
            replies = self.sessions.stream(tab, None, again=True, **settings.generation)
            yield from self._answer(session, replies, before, pending, settings)
        except Exception as error:
            yield self._failed(session, settings, error)

    def stop(self, tab: str) -> None:
        """End the answer that is being made; what was said so far stays."""
        self.sessions.get(tab).stopping.set()

    def undo(self, tab: str, settings: Settings) -> View:
        """Forget the last question and its answer."""
        return self._take_back(tab, settings)[0]

    def edit(self, tab: str, drawing: Drawing, settings: Settings) -> View:
        """Take the last question back into the question box, its boxes onto the canvas."""
        view, turn = self._take_back(tab, settings)
        if turn is None:
            return view
        boxes = Drawing(drawing.picture, (*turn.boxes, *drawing.boxes))
        return View(view.talk, view.shown, boxes, turn.question)

    def clear(self, tab: str, drawing: Drawing, settings: Settings) -> View:
        """Start a new talk about the same picture."""
        session = self.sessions.get(tab)
        if session.picture is None:
            return View(question="")
        try:
            self.sessions.clear(tab)
            self.sessions.propose(tab, **settings.generation)
        except GromaError as error:
            return View(warning=str(error))
        talk = render_talk(session.conversation, note=CLEARED)
        return View(talk, self._shown(session, settings), Drawing(drawing.picture), "")

    def redraw(self, tab: str, settings: Settings) -> View:
        """Show what is there with other settings."""
        session = self.sessions.get(tab)
        if session.conversation is None or session.busy.locked():
            return View()
        try:
            if not session.conversation.turns:
                self.sessions.propose(tab, **settings.generation)
        except GromaError as error:
            return View(warning=str(error))
        return View(self._talk(session, settings), self._shown(session, settings))

    def _answer(
        self,
        session: Session,
        replies: Generator[GroundedReply],
        before: Conversation | None,
        pending: Pending,
        settings: Settings,
        drawing: Drawing | None = None,
    ) -> Iterator[View]:
        """Show the question at once, then its answer growing, then the talk with it."""
        shown = shown_boxes(before, session.proposals, pending, settings.certain)
        talk = render_talk(before, pending, settings.certain)
        yield View(talk, shown, drawing, "" if drawing else None, is_answering=True)
        num_spans, shown_at = 0, 0.0
        with closing(replies):
            for reply in replies:
                is_soon = time.monotonic() - shown_at < SECONDS_BETWEEN_UPDATES
                if is_soon and len(reply.spans) == num_spans:
                    continue
                shown_at = time.monotonic()
                now = replace(pending, reply=reply)
                talk, shown = render_talk(before, now, settings.certain), None
                if len(reply.spans) > num_spans:
                    num_spans = len(reply.spans)
                    shown = shown_boxes(before, session.proposals, now, settings.certain)
                yield View(talk, shown)
        talk, shown = self._talk(session, settings), self._shown(session, settings)
        yield View(talk, shown, is_answering=False)

    def _failed(
        self,
        session: Session,
        settings: Settings,
        error: Exception,
        drawing: Drawing | None = None,
        question: str | None = None,
    ) -> View:
        """The page as it was before the question, which is not lost, and why."""
        sentence = str(error)
        if not isinstance(error, GromaError):
            _log.error("A question could not be answered", exc_info=error)
            sentence = "Something went wrong here; the question is back in its box."
        talk, shown = self._talk(session, settings), self._shown(session, settings)
        return View(talk, shown, drawing, question, is_answering=False, warning=sentence)

    def _take_back(self, tab: str, settings: Settings) -> tuple[View, Turn | None]:
        session = self.sessions.get(tab)
        try:
            turn = self.sessions.undo(tab)
        except GromaError as error:
            return View(warning=str(error)), None
        return View(self._talk(session, settings), self._shown(session, settings)), turn

    def _talk(self, session: Session, settings: Settings) -> str:
        return render_talk(session.conversation, certain=settings.certain)

    def _shown(self, session: Session, settings: Settings) -> dict[str, Any]:
        return shown_boxes(session.conversation, session.proposals, certain=settings.certain)
