"""The page: layout and wiring, no logic."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import gradio as gr

from groma.limits import HIGHEST_TEMPERATURE, LONGEST_QUESTION, MOST_NEW_TOKENS, MOST_WAITING
from groma.types import Detail

from ..canvas.region_canvas import Canvas
from ..canvas.shown_boxes import shown_boxes
from ..finetune.finetune_page import FinetunePage
from ..finetune.finetune_tab import Desk, FinetuneTab
from ..shared.error_border import tab_of, told, warn
from ..shared.gradio_components import Kept, SendButton
from ..shared.scripts import starting
from . import named_endpoints as api
from . import talk_files as export
from .chat_tab import ChatTab, Settings, View
from .example_strip import examples_of, pick, strip_of
from .former_strip import render_former
from .talk_html import render_talk

PRIVATE: dict[str, Any] = {"api_visibility": "private"}

PLAIN: dict[str, Any] = {"apply_default_css": False, "elem_classes": "groma-plain"}

HERE = Path(__file__).parent

CHIPS = """<div id="groma-chips" role="group" aria-label="Your regions"></div>"""

STOPPABLE = """() => ({ __type__: "update", submit_btn: false, stop_btn: "Stop" })"""

RETURNING = """(canvas, _question, _ticket, ...settings) => {
  const kept = { regions: [], question: "", ticket: "" };
  try { Object.assign(kept, JSON.parse(sessionStorage.getItem("groma"))); } catch {}
  return [{ ...canvas, regions: kept.regions }, kept.question, kept.ticket, ...settings];
}"""
"""Reads what `kept.js` wrote."""

QUICK = """<div class="groma-quick" role="group" aria-label="Quick questions">
<button type="button" data-fill="Describe the picture." data-send>Describe</button>
<button type="button" data-fill="What is [#]?" data-send>What is this?</button>
<button type="button" data-fill="Where is the …?">Find …</button>
<button type="button" data-fill="How many … are there?">How many …</button>
<button type="button" data-fill="What is to the left of [#]?">Left of …</button>
</div>"""


class Page:
    """All components of the chat tab, and the finetune tab beside it.

    Args:
        chat: the handlers.
        finetune: the handlers of a second tab, if there is to be one.
    """

    def __init__(self, chat: ChatTab, finetune: FinetuneTab | None = None) -> None:
        self.chat = chat
        self.models = chat.sessions.models
        self.finetune = finetune
        # What computes with a model waits in one line, from which so many are served at once.
        at_once = chat.sessions.at_once
        self.queue: dict[str, Any] = {"concurrency_id": "model", "concurrency_limit": at_once}

    def build(self, notice: str, status: Callable[[], str]) -> gr.Blocks:
        """Make the page.

        Args:
            notice: a sentence for everybody who opens it, or "".
            status: tells the device and its memory.
        """
        self.status_text = status
        blocks = gr.Blocks(title="Groma", analytics_enabled=False, delete_cache=(3600, 86400))
        with blocks:
            self._build_header(notice)
            if self.finetune is None:
                self._build_chat()
            else:
                with gr.Tabs() as tabs:
                    with gr.Tab("Chat", id="chat"):
                        self._build_chat()
                    with gr.Tab("Finetune", id="finetune"):
                        page = FinetunePage(self.finetune, self.queue)
                        correct = [self.correct.click, self.talk.edit]
                        page.build(blocks, tabs, self.ticket, correct)
            self.desk = Kept(None) if self.finetune is None else page.desk
            self.status = gr.HTML(status(), elem_id="groma-status", **PLAIN)
            self._wire(blocks)
            if self.finetune is not None:
                self._wire_adapters(page, blocks)
            given = self.models.get(self.models.given)
            api.add(given, self.queue, self.chat.sessions.free)
        return blocks.queue(max_size=MOST_WAITING, default_concurrency_limit=8)

    def _build_header(self, notice: str) -> None:
        self.header = gr.HTML(
            self.models.given,
            html_template=(HERE / "header.html").read_text(encoding="utf-8"),
            js_on_load=starting("chat/header.js", "switch"),
            notes=self.models.notes,
            notice=notice,
            adapter="",
            adapters=[],
            coming="",
            **PLAIN,
        )

    def _build_chat(self) -> None:
        with gr.Row(elem_classes="groma-both"):
            with gr.Column(scale=6, min_width=300, elem_classes="groma-picture"):
                self.canvas = Canvas(shown=shown_boxes(None), elem_classes="groma-plain")
                self.ticket = gr.Textbox(visible=False)
                help_text = (HERE / "keyboard.html").read_text(encoding="utf-8")
                gr.HTML(help_text, js_on_load=starting("chat/keyboard.js"), **PLAIN)
                self.former = gr.HTML("", **PLAIN)
                self.strip = gr.HTML(strip_of(self.models.given), **PLAIN)
            with gr.Column(scale=5, min_width=300):
                self._build_talk()

    def _build_talk(self) -> None:
        self.talk = gr.HTML(
            render_talk(None),
            apply_default_css=False,
            elem_id="groma-talk",
            max_height=430,
            min_height=250,
            js_on_load=starting("chat/talk.js", "edit", "rewrite", "restore"),
        )
        gr.HTML(QUICK, **PLAIN)
        with gr.Column(elem_classes="groma-asking"):
            gr.HTML(CHIPS, **PLAIN)
            self.question = gr.Textbox(
                placeholder="Ask; @ mentions a region",
                label="Question",
                show_label=False,
                elem_id="groma-question",
                lines=1,
                max_lines=5,
                max_length=LONGEST_QUESTION,
                submit_btn="Ask",
            )
        with gr.Row(elem_classes="groma-actions", elem_id="groma-turns"):
            names = ("Regenerate", "Undo", "Clear")
            buttons = [gr.Button(name, size="sm", min_width=60) for name in names]
            self.regenerate, self.undo, self.clear = buttons
            # Examples to learn from are kept in the finetune tab.
            visible = self.finetune is not None
            self.correct = gr.Button("Correct and keep", size="sm", min_width=130, visible=visible)
        with _folded("Settings"):
            self._build_settings()
        with _folded("Save and load"):
            self.least = _slider("Leave out below", "Boxes, by their score", 0, 1, 0, 0.05)
            self.save = gr.Button("Make files of this talk", size="sm")
            self.files = gr.File(label="Files", file_count="multiple", visible=False)
            self.load = SendButton("Load a saved talk", file_types=[".json"], size="sm")

    def _build_settings(self) -> None:
        config = self.models.get(self.models.given).config
        threshold, limit = config.score_threshold, config.max_regions
        with gr.Row(elem_id="groma-settings"):
            self.settings = [
                gr.Checkbox(True, label="Grounding", info="Answer with boxes", min_width=200),
                _slider("Temperature", "0: the likeliest", 0, HIGHEST_TEMPERATURE, 0, 0.05),
                _slider("Top-p", "With temperature", 0.05, 1, 1, 0.05),
                _slider("Longest answer", "In tokens", 16, MOST_NEW_TOKENS, 512, 16),
                _slider("Score threshold", "Of proposals", 0, 1, threshold, 0.01),
                _slider("Regions", "Most proposals", 1, limit, limit, 1),
                gr.Radio(
                    get_args(Detail),
                    value=1,
                    label="Detail",
                    info="2, 3: small things too",
                    min_width=200,
                ),
                _slider("Certain from", "Less gets a ?", 0, 1, 0.5, 0.05),
            ]

    def _wire(self, blocks: gr.Blocks) -> None:
        chat, settings = self.chat, self.settings
        model: dict[str, Any] = (
            self.queue | PRIVATE | {"show_progress_on": self.talk, "show_progress": "full"}
        )
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden"} | PRIVATE
        outputs = [self.canvas, self.talk, self.question, self.header, self.status]
        work: dict[str, Any] = {"outputs": outputs} | model
        opened = self.canvas.picture(self._once(chat.open), [self.canvas, *settings], **work)
        asking = [self.canvas, self.question, *settings]
        for event in (self.question.submit, self.regenerate.click, self.canvas.quick):
            event(None, None, self.question, js=STOPPABLE, **quick)
            event(_at_tab(chat.begin), **quick)
        answering = [
            self.question.submit(self._stream(chat.ask), asking, **work),
            self.regenerate.click(self._stream(chat.regenerate), settings, **work),
            self.canvas.quick(told(self._ask_quickly), [self.canvas, *settings], **work),
        ]
        self.question.stop(_at_tab(chat.stop), **quick)
        # An answer is stopped, and stays; a question that still waits is taken out of the line.
        self.canvas.withdraw(_askable, None, self.question, cancels=answering, **quick)
        self.undo.click(self._once(chat.undo), [self.canvas, *settings], **work)
        rewritten = self.talk.rewrite(told(self._rewrite), [self.canvas, *settings], **work)
        restored = self.talk.restore(self._once(chat.restore), [self.canvas, *settings], **work)
        chosen = self.canvas.former(told(self._choose), [self.canvas, *settings], **work)
        cleared = self.clear.click(self._once(chat.clear), [self.canvas, *settings], **work)
        for setting in settings[-4:]:
            setting.change(self._once(chat.redraw), settings, **work)
        unseen = work | {"show_progress": "hidden"}
        self.canvas.masks(self._once(chat.make_masks), settings, **unseen)
        self.save.click(_save(chat), [self.least, settings[-1]], self.files, **PRIVATE)
        loaded = self.load.upload(self._once(self._load), [self.load, *settings], **work)
        example = self.canvas.example(told(self._open_example), [self.header, *settings], **work)
        switching = [self.desk, self.canvas, *settings]
        switched = self.header.switch(
            told(self._switch), switching, trigger_mode="always_last", **work
        )
        returning = [self.canvas, self.question, self.ticket, *settings]
        returned = blocks.load(
            self._once(chat.come_back), returning, outputs, js=RETURNING, **quick
        )
        others = (opened, example, loaded, switched, cleared, rewritten, restored, chosen, returned)
        for event in others:
            event.then(told(self._other_talk), None, [self.files, self.former], **quick)
        # Whatever changed who answers, also a page that was loaded again.
        own = [*settings[:-1], self.strip]
        for event in (self.header.change, restored.then, chosen.then):
            event(told(self._begin_with), self.header, own, **quick)
        blocks.unload(_leave(chat))

    def _wire_adapters(self, page: FinetunePage, blocks: gr.Blocks) -> None:
        """Say who answers when an adapter is taken into use, and no longer when a model is."""
        quick: dict[str, Any] = {"queue": False, "show_progress": "hidden"} | PRIVATE
        page.used.change(told(self._who), None, [self.header, self.status], **quick)
        for event in (blocks.load, page.progress.change, page.upload.upload, page.use.click):
            event(told(self._adapters), page.desk, self.header, **quick)
        self.header.switch(lambda: "", None, page.used, **quick)

    def _load(self, tab: str, file: str, settings: Settings) -> View:
        picture, conversation = export.read_talk(Path(file))
        return self.chat.resume(tab, picture, conversation, settings)

    def _open_example(
        self, request: gr.Request, event: gr.EventData, shown: str, *values: Any
    ) -> tuple:
        example, tab = pick(examples_of(shown), event._data), tab_of(request)
        if example is None:
            return self._updates(tab, View())
        (settings,) = _with_settings(values)
        found = (example.picture, None, settings, example.question, example.boxes)
        return self._updates(tab, self.chat.resume(tab, *found))

    def _switch(
        self, request: gr.Request, event: gr.EventData, desk: Desk | None, *values: Any
    ) -> Iterator[tuple]:
        drawing, settings = _with_settings(values)
        data = event._data if isinstance(event._data, dict) else {}
        tab = tab_of(request)
        if data.get("adapter") and self.finetune is not None:
            yield self._updates(tab, View(coming=str(data["adapter"])))
            try:
                self.finetune.use(tab, desk or Desk(), str(data["adapter"]))
            finally:
                yield self._updates(tab, View(coming=""))
            return
        for view in self.chat.switch(tab, drawing, str(data.get("name", "")), settings):
            yield self._updates(tab, view)

    def _choose(self, request: gr.Request, event: gr.EventData, *values: Any) -> tuple:
        drawing, settings = _with_settings(values)
        data = event._data if isinstance(event._data, dict) else {}
        tab = tab_of(request)
        view = self.chat.restore(tab, drawing, settings, str(data.get("key", "")))
        return self._updates(tab, view)

    def _other_talk(self, request: gr.Request) -> tuple:
        """Files of another talk would mislead; that one is now among the former ones."""
        return _no_files(), render_former(self.chat.sessions.peek(tab_of(request)).former)

    def _begin_with(self, request: gr.Request, model: str) -> tuple:
        """Settings to go on with, of the last answer or the model's own, and its examples."""
        config = self.models.get(model).config
        limit = config.max_regions
        own = {"score_threshold": config.score_threshold, "max_regions": limit}
        said = self.chat.sessions.peek(tab_of(request)).settings
        known = own | {name: value for name, value in said.items() if value is not None}
        parts = zip(self.settings[:-1], Settings.__dataclass_fields__, strict=False)
        limits = {"max_regions": limit}
        updates = [_set(part, known.get(name), limits.get(name)) for part, name in parts]
        return *updates, strip_of(model)

    def _adapters(self, desk: Desk) -> Any:
        """Those that can be chosen in the header."""
        assert self.finetune is not None
        return gr.update(adapters=self.finetune.adapters(desk)[1:])

    def _who(self, request: gr.Request) -> tuple:
        *_, header, status = self._updates(tab_of(request), View())
        return header, status

    def _ask_quickly(
        self, request: gr.Request, event: gr.EventData, *values: Any
    ) -> Iterator[tuple]:
        """Ask a button's question; what is in the question box stays there."""
        drawing, settings = _with_settings(values)
        data = event._data if isinstance(event._data, dict) else {}
        asked = str(data.get("question", ""))[:LONGEST_QUESTION]
        tab = tab_of(request)
        for view in self.chat.ask(tab, drawing, asked, settings):
            yield self._updates(tab, replace(view, question=None))

    def _rewrite(self, request: gr.Request, event: gr.EventData, *values: Any) -> tuple:
        drawing, settings = _with_settings(values)
        place = event._data.get("place") if isinstance(event._data, dict) else None
        tab = tab_of(request)
        place = place if isinstance(place, int) else -1
        return self._updates(tab, self.chat.rewrite(tab, drawing, place, settings))

    def _once(self, handler: Callable[..., View]) -> Callable[..., tuple]:
        def run(request: gr.Request, *values: Any) -> tuple:
            tab = tab_of(request)
            return self._updates(tab, handler(tab, *_with_settings(values)))

        return told(run)

    def _stream(self, handler: Callable[..., Iterator[View]]) -> Callable[..., Iterator[tuple]]:
        def run(request: gr.Request, *values: Any) -> Iterator[tuple]:
            tab = tab_of(request)
            for view in handler(tab, *_with_settings(values)):
                yield self._updates(tab, view)

        return told(run)

    def _updates(self, tab: str, view: View) -> tuple:
        """For canvas, conversation, question box, header and status."""
        if view.warning:
            warn(view.warning)
        box: dict[str, Any] = {"value": view.question}
        if view.is_answering is not None:
            box |= {"submit_btn": False if view.is_answering else "Ask"}
            box |= {"stop_btn": "Stop" if view.is_answering else False}
        canvas = {"value": view.drawing, "shown": view.shown, "ticket": view.ticket}
        session = self.chat.sessions.peek(tab)
        who = {"value": session.model, "adapter": session.adapter, "coming": view.coming}
        parts = (canvas, {"value": view.talk}, box, who)
        return *map(_update, parts), self.status_text()


