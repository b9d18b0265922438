"""The loop of every stage: transformers' Trainer with our optimiser, losses by name and run log."""

import math
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from transformers import Trainer, TrainingArguments

from groma import machine
from groma.train.optimizer import MuonAdamW, split_parameters
from groma.train.run_log import RunLog
from groma.train.stages import NEW_TOKENS, Stage, keep_old_words


class StageTrainer(Trainer):
    """Runs one stage: an objective module, a dataset and its collator."""

    def __init__(
        self,
        stage: Stage,
        count: Callable[[Any, dict], Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        """Arguments as in `Trainer`, and two more.

        Args:
            stage: rates and clip.
            count: (model, batch) -> (B, K) counts that `compute_metrics` turns into metrics.
            kwargs: of `Trainer`.
        """
        self.stage = stage
        self.count = count
        self._terms: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
        self._num_terms = 0
        super().__init__(**kwargs, callbacks=[RunLog(Path(kwargs["args"].output_dir))])
        self.model_accepts_loss_kwargs = False  # objectives return means of a batch

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Muon and AdamW, or AdamW alone, as the stage says."""
        if self.optimizer is None:
            target = self.model if model is None else model
            assert target is not None
            self.optimizer = build_optimizer(target, self.stage)
        return self.optimizer

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

    def training_step(self, model: nn.Module, *arguments: Any, **options: Any) -> Tensor:
        """Forward and backward; a frozen language model keeps the words it has."""
        loss = super().training_step(model, *arguments, **options)
        if NEW_TOKENS in self.stage.trains and "language_model" not in self.stage.trains:
            keep_old_words(self.accelerator.unwrap_model(model).model)
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the mean of each named term since the last log; what memory can be is given back."""
        machine.trim_memory()
        if "loss" in logs and self._num_terms:
            logs |= {name: float(total) / self._num_terms for name, total in self._terms.items()}
            self._terms.clear()
            self._num_terms = 0
        super().log(logs, start_time)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Write tied tensors twice: safetensors refuses to store one under two names."""
        if state_dict is None:
            state_dict = self.accelerator.get_state_dict(self.model)
        state = state_dict
        first = {tensor.data_ptr(): name for name, tensor in reversed(state.items())}
        owners = set(first.values())
        copies = {name: t if name in owners else t.clone() for name, t in state.items()}
        super()._save(output_dir, copies)

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


def build_optimizer(model: nn.Module, stage: Stage) -> torch.optim.Optimizer:
    """The optimiser of a stage over all parameters of `model` that learn."""
    if stage.muon_lr is None:
        return torch.optim.AdamW(adamw_groups(model, stage), lr=stage.lr, fused=True)
    matrices, others = split_parameters(model, getattr(model, "heads", None))
    return MuonAdamW(matrices, others, stage.muon_lr, stage.lr, stage.weight_decay)


def adamw_groups(model: nn.Module, stage: Stage) -> list[dict[str, Any]]:
    """What learns, by rate and by whether it decays: vectors do not."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            factors = [factor for word, factor in stage.lr_factors.items() if word in name]
            rate = stage.lr * math.prod(factors)
            groups[rate, stage.weight_decay if parameter.ndim > 1 else 0.0].append(parameter)
    return [
        {"params": parameters, "lr": rate, "weight_decay": decay}
        for (rate, decay), parameters in groups.items()
    ]


def training_arguments(stage: Stage, output: Path, **overrides: Any) -> TrainingArguments:
    """What `Trainer` needs to run a stage.

    Args:
        stage: sizes, rates and schedule.
        output: folder of the run.
        overrides: of single arguments.
    """
    schedule: dict[str, Any] = {"lr_scheduler_type": "cosine"}
    if stage.schedule == "flat":
        decay_steps = round(stage.steps * stage.decay_share)
        schedule = {
            "lr_scheduler_type": "warmup_stable_decay",
            "lr_scheduler_kwargs": {"num_decay_steps": decay_steps, "decay_type": "linear"},
        }
    arguments: dict[str, Any] = {
        "output_dir": str(output),
        "max_steps": stage.steps,
        "per_device_train_batch_size": stage.batch_size,
        "per_device_eval_batch_size": stage.batch_size,
        "gradient_accumulation_steps": stage.accumulation,
        "learning_rate": stage.lr,
        "warmup_steps": stage.warmup_steps,
        "max_grad_norm": stage.clip,
        "bf16": machine.trains_in_bf16(),
        "use_cpu": machine.resolve_device("auto") == "cpu",
        "seed": 0,
        "train_sampling_strategy": "sequential",
        "dataloader_num_workers": 1,
        "dataloader_prefetch_factor": 4,
        "dataloader_persistent_workers": True,
        "remove_unused_columns": False,
        "logging_steps": 20,
        "logging_first_step": True,
        "save_steps": 250,
        "save_total_limit": 3,
        "eval_strategy": "steps",
        "eval_steps": 250,
        "enable_jit_checkpoint": True,
        "report_to": "none",
        "disable_tqdm": False,
    }
    return TrainingArguments(**(arguments | schedule | overrides))
