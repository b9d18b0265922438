"""Layout and wiring of the finetune tab, no logic."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from app.finetune_maker import PLAIN, PRIVATE, SECONDS_TO_KEEP, Around, ExampleMaker
from app.finetune_tab import BASE, Desk, FinetuneTab
from app.mistakes import told, told_while

SECONDS_BETWEEN_LOOKS = 2.0
CLICKS = """element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-fix], [data-item]");
  if (!button) return;
  const { fix, item } = button.dataset;
  trigger("click", fix === undefined ? { item: Number(item) } : { fix: Number(fix) });
});"""

DATA_HELP = """<p class="groma-note">One zip with pictures and a JSON file, or the JSON file and its
pictures together. Groma-Instruct, LLaVA, COCO and VIA are understood.</p>"""


class FinetunePage:
    """All components of the finetune tab.

    Args:
        tab: the handlers.
        queue: of events that compute with the model.
    """

    def __init__(self, tab: FinetuneTab, queue: dict[str, Any]) -> None:
        self.tab = tab
        self._model = queue | PRIVATE

    def build(self, blocks: gr.Blocks, tabs: gr.Tabs, correct: gr.Button) -> None:
        """Make the tab's content; to be called within the tab.

        Args:
            blocks: the page.
            tabs: of the whole page.
            correct: the chat's button to correct its last answer.
        """
        self.desk = gr.State(Desk(), time_to_live=SECONDS_TO_KEEP, delete_callback=Desk.close)
        self.timer = gr.Timer(SECONDS_BETWEEN_LOOKS, active=False)
        self._build_data()
        self._build_training()
        self._build_use()
        self._wire_data()
        shown, queue = self._shown, self._model
        self.maker.wire(Around(tabs, correct, self.desk, shown, self._desk, queue))
        self._wire_training(blocks)
        self._wire_use(blocks)

    def _build_data(self) -> None:
        gr.Markdown("### 1. Examples")
        self.maker = ExampleMaker(self.tab)
        with gr.Tab("Make them here"):
            self.maker.build()
        with gr.Tab("Upload a set"):
            gr.HTML(DATA_HELP, **PLAIN)
            self.files = gr.File(
                label="Examples", file_count="multiple", type="filepath", height=140
            )
        gr.Markdown("### 2. Check")
        with gr.Row():
            with gr.Column(min_width=300):
                self.fix_all = gr.Button("Fix everything that can be fixed", size="sm")
                self.summary = gr.HTML(
                    self.tab.summary(Desk()), js_on_load=CLICKS, elem_id="groma-findings", **PLAIN
                )
            with gr.Column(min_width=300):
                self.picture = gr.Image(
                    label="Boxes as they are read", interactive=False, height=300, buttons=[]
                )
                with gr.Row():
                    self.back = gr.Button("Previous", size="sm", min_width=80)
                    self.forth = gr.Button("Next", size="sm", min_width=80)
                self.title = gr.Textbox(label="Item", interactive=False, lines=1)
                self.text = gr.HTML(elem_id="groma-supervised", **PLAIN)

    def _build_training(self) -> None:
        gr.Markdown("### 3. Training")
        with gr.Row():
            with gr.Column(min_width=300):
                self.name = gr.Textbox(label="Name of the run", max_length=40, lines=1)
                self._build_choices()
                with gr.Row():
                    self.estimate = gr.Button("Estimate memory", size="sm", min_width=120)
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
                ),
            }
        self.force = gr.Checkbox(False, label="Start even what will not fit in memory")

    def _build_use(self) -> None:
        gr.Markdown("### 4. Use and compare")
        with gr.Row():
            with gr.Column(min_width=300):
                self.adapter = gr.Dropdown(
                    [BASE], value=BASE, label="Answers of", elem_id="groma-adapter"
                )
                with gr.Row():
                    self.use = gr.Button("Use in my chat", variant="primary", size="sm")
                    self.download = gr.Button("Make a zip", size="sm")
                    self.upload = gr.UploadButton(
                        "Send an adapter", file_types=[".zip"], size="sm", type="filepath"
                    )
                self.used = gr.HTML(elem_id="groma-used", **PLAIN)
                self.zip = gr.File(label="Adapter", visible=False, interactive=False)
            with gr.Column(min_width=300):
                self.compare = gr.Button("Compare the chosen run with the base", size="sm")
                self.compared = gr.HTML(elem_id="groma-compared", max_height=600, **PLAIN)

    def _wire_data(self) -> None:
        tab, desk = self.tab, self.desk
        self._shown = [desk, self.summary, self.title, self.picture, self.text]
        changes: dict[str, Any] = {"outputs": self._shown, "concurrency_id": "data"} | PRIVATE
        self.files.upload(
            told(lambda desk, files: self._desk(tab.load(desk, _paths(files)))),
            [desk, self.files],
            **changes,
        )
        self.fix_all.click(told(lambda desk: self._desk(tab.fix_all(desk))), desk, **changes)
        self.back.click(told(lambda desk: self._desk(tab.step(desk, -1))), desk, **changes)
        self.forth.click(told(lambda desk: self._desk(tab.step(desk, 1))), desk, **changes)
        self.summary.click(told(self._clicked), desk, **changes)

    def _wire_training(self, blocks: gr.Blocks) -> None:
        chosen = [self.desk, self.name, self.force, *self.choices.values()]
        watched = [self.progress, self.plot, self.timer]
        self.estimate.click(told(self._estimate), chosen, self.needs, **PRIVATE)
        self.start.click(told(self._start), chosen, [self.run, *watched], **PRIVATE)
        for button, handler in ((self.cancel, self.tab.cancel), (self.resume, self.tab.resume)):
            button.click(told(self._then_watch(handler)), self.run, watched, **PRIVATE)
        quiet: dict[str, Any] = {"show_progress": "hidden"} | PRIVATE
        self.run.change(told(self._watch), self.run, watched, **quiet)
        self.timer.tick(told(self._watch), self.run, watched, **quiet)
        blocks.load(self._runs, None, self.run, **quiet)

    def _wire_use(self, blocks: gr.Blocks) -> None:
        tab, both = self.tab, [self.desk, self.adapter]
        quiet: dict[str, Any] = {"show_progress": "hidden"} | PRIVATE
        for event in (self.adapter.focus, blocks.load):
            event(self._adapters, self.desk, self.adapter, **quiet)
        self.progress.change(self._adapters, self.desk, self.adapter, **quiet)
        self.use.click(told(self._use), both, self.used, **self._model)
        self.download.click(told(self._download), both, self.zip, **PRIVATE)
        self.upload.upload(
            told(self._upload), [self.desk, self.upload], [self.desk, self.adapter], **self._model
        )
        self.compare.click(told_while(tab.compare), self.run, self.compared, **self._model)

    def _desk(self, desk: Desk) -> tuple:
        view = self.tab.look(desk)
        return desk, self.tab.summary(desk), view.title, view.picture, view.text

    def _clicked(self, desk: Desk, event: gr.EventData) -> tuple:
        data = event._data if isinstance(event._data, dict) else {}
        if "fix" in data:
            return self._desk(self.tab.fix(desk, data["fix"]))
        return self._desk(self.tab.go_to(desk, data.get("item")))

    def _estimate(self, desk: Desk, _: str, __: bool, *choices: Any) -> str:
        return self.tab.estimate(desk, self._named(choices))

    def _start(self, desk: Desk, name: str, force: bool, *choices: Any) -> tuple:
        run = self.tab.start(desk, self._named(choices), name, force)
        return gr.update(choices=self.tab.names(), value=run), *self._watch(run)

    def _named(self, choices: tuple) -> dict[str, Any]:
        """What was chosen, by name; None leaves the choice to the program."""
        named = dict(zip(self.choices, choices, strict=True))
        return named | {name: named[name] or None for name in ("epochs", "lr", "quantization")}

    def _watch(self, run: str | None) -> tuple:
        view = self.tab.watch(run)
        plot = gr.update(value=view.plot, visible=view.plot is not None)
        return view.progress, plot, gr.Timer(active=view.is_live)

    def _then_watch(self, handler: Callable[[str | None], None]) -> Callable[..., tuple]:
        def run(name: str | None) -> tuple:
            handler(name)
            # A run that was asked to stop goes on to its next checkpoint.
            return *self._watch(name)[:2], gr.Timer(active=True)

        return run

    def _runs(self) -> Any:
        names = self.tab.names()
        return gr.update(choices=names, value=names[0] if names else None)

    def _adapters(self, desk: Desk) -> Any:
        return gr.update(choices=self.tab.adapters(desk))

    def _use(self, desk: Desk, name: str | None, request: gr.Request) -> str:
        return self.tab.use(str(request.session_hash), desk, name)

    def _download(self, desk: Desk, name: str | None) -> Any:
        return gr.update(value=str(self.tab.download(desk, name)), visible=True)

    def _upload(self, desk: Desk, file: str) -> tuple:
        desk = self.tab.upload(desk, Path(file))
        return desk, gr.update(choices=self.tab.adapters(desk), value=desk.uploads[0][0])


def _paths(files: list[str] | None) -> list[Path]:
    return [Path(file) for file in files or ()]