@contextmanager
def _folded(title: str) -> Generator[None]:
    """What a click on its title shows.

    Gradio's accordion gives its contents their first values a moment after it was opened for the
    first time, and what somebody has typed by then is lost.
    """
    with gr.Column(elem_classes="groma-fold"):
        gr.HTML(f"<details><summary>{title}</summary></details>", **PLAIN)
        with gr.Column(elem_classes="groma-folded"):
            yield


def _slider(label: str, info: str, low: float, high: float, value: float, step: float) -> gr.Slider:
    return gr.Slider(low, high, value, step=step, label=label, info=info, min_width=200)


def _set(part: gr.components.Component, value: Any, maximum: int | None = None) -> Any:
    """A value of the settings panel, within its bounds; None leaves it as it is."""
    if value is None:
        return gr.skip()
    if isinstance(part, gr.Slider):
        value = max(part.minimum, min(value, maximum or part.maximum))
    return _update({"value": value, "maximum": maximum})


def _update(changes: dict[str, Any]) -> Any:
    known = {name: value for name, value in changes.items() if value is not None}
    return gr.update(**known) if known else gr.skip()


def _with_settings(values: tuple) -> tuple:
    """The inputs of a handler; the last ones are the settings panel."""
    count = len(Settings.__dataclass_fields__)
    return (*values[:-count], Settings(*values[-count:]))


def _at_tab(action: Callable[[str], None]) -> Callable[..., None]:
    def act(request: gr.Request) -> None:
        action(tab_of(request))

    return told(act)


def _save(chat: ChatTab) -> Callable[..., Any]:
    def save(request: gr.Request, least: float, certain: float) -> Any:
        session = chat.sessions.get(tab_of(request))
        if session.picture is None or not session.conversation or not session.conversation.turns:
            warn("There is nothing to save yet.")
            return _no_files()
        files = export.write_files(session.picture, session.conversation, certain, least)
        return gr.update(value=[str(file) for file in files], visible=True)

    return told(save)


def _askable() -> Any:
    return gr.update(submit_btn="Ask", stop_btn=False)


def _no_files() -> Any:
    return gr.update(value=None, visible=False)


def _leave(chat: ChatTab) -> Callable[..., None]:
    def leave(request: gr.Request) -> None:
        chat.sessions.leave(tab_of(request))

    return told(leave)
