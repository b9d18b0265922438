"""Layout and wiring of the finetune tab, no logic."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from ..shared.error_border import sentence_about, tab_of, told, warn
from ..shared.gradio_components import Kept, SendButton, SentFile
from .example_maker import (
    PLAIN,
    PRIVATE,
    SECONDS_TO_KEEP,
    Around,
    Event,
    ExampleMaker,
)
from .finetune_html import render_comparison
from .finetune_tab import BASE, Comparison, Desk, FinetuneTab

SECONDS_BETWEEN_LOOKS = 2.0
CLICKS = """element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-fix], [data-item]");
  if (!button) return;
  const { fix, item } = button.dataset;
  trigger("click", fix === undefined ? { item: Number(item) } : { fix: Number(fix) });
});"""

DATA_HELP = """<p class="groma-note">One zip with pictures and their annotations, or all of these
files together. Groma-Instruct, LLaVA, COCO, YOLO, Pascal VOC, CVAT, Label Studio, LabelMe,
Supervisely and VIA are understood.</p>"""


class FinetunePage:
    """All components of the finetune tab.

    Args:
        tab: the handlers.
        queue: of events that compute with the model.
    """

    def __init__(self, tab: FinetuneTab, queue: dict[str, Any]) -> None:
        self.tab = tab
        self._model = queue | PRIVATE

    def build(
        self, blocks: gr.Blocks, tabs: gr.Tabs, ticket: gr.Textbox, correct: Sequence[Event]
    ) -> None:
        """Make the tab's content; to be called within the tab.

        Args:
            blocks: the page.
            tabs: of the whole page.
            ticket: see `Around`.
            correct: what asks to correct an answer of the chat, see `Around`.
        """
        self.desk = Kept(Desk(), time_to_live=SECONDS_TO_KEEP, delete_callback=Desk.close)
        self.timer = gr.Timer(SECONDS_BETWEEN_LOOKS, active=False)
        self._build_data()
        self._build_training()
        self._build_use()
        self._wire_data()
        shown, queue = self._shown, self._model
        self.maker.wire(Around(blocks, tabs, ticket, correct, self.desk, shown, self._desk, queue))
        self._wire_training(blocks)
        self._wire_use(blocks)

    def _build_data(self) -> None:
        gr.Markdown("### 1. Examples")
        self.maker = ExampleMaker(self.tab)
        with gr.Tab("Make them here"):
            self.maker.build()
        with gr.Tab("Upload a set"):
            gr.HTML(DATA_HELP, **PLAIN)
            self.files = SentFile(
                label="Examples", file_count="multiple", type="filepath", height=140
            )
        # A step is open once there is something to do in it.
        self.checking = gr.Accordion("2. Check", open=False, elem_classes="groma-step")
        with self.checking, gr.Row():
            with gr.Column(min_width=300):
                with gr.Row():
                    self.fix_all = gr.Button("Fix everything that can be fixed", size="sm")
                    self.pack = gr.Button("Make a zip of this set", size="sm", min_width=140)
                self.mended = gr.File(
                    label="The set as it is now",
                    visible=False,
                    interactive=False,
                    elem_id="groma-mended",
                )
                self.summary = gr.HTML(
                    self.tab.summary(Desk()), js_on_load=CLICKS, elem_id="groma-findings", **PLAIN
                )
            with gr.Column(min_width=300):
                self.picture = gr.Image(
                    label="Boxes as they are read",
                    interactive=False,
                    visible=False,
                    height=300,
                    buttons=[],
                )
                with gr.Row():
                    self.back = gr.Button("Previous", size="sm", min_width=80)
                    self.forth = gr.Button("Next", size="sm", min_width=80)
                self.title = gr.Textbox(label="Item", interactive=False, lines=1)
                self.text = gr.HTML(elem_id="groma-supervised", **PLAIN)

    def _build_training(self) -> None:
        self.training = gr.Accordion("3. Training", open=False, elem_classes="groma-step")
        with self.training, gr.Row():
            with gr.Column(min_width=300):
                self.name = gr.Textbox(label="Name of the run", max_length=40, lines=1)
                self._build_choices()
                with gr.Row():
                    self.estimate = gr.Button("Estimate time and memory", size="sm", min_width=180)
                    self.start = gr.Button("Start", variant="primary", size="sm", min_width=80)
                self.needs = gr.HTML(elem_id="groma-estimate", **PLAIN)
            with gr.Column(min_width=300):
                self.run = gr.Dropdown([], label="Runs", elem_id="groma-runs")
                with gr.Row():
                    self.cancel = gr.Button("Cancel", size="sm", min_width=80)
                    self.resume = gr.Button("Resume", size="sm", min_width=80)
                self.progress = gr.HTML(elem_id="groma-progress", **PLAIN)
                self.plot = gr.Image(
                    label="Losses",
                    show_label=False,  # it would cover the plot's own titles
                    interactive=False,
                    visible=False,
                    type="filepath",
                    buttons=[],
                    elem_id="groma-plot",
                )

    def _build_choices(self) -> None:
        auto = "0: chosen for you"
        with gr.Row():
            self.choices: dict[str, gr.components.Component] = {
                "rank": gr.Slider(1, 64, 16, step=1, label="Rank", min_width=140),
                "held_out": gr.Slider(0, 0.5, 0.1, step=0.05, label="Held out", min_width=140),
                "epochs": gr.Number(0, label="Epochs", info=auto, min_width=140),
                "lr": gr.Number(0, label="Learning rate", info=auto, min_width=140),
                "whole": gr.CheckboxGroup(
                    [("Projector", "projector"), ("Region encoder", "region_encoder")],
                    label="Also train as a whole",
                    min_width=290,
                ),
                "quantization": gr.Dropdown(
                    [("as it is stored", ""), ("4-bit (QLoRA)", "4bit"), ("8-bit", "8bit")],
                    value="",
                    label="Base in memory",
                    min_width=140,
                    visible=not self.tab.is_stored_quantised,
                ),
                "rehearsal": gr.Checkbox(
                    True,
                    label="Rehearse",
                    info="Learn what the base says of your pictures along: it forgets less",
                    min_width=290,
                ),
            }
        self.force = gr.Checkbox(False, label="Start even what will not fit in memory")

    def _build_use(self) -> None:
        self.using = gr.Accordion("4. Use and compare", open=False, elem_classes="groma-step")
        with self.using, gr.Row():
            with gr.Column(min_width=300):
                self.adapter = gr.Dropdown(
                    [BASE], value=BASE, label="Adapter", elem_id="groma-adapter"
                )
                with gr.Row():
                    self.use = gr.Button("Use in my chat", variant="primary", size="sm")
                    self.download = gr.Button("Make a zip", size="sm")
                    self.upload = SendButton(
                        "Send an adapter", file_types=[".zip"], size="sm", type="filepath"
                    )
                self.used = gr.HTML(elem_id="groma-used", **PLAIN)
                self.zip = gr.File(label="Adapter", visible=False, interactive=False)
            with gr.Column(min_width=300):
                with gr.Row():
                    self.compare = gr.Button("Compare the run of step 3 with the base", size="sm")
                    self.stop = gr.Button("Stop comparing", size="sm", visible=False)
                self.comparing = Kept(None, time_to_live=SECONDS_TO_KEEP)
                self.compared = gr.HTML(elem_id="groma-compared", max_height=600, **PLAIN)

    def _wire_data(self) -> None:
        tab, desk = self.tab, self.desk
        steps = [self.checking, self.training]
        self._shown = [desk, self.summary, self.title, self.picture, self.text, *steps]
        changes: dict[str, Any] = {"outputs": self._shown, "concurrency_id": "data"} | PRIVATE
        self.files.upload(
            told(lambda desk, files: self._desk(tab.load(desk, _paths(files)))),
            [desk, self.files],
            **changes,
        )
        self.fix_all.click(told(lambda desk: self._desk(tab.fix_all(desk))), desk, **changes)
        self.pack.click(told(self._pack), desk, [desk, self.mended], **PRIVATE)
        quiet: dict[str, Any] = {"show_progress": "hidden"} | PRIVATE
        self.summary.change(_no_file, None, self.mended, **quiet)
        self.back.click(told(lambda desk: self._desk(tab.step(desk, -1))), desk, **changes)
        self.forth.click(told(lambda desk: self._desk(tab.step(desk, 1))), desk, **changes)
        self.summary.click(told(self._clicked), desk, **changes)

    def _wire_training(self, blocks: gr.Blocks) -> None:
        chosen = [self.desk, self.name, self.force, *self.choices.values()]
        watched = [self.progress, self.plot, self.timer, self.run]
        self.estimate.click(told(self._estimate), chosen, self.needs, **self._model)
        quiet: dict[str, Any] = {"show_progress": "hidden"} | PRIVATE
        self.summary.change(told(self._preview), chosen, self.needs, **quiet | self._model)
        self.start.click(told(self._start), chosen, [*watched, self.using], **PRIVATE)
        for button, handler in ((self.cancel, self.tab.cancel), (self.resume, self.tab.resume)):
            button.click(told(self._then_watch(handler)), self.run, watched, **PRIVATE)
        self.run.focus(told(self._labels), None, self.run, **quiet)
        self.run.change(told(self._watch), self.run, watched, **quiet)
        self.timer.tick(told(self._watch), self.run, watched, **quiet)
        blocks.load(told(self._runs), None, [self.run, self.training, self.using], **quiet)

    def _wire_use(self, blocks: gr.Blocks) -> None:
        both = [self.desk, self.adapter]
        quiet: dict[str, Any] = {"show_progress": "hidden"} | PRIVATE
        for event in (self.adapter.focus, blocks.load):
            event(told(self._adapters), self.desk, self.adapter, **quiet)
        self.progress.change(told(self._adapters), self.desk, self.adapter, **quiet)
        self.use.click(told(self._use), both, self.used, **self._model)
        self.download.click(told(self._download), both, self.zip, **PRIVATE)
        self.upload.upload(
            told(self._upload), [self.desk, self.upload], [self.desk, self.adapter], **self._model
        )
        compared = [self.comparing, self.compared, self.compare, self.stop]
        self.compare.click(told(self._begin_comparison), self.run, compared, **self._model)
        # Every example takes its own place in the line, so that the chat goes on in between.
        step: dict[str, Any] = {"show_progress": "hidden"} | self._model
        self.comparing.change(told(self._compare_next), self.comparing, compared, **step)
        self.stop.click(told(self._stop_comparison), self.comparing, self.stop, **PRIVATE)

    def _desk(self, desk: Desk) -> tuple:
        view = self.tab.look(desk)
        steps = [gr.update(open=desk.examples is not None)] * 2
        picture = gr.update(value=view.picture, visible=view.picture is not None)
        return desk, self.tab.summary(desk), view.title, picture, view.text, *steps

    def _clicked(self, desk: Desk, event: gr.EventData) -> tuple:
        data = event._data if isinstance(event._data, dict) else {}
        if "fix" in data:
            return self._desk(self.tab.fix(desk, data["fix"]))
        return self._desk(self.tab.go_to(desk, data.get("item")))

    def _estimate(self, desk: Desk, _: str, __: bool, *choices: Any) -> str:
        return self.tab.estimate(desk, self._named(choices))

    def _preview(self, desk: Desk, _: str, __: bool, *choices: Any) -> str:
        return self.tab.preview(desk, self._named(choices))

    def _start(self, desk: Desk, name: str, force: bool, *choices: Any) -> tuple:
        run = self.tab.start(desk, self._named(choices), name, force)
        runs = gr.update(choices=self.tab.labels(), value=run)
        return *self._watch(run)[:-1], runs, gr.update(open=True)

    def _named(self, choices: tuple) -> dict[str, Any]:
        """What was chosen, by name; None leaves the choice to the program."""
        named = dict(zip(self.choices, choices, strict=True))
        return named | {name: named[name] or None for name in ("epochs", "lr", "quantization")}

    def _watch(self, run: str | None) -> tuple:
        view = self.tab.watch(run)
        plot = gr.update(value=view.plot, visible=view.plot is not None)
        return view.progress, plot, gr.Timer(active=view.is_live), self._labels()

    def _then_watch(self, handler: Callable[[str | None], None]) -> Callable[..., tuple]:
        def run(name: str | None) -> tuple:
            handler(name)
            # A run that was asked to stop goes on to its next checkpoint.
            return *self._watch(name)[:2], gr.Timer(active=True), self._labels()

        return run

    def _runs(self) -> tuple:
        labels, live = self.tab.labels(), self.tab.jobs.current
        steps = [gr.update(open=bool(labels))] * 2
        shown = live.name if live else labels[0][1] if labels else None
        return gr.update(choices=labels, value=shown), *steps

    def _labels(self) -> Any:
        return gr.update(choices=self.tab.labels())

    def _adapters(self, desk: Desk) -> Any:
        return gr.update(choices=self.tab.adapters(desk))

    def _pack(self, desk: Desk) -> tuple:
        desk, file = self.tab.pack(desk)
        return desk, gr.update(value=str(file), visible=True)

    def _begin_comparison(self, run: str | None) -> tuple:
        return _compared(self.tab.begin_comparison(run))

    def _compare_next(self, comparison: Comparison | None) -> tuple:
        if comparison is None or not comparison.left:
            return (gr.skip(),) * 4
        try:
            return _compared(self.tab.compare_next(comparison))
        except Exception as error:
            warn(sentence_about(error))
            self.tab.stop_comparison(comparison)
            return _compared(replace(comparison, count=comparison.asked))

    def _stop_comparison(self, comparison: Comparison | None) -> Any:
        self.tab.stop_comparison(comparison)
        return gr.update(value="Stopping after this example", interactive=False)

    def _use(self, desk: Desk, name: str | None, request: gr.Request) -> str:
        return self.tab.use(tab_of(request), desk, name)

    def _download(self, desk: Desk, name: str | None) -> Any:
        return gr.update(value=str(self.tab.download(desk, name)), visible=True)

    def _upload(self, desk: Desk, file: str) -> tuple:
        desk = self.tab.upload(desk, Path(file))
        return desk, gr.update(choices=self.tab.adapters(desk), value=desk.uploads[0][0])


def _compared(comparison: Comparison) -> tuple:
    """A comparison, what it shows, and the buttons to begin and to stop one."""
    rows, left = comparison.rows, comparison.left
    stop = gr.update(value="Stop comparing", interactive=True, visible=bool(left))
    html = render_comparison(rows, left)
    return comparison, html, gr.update(interactive=not left), stop


def _no_file() -> Any:
    """A file of a set that has changed would mislead."""
    return gr.update(value=None, visible=False)


def _paths(files: list[str] | None) -> list[Path]:
    return [Path(file) for file in files or ()]
