"""The loop of every training: transformers' Trainer with losses by name and a run log."""

from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from transformers import Trainer
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from groma import machine
from groma.loop.run_log import RunLog
from groma.loop.saved_checkpoints import list_files


class LoggedTrainer(Trainer):
    """Trains an objective module, which returns `loss` and any other terms by name."""

    def __init__(self, count: Callable[[Any, dict], Tensor] | None = None, **kwargs: Any) -> None:
        """Arguments as in `Trainer`, and one more.

        `count`: (model, batch) -> (B, K) counts that `compute_metrics` turns into metrics.
        """
        self.count = count
        self._terms: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
        self._num_terms = 0
        super().__init__(**kwargs, callbacks=[RunLog(Path(kwargs["args"].output_dir))])
        self.model_accepts_loss_kwargs = False  # objectives return means of a batch

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """The objective's `loss`; the other terms are kept for the next log."""
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        for name, value in outputs.items():
            if name != "loss":
                self._terms[name] = self._terms[name] + value.detach().cpu()
        self._num_terms += 1
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the mean of each named term since the last log; what memory can be is given back."""
        machine.trim_memory()
        if "loss" in logs and self._num_terms:
            logs |= {name: float(total) / self._num_terms for name, total in self._terms.items()}
            self._terms.clear()
            self._num_terms = 0
        super().log(logs, start_time)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            output = Path(self._get_output_dir(trial=trial))
            list_files(output / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")

    def prediction_step(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        prediction_loss_only: bool,
        ignore_keys: list[str] | None = None,
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        """Count instead of predicting; Trainer wants labels too and gets the same counts."""
        if self.count is None:
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        inputs = self._prepare_inputs(inputs)
        counted = self.accelerator.unwrap_model(model)
        with torch.no_grad(), self.compute_loss_context_manager(), _gathered(counted):
            counts = self.count(counted, inputs)
        return None, counts, counts


@contextmanager
def _gathered(model: nn.Module) -> Generator[None]:
    """The weights of a model that FSDP has divided, where not its own forward is called."""
    if isinstance(model, FSDPModule):
        model.unshard()
    yield
    if isinstance(model, FSDPModule):
        model.reshard()
