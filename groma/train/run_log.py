"""What a run leaves to read: metrics as JSON lines, and a plot of them."""

import json
import time
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

LOG_NAME = "log.jsonl"
PLOT_NAME = "curves.png"
_NOT_PLOTTED = (
    *("step", "seconds", "epoch", "learning_rate", "grad_norm"),
    *("samples_per_second", "tokens", "memory", "total_flos"),
)
_HELD_OUT_LOSS = "eval_loss"
_PLOT_SECONDS = 5.0


class RunLog(TrainerCallback):
    """Appends every log to `log.jsonl` and redraws `curves.png`, which takes a while, now and then.

    A resumed run first drops what was logged after its checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._mark = (0, time.monotonic())
        self._plotted = 0.0

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Start the clock and cut the log back to where the run stands."""
        self._mark = (state.global_step, time.monotonic())
        if state.is_world_process_zero:
            self.folder.mkdir(parents=True, exist_ok=True)
            kept = [row for row in read_log(self.folder) if row["step"] <= state.global_step]
            lines = "".join(json.dumps(row) + "\n" for row in kept)
            draft = self.folder / f"{LOG_NAME}.draft"
            draft.write_text(lines, encoding="utf-8")
            draft.replace(self.folder / LOG_NAME)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        logs: dict[str, float] | None = None,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Write one line and the plot."""
        if not state.is_world_process_zero or logs is None:
            return
        row: dict[str, float] = {"step": state.global_step, "seconds": round(time.time(), 1)}
        row |= {name: float(f"{value:.6g}") for name, value in logs.items()}
        if "loss" in logs:
            steps, now = self._mark
            passed, self._mark = time.monotonic() - now, (state.global_step, time.monotonic())
            samples = (state.global_step - steps) * args.train_batch_size
            samples *= args.gradient_accumulation_steps * args.world_size
            row["samples_per_second"] = float(f"{samples / max(passed, 1e-9):.4g}")
        with (self.folder / LOG_NAME).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if time.monotonic() > self._plotted + _PLOT_SECONDS:
            self._plot()

    def on_train_end(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Draw the whole run."""
        if state.is_world_process_zero:
            self._plot()

    def _plot(self) -> None:
        plot(read_log(self.folder), self.folder / PLOT_NAME)
        self._plotted = time.monotonic()


def read_log(folder: Path) -> list[dict[str, float]]:
    """Every line of a run's log; none if there is no log."""
    path = folder / LOG_NAME
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def plot(rows: list[dict[str, float]], path: Path) -> None:
    """Draw losses and evaluation metrics against steps.

    Args:
        rows: of a log.
        path: of the picture, replaced at once.
    """
    names = [name for name in dict.fromkeys(key for row in rows for key in row)]
    metrics = [name for name in names if name.startswith("eval_") and name != _HELD_OUT_LOSS]
    metrics = [name for name in metrics if not name.endswith(("runtime", "per_second"))]
    losses = [n for n in names if not n.startswith(("eval_", "train_")) and n not in _NOT_PLOTTED]
    losses += [_HELD_OUT_LOSS] * (_HELD_OUT_LOSS in names)
    figure = Figure(figsize=(14, 5), layout="constrained")
    for axes, group in zip(figure.subplots(1, 2), (losses, metrics), strict=True):
        for name in group:
            points = [(row["step"], row[name]) for row in rows if name in row]
            label = "held-out loss" if name == _HELD_OUT_LOSS else name.removeprefix("eval_")
            axes.plot(*zip(*points, strict=True), label=label)
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
        if group:
            axes.legend(fontsize=9, ncols=2)
    loss_axes, metric_axes = figure.axes
    loss_axes.set_yscale("log")
    for which in (loss_axes.yaxis.set_major_formatter, loss_axes.yaxis.set_minor_formatter):
        which(FuncFormatter(lambda value, _: f"{value:g}"))
    loss_axes.set_title("losses")
    metric_axes.set_ylim(0, 1)
    metric_axes.set_title("evaluation")
    draft = path.with_suffix(".draft.png")
    figure.savefig(draft, dpi=80)
    draft.replace(path)
