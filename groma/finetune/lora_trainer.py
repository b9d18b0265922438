"""The training loop of an adapter: `LoggedTrainer` that saves and loads the adapter alone."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch import nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from groma.checkpoint.adapters import Fingerprint, load_weights, write_adapter
from groma.loop.logged_trainer import LoggedTrainer
from groma.loop.saved_checkpoints import is_whole

if TYPE_CHECKING:
    from peft import PeftModel

_logger = logging.getLogger(__name__)


class AdapterTrainer(LoggedTrainer):
    """Trains an adapter; its checkpoints hold nothing of the base."""

    def __init__(
        self,
        adapted: "PeftModel",
        base: Fingerprint,
        is_asked_to_stop: Callable[[], bool],
        **kwargs: Any,
    ) -> None:
        """Arguments as in `LoggedTrainer`, and three more.

        Args:
            adapted: the model whose adapter learns.
            base: what that model is without it.
            is_asked_to_stop: whether to end where the training can be resumed.
            kwargs: of `LoggedTrainer`.
        """
        self.adapted = adapted
        self.base = base
        super().__init__(**kwargs)
        self.add_callback(_StopWhenAsked(is_asked_to_stop))

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the memory in use to every line of training."""
        if "loss" in logs:
            logs["memory"] = float(memory_in_use())
        super().log(logs, start_time)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:  # noqa: ARG002
        assert output_dir is not None
        if self.args.should_save:  # it is called in every process
            write_adapter(self.adapted, Path(output_dir), self.base, {})

    def _load_from_checkpoint(
        self,
        resume_from_checkpoint: str,
        model: nn.Module | None = None,  # noqa: ARG002
    ) -> None:
        load_weights(self.adapted, Path(resume_from_checkpoint))

    def _load_best_model(self) -> None:
        assert self.state.best_model_checkpoint is not None and self.args.output_dir is not None
        name = Path(self.state.best_model_checkpoint).name  # the run may have moved since
        best = Path(self.args.output_dir) / name
        if is_whole(best):
            load_weights(self.adapted, best)
        else:
            _logger.warning("%s, the best on what was held out, is gone; the last is taken.", best)


class _StopWhenAsked(TrainerCallback):
    """Ends a training where it can be resumed as if it had never stopped.

    That is after a step that is logged: a line of the log tells the mean since the line before.
    """

    def __init__(self, is_asked: Callable[[], bool]) -> None:
        self._is_asked = is_asked

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Save and stop; what was learnt last is measured too."""
        control.should_evaluate |= (
            state.global_step >= state.max_steps and args.eval_strategy != "no"
        )
        if state.global_step % int(args.logging_steps) == 0 and self._is_asked():
            control.should_save = control.should_training_stop = True


def memory_in_use() -> int:
    """Most bytes so far on the GPU, or bytes of this process where there is none."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return psutil.Process().memory_info().rss
