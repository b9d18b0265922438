"""What a run writes while it goes on: metrics as JSON lines, and a plot of them."""

import json
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from groma.atomic_file import replacing
from groma.loop.curves import LOG_NAME, PLOT_NAME, plot, read_log

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
            kept = [row for row in read_log(self.folder) if row["step"] <= state.global_step]
            lines = "".join(json.dumps(row) + "\n" for row in kept)
            with replacing(self.folder / LOG_NAME) as file:
                file.write(lines.encode())

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
