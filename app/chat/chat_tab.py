"""The chat tab: what happens when somebody does something, as functions of inputs and session."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from groma.chat.conversation import Conversation, GroundedReply, check_question
from groma.chat.settings import GenerationSettings
from groma.config import NUM_REGION_TOKENS
from groma.shapes import read_shapes
from groma.types import Box, Detail, GromaError

from ..canvas.region_canvas import Drawing
from ..canvas.shown_boxes import Pending, shown_boxes
from ..shared.error_border import sentence_about
from ..shared.picture_files import displayable
from ..shared.sessions import Session, Sessions
from .talk_html import TOOLS, render_talk

_Inputs = ParamSpec("_Inputs")

SECONDS_BETWEEN_UPDATES = 0.05
"""Faster than this nobody reads; a phrase that closes is shown at once."""

NEW_TALK = "A new picture, a new talk."
OTHER_MODEL = "{} answers now: a new talk about the same picture; your boxes stay."
CLEARED = "Cleared: a new talk about the same picture."
REWRITTEN = "Question {} can be asked anew; what came after it is gone."
RESTORED = "The talk before is back."
BEGUN_ANEW = (
    "This talk was left alone for too long and is forgotten; ask again to begin a new one about "
    "its picture."
)


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
        detail: how closely a picture is looked at.
        certain: phrases below this score are shown as uncertain.
    """

    grounding: bool = True
    temperature: float = 0.0
    top_p: float = 1.0
    max_new_tokens: int = 512
    score_threshold: float | None = None
    max_regions: int | None = None
    detail: Detail = 1
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
            "detail": self.detail,
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
        ticket: what the browser tab keeps to come back with.
        coming: name of the model that is being made ready, "" once it is.
    """

    talk: str | None = None
    shown: dict[str, Any] | None = None
    drawing: Drawing | None = None
    question: str | None = None
    is_answering: bool | None = None
    warning: str | None = None
    ticket: str | None = None
    coming: str | None = None


def _told(handler: Callable[_Inputs, View]) -> Callable[_Inputs, View]:
    """A handler whose mistakes become a sentence on the page, which stays as it is."""

    @wraps(handler)
    def run(*inputs: _Inputs.args, **named: _Inputs.kwargs) -> View:
        try:
            return handler(*inputs, **named)
        except Exception as error:
            return View(warning=sentence_about(error))

    return run


class ChatTab:
    """Handlers of the chat tab; each takes the id of the browser tab first.

    Args:
        sessions: what the browser tabs own.
        teaches: whether answers can be corrected, to be learnt.
    """

    def __init__(self, sessions: Sessions, teaches: bool = False) -> None:
        self.sessions = sessions
        self.tools = TOOLS if teaches else TOOLS - {"correct"}

    @_told
    def open(self, tab: str, drawing: Drawing, settings: Settings) -> View:
        """Start a talk about a new picture."""
        session = self.sessions.get(tab)
        before = session.picture
        if drawing.picture is None:
            return View()
        try:
            self.sessions.keep(tab)
            self.sessions.open(tab, drawing.picture, **settings.generation)
        except Exception as error:
            return View(
                drawing=Drawing(before and displayable(before)), warning=sentence_about(error)
            )
        picture = displayable(drawing.picture)
        return View(
            talk=self._talk(session, settings, NEW_TALK if before else ""),
            shown=self._shown(session, settings),
            drawing=None if picture == drawing.picture else Drawing(picture),
        )

    @_told
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
        session = self.sessions.get(tab)
        note = NEW_TALK if session.has_turns or session.is_forgotten else ""
        self.sessions.keep(tab)
        self.sessions.open(tab, picture, conversation, **settings.generation)
        return View(
            talk=self._talk(session, settings, note),
            shown=self._shown(session, settings),
            drawing=Drawing(displayable(picture), tuple(boxes)),
            question=question,
        )

    def switch(self, tab: str, drawing: Drawing, model: str, settings: Settings) -> Iterator[View]:
        """Let another model answer: a new talk about the same picture, with the same boxes.

        Args:
            tab: id of the browser tab.
            drawing: boxes that were drawn and not yet asked about.
            model: name of who is to answer.
            settings: of the model before; the other one begins with thresholds of its own.
        """
        if model in self.sessions.models.notes:
            yield View(coming=model)
        yield replace(self._switched(tab, drawing, model, settings), coming="")

    @_told
    def _switched(self, tab: str, drawing: Drawing, model: str, settings: Settings) -> View:
        session = self.sessions.get(tab)
        if model == session.model:
            if session.adapted is not None:  # the talk goes on without it
                self.sessions.switch(tab, None)
            return View()
        turns = session.conversation.turns if session.conversation else ()
        own = replace(settings, score_threshold=None, max_regions=None)
        self.sessions.keep(tab, drawing.regions)
        self.sessions.choose(tab, model, **own.generation)
        if session.picture is None:
            return View()
        # Those asked about come first, so that every box keeps its number.
        asked = [shape.to_json() for turn in turns for shape in turn.shapes]
        return View(
            talk=self._talk(session, settings, OTHER_MODEL.format(model)),
            shown=self._shown(session, settings),
            drawing=Drawing(displayable(session.picture), (*asked, *drawing.regions)),
        )

    def come_back(
        self, tab: str, drawing: Drawing, question: str, ticket: str, settings: Settings
    ) -> View:
        """Show what the browser tab had before its page was loaded again, if anything.

        Args:
            tab: id of the new page.
            drawing: boxes that were drawn and not yet asked about.
            question: what was typed and not yet asked.
            ticket: of the former page; "" if there was none.
            settings: of the new page.
        """
        view = self._former(tab, drawing, ticket, settings)
        return replace(view, question=question or None, ticket=self.sessions.ticket(tab))

    @_told
    def _former(self, tab: str, drawing: Drawing, ticket: str, settings: Settings) -> View:
        session = self.sessions.come_back(tab, ticket)
        if session is None or session.picture is None:
            return View()
        drawn = Drawing(displayable(session.picture), drawing.regions)
        return View(self._talk(session, settings), self._shown(session, settings), drawn)

    def ask(self, tab: str, drawing: Drawing, question: str, settings: Settings) -> Iterator[View]:
        """Answer a question; the view grows with the answer."""
        session = self.sessions.get(tab)
        try:
            options = settings.generation
            check_question(question, drawing.regions)
            if session.picture is None and drawing.picture is not None:
                is_forgotten = session.is_forgotten
                self.sessions.open(tab, drawing.picture, **options)
                if is_forgotten:
                    raise GromaError(BEGUN_ANEW)
            conversation = self.sessions.require(tab).conversation
            assert conversation is not None
            shapes = read_shapes(drawing.regions, conversation.image_size, NUM_REGION_TOKENS)
            pending = Pending(question, shapes)
            replies = self.sessions.stream(tab, question, shapes, **options)
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
            conversation = self.sessions.require(tab).conversation
            assert conversation is not None
            before, turn = conversation.without_last(), conversation.turns[-1]
            pending = Pending(turn.question, turn.shapes)
            replies = self.sessions.stream(tab, None, again=True, **settings.generation)
            yield from self._answer(session, replies, before, pending, settings)
        except Exception as error:
            yield self._failed(session, settings, error)

    def begin(self, tab: str) -> None:
        """A question is on its way: from now on `stop` means its answer, even before it starts."""
        self.sessions.get(tab).stopping.clear()

    def stop(self, tab: str) -> None:
        """End the answer that is being made; what was said so far stays."""
        self.sessions.get(tab).stopping.set()

    @_told
    def undo(self, tab: str, drawing: Drawing, settings: Settings) -> View:
        """Take the last question back into the question box, what was drawn onto the canvas."""
        return self._taken_back(tab, drawing, settings, 1)

    @_told
    def rewrite(self, tab: str, drawing: Drawing, place: int, settings: Settings) -> View:
        """Take any question back, and all that was said after it.

        Args:
            tab: id of the browser tab.
            drawing: what was drawn and not yet asked about.
            place: of the question's turn.
            settings: of the page.
        """
        session = self.sessions.get(tab)
        num_turns = len(session.conversation.turns) if session.conversation else 0
        if not 0 <= place < num_turns:
            raise GromaError("There is no such question any more.")
        self.sessions.keep(tab, drawing.regions)
        note = REWRITTEN.format(place + 1) if place < num_turns - 1 else ""
        return self._taken_back(tab, drawing, settings, num_turns - place, note)

    def _taken_back(
        self, tab: str, drawing: Drawing, settings: Settings, count: int, note: str = ""
    ) -> View:
        turn = self.sessions.undo(tab, count)
        session = self.sessions.get(tab)
        asked = [shape.to_json() for shape in turn.shapes]
        drawn = Drawing(drawing.picture, (*asked, *drawing.regions))
        talk = self._talk(session, settings, note)
        return View(talk, self._shown(session, settings), drawn, turn.question)

    @_told
    def restore(self, tab: str, drawing: Drawing, settings: Settings, key: str = "") -> View:
        """Bring a talk back that a new picture, Clear, another model or an edit replaced.

        Args:
            tab: id of the browser tab.
            drawing: what was drawn and not yet asked about in the talk that it replaces.
            settings: of the page.
            key: of the talk; "" is the one that the last change replaced.
        """
        drawn = self.sessions.restore(tab, key, drawing.regions).drawn
        session = self.sessions.get(tab)
        assert session.picture is not None
        drawing = Drawing(displayable(session.picture), drawn)
        talk = self._talk(session, settings, RESTORED)
        return View(talk, self._shown(session, settings), drawing, "")

    @_told
    def clear(self, tab: str, drawing: Drawing, settings: Settings) -> View:
        """Start a new talk about the same picture."""
        session = self.sessions.get(tab)
        if session.picture is None and not session.is_forgotten:
            return View(question="")
        self.sessions.propose(tab, **settings.generation)
        self.sessions.keep(tab, drawing.regions)
        self.sessions.clear(tab)
        talk = self._talk(session, settings, CLEARED)
        return View(talk, self._shown(session, settings), Drawing(drawing.picture), "")

    @_told
    def make_masks(self, tab: str, settings: Settings) -> View:
        """Make masks of what answers mean, for somebody who wants to see them."""
        self.sessions.make_masks(tab)
        return View(shown=self._shown(self.sessions.get(tab), settings))

    @_told
    def redraw(self, tab: str, settings: Settings) -> View:
        """Show what is there with other settings."""
        session = self.sessions.get(tab)
        if session.conversation is None or session.busy.locked():
            return View()
        if not session.conversation.turns:
            self.sessions.propose(tab, **settings.generation)
        # Before anything is said, there may be a note.
        talk = self._talk(session, settings) if session.has_turns else None
        return View(talk, self._shown(session, settings))

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
        talk = render_talk(before, pending, settings.certain, tools=self.tools)
        yield View(talk, shown, drawing, "" if drawing else None, is_answering=True)
        num_spans, shown_at = 0, 0.0
        with closing(replies):
            for reply in replies:
                is_soon = time.monotonic() - shown_at < SECONDS_BETWEEN_UPDATES
                if is_soon and len(reply.spans) == num_spans:
                    continue
                shown_at = time.monotonic()
                now = replace(pending, reply=reply)
                talk = render_talk(before, now, settings.certain, tools=self.tools)
                shown = None
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
        talk, shown = self._talk(session, settings), self._shown(session, settings)
        sentence = sentence_about(error)
        return View(talk, shown, drawing, question, is_answering=False, warning=sentence)

    def _talk(self, session: Session, settings: Settings, note: str = "") -> str:
        found = session.conversation, None, settings.certain
        return render_talk(*found, note, bool(note and session.before), self.tools)

    def _shown(self, session: Session, settings: Settings) -> dict[str, Any]:
        return shown_boxes(session.conversation, session.proposals, certain=settings.certain)
