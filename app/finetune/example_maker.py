"""Layout and wiring of the part of the finetune tab where examples are made by hand, no logic."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from groma.types import GromaError

from ..canvas.shown_boxes import shown_boxes
from ..shared.error_border import note, sentence_about, tab_of, told, warn
from ..shared.gradio_components import Kept
from .example_canvas import ExampleCanvas
from .finetune_html import render_made
from .finetune_tab import Desk, FinetuneTab
from .own_examples import Draft, OwnSet

SECONDS_TO_KEEP = 6 * 3600
"""What a visitor made or uploaded, after the last change."""

Event = Callable[..., Any]
"""What connects a handler, such as `button.click`."""

PRIVATE: dict[str, Any] = {"api_visibility": "private"}
PLAIN: dict[str, Any] = {"apply_default_css": False}

HELP = """<p class="groma-note">Open a picture, draw boxes, write a question and the answer to
learn. Then select words of the answer and press the number of the box they mean.</p>"""

CLICKS = """element.addEventListener("click", (event) => {
  const { edit, delete: gone } = event.target.closest("[data-edit], [data-delete]")?.dataset || {};
  if (edit) trigger("edit", { number: Number(edit) });
  if (gone) trigger("delete", { number: Number(gone) });
});
window.addEventListener("beforeunload", (event) => {
  if (element.querySelector("[data-delete]")) event.preventDefault();
});"""
"""Buttons of the list; and the page asks before it is left while there are examples in it."""


RETURNING = """() => {
  try { return JSON.parse(sessionStorage.getItem("groma")).ticket || ""; } catch { return ""; }
}"""
"""Reads what `kept.js` wrote."""


@dataclass(frozen=True)
class Around:
    """What lies around the part.

    Attributes:
        blocks: the whole page.
        tabs: of the whole page.
        ticket: where the browser tab says which page it showed before.
        correct: what asks to correct an answer of the chat; its data may have the `place` of the
            answer, from 0, and mean the last one otherwise.
        desk: what is to be learnt.
        shown: what shows the desk, see `show`.
        show: a desk as values for `shown`.
        queue: of events that compute with the model.
    """

    blocks: gr.Blocks
    tabs: gr.Tabs
    ticket: gr.Textbox
    correct: Sequence[Event]
    desk: gr.State
    shown: list[Any]
    show: Callable[[Desk], tuple]
    queue: dict[str, Any]


class ExampleMaker:
    """All components to make examples by hand.

    Args:
        tab: the handlers.
    """

    def __init__(self, tab: FinetuneTab) -> None:
        self.tab = tab

    def build(self) -> None:
        """Make the content; to be called within the tab."""
        self.own = Kept(OwnSet(), time_to_live=SECONDS_TO_KEEP, delete_callback=OwnSet.close)
        gr.HTML(HELP, **PLAIN)
        self.canvas = ExampleCanvas(shown=shown_boxes(None), elem_classes="groma-plain groma-maker")
        with gr.Row(elem_classes="groma-actions"):
            self.keep = gr.Button("Keep this example", variant="primary", size="sm", min_width=140)
            self.discard = gr.Button("Discard", size="sm", min_width=80)
        self.made = gr.HTML(
            render_made(OwnSet()), js_on_load=CLICKS, elem_id="groma-made", max_height=420, **PLAIN
        )
        with gr.Row(elem_classes="groma-actions"):
            self.check = gr.Button("Check and learn from these", size="sm", min_width=140)
            self.pack = gr.Button("Make a zip of them", size="sm", min_width=140)
        self.zip = gr.File(label="Your examples", visible=False, interactive=False)

    def wire(self, around: Around) -> None:
        """Connect it with what lies around; to be called within the page."""
        own, canvas = self.own, self.canvas
        bench = [own, canvas, self.made]
        # In one line, so that nothing that is kept is lost to another change.
        changes: dict[str, Any] = {"outputs": bench, "concurrency_id": "examples"} | PRIVATE
        wide: dict[str, Any] = changes | {"outputs": [*bench, around.tabs]}
        canvas.picture(told(self._look), canvas, canvas, **around.queue)
        self.keep.click(told(self._keep), [own, canvas], **wide)
        self.discard.click(told(self._discard), [own, canvas], **changes)
        self.made.edit(told(self._edit), [own, canvas], **changes)
        less: dict[str, Any] = changes | {"outputs": [own, self.made]}
        self.made.delete(told(self._delete), own, **less)
        for event in around.correct:
            event(told(self._correct), [own, canvas], **wide)
        self.pack.click(told(_pack), own, self.zip, **PRIVATE)
        quiet: dict[str, Any] = {"show_progress": "hidden"} | PRIVATE
        own.change(told(self._remember), own, None, **quiet)
        back = [own, self.made]
        around.blocks.load(told(self._come_back), around.ticket, back, js=RETURNING, **quiet)
        self.check.click(
            told(lambda desk, own: around.show(self.tab.take(desk, own))),
            [around.desk, own],
            outputs=around.shown,
            concurrency_id="data",
            **PRIVATE,
        )

    def _look(self, draft: Draft) -> Any:
        """Show a new picture with what could be taken from it; one that cannot be read goes."""
        try:
            picture, proposals = self.tab.look_at(draft)
        except GromaError as error:
            warn(sentence_about(error))
            picture, proposals = None, ()
        same = picture == draft.picture
        changed: dict[str, Any] = {} if same else {"value": replace(draft, picture=picture)}
        return gr.update(shown=shown_boxes(None, proposals), **changed)

    def _keep(self, own: OwnSet, draft: Draft) -> tuple:
        to_chat = own.from_chat
        own = own.keep(draft)
        if to_chat:
            note(f"Kept; your set in the Finetune tab has {len(own.examples)}.")
        tabs = gr.Tabs(selected="chat") if to_chat else gr.skip()
        return *_same_picture(own, Draft(draft.picture)), tabs

    def _discard(self, own: OwnSet, draft: Draft) -> tuple:
        return _same_picture(own.discard(), Draft(draft.picture))

    def _remember(self, own: OwnSet, request: gr.Request) -> None:
        self.tab.remember(tab_of(request), own)

    def _come_back(self, ticket: str) -> tuple:
        own = self.tab.come_back(ticket)
        return own, render_made(own)

    def _edit(self, own: OwnSet, draft: Draft, event: gr.EventData) -> tuple:
        own = own.edit(draft, _number(event))
        return _bench(own, own.loaded)

    def _delete(self, own: OwnSet, event: gr.EventData) -> tuple:
        own = own.delete(_number(event))
        return own, render_made(own)

    def _correct(
        self, own: OwnSet, draft: Draft, request: gr.Request, event: gr.EventData
    ) -> tuple:
        place = event._data.get("place") if isinstance(event._data, dict) else -1
        own = self.tab.correct(tab_of(request), own, draft, place)
        return *_bench(own, own.loaded), gr.Tabs(selected="finetune")


def _bench(own: OwnSet, draft: Draft) -> tuple:
    """Set, workbench and list of what was made; nothing is proposed for another picture yet."""
    return own, gr.update(value=draft, shown=shown_boxes(None)), render_made(own)


def _same_picture(own: OwnSet, draft: Draft) -> tuple:
    """The same, with the proposals that are there."""
    return own, draft, render_made(own)


def _number(event: gr.EventData) -> Any:
    return event._data.get("number") if isinstance(event._data, dict) else None


def _pack(own: OwnSet) -> Any:
    return gr.update(value=str(own.pack()), visible=True)
