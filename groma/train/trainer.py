"""The loop of every stage: a logged trainer with our optimiser."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import TrainingArguments

from groma import machine
from groma.loop.logged_trainer import LoggedTrainer
from groma.train.configuration import Run
from groma.train.optimizer import MuonAdamW, split_parameters
from groma.train.stages import NEW_TOKENS, Stage, keep_old_words


class StageTrainer(LoggedTrainer):
    """Runs one stage: an objective module, a dataset and its collator."""

    def __init__(self, stage: Stage, *args: Any, **kwargs: Any) -> None:
        """Arguments as in `LoggedTrainer`, after the stage with its rates and clip."""
        self.stage = stage
        super().__init__(*args, **kwargs)

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Muon and AdamW, or AdamW alone, as the stage says."""
        if self.optimizer is None:
            target = self.model if model is None else model
            assert target is not None
            self.optimizer = build_optimizer(target, self.stage)
        return self.optimizer

    def training_step(self, model: nn.Module, *arguments: Any, **options: Any) -> Tensor:
        """Forward and backward; a frozen language model keeps the words it has."""
        loss = super().training_step(model, *arguments, **options)
        if NEW_TOKENS in self.stage.trains and "language_model" not in self.stage.trains:
            keep_old_words(self.accelerator.unwrap_model(model).model)
        return loss

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        """Write tied tensors twice: safetensors refuses to store one under two names."""
        state = state_dict
        if state is None:
            state = self.accelerator.get_state_dict(self.model)
        first = {tensor.data_ptr(): name for name, tensor in reversed(state.items())}
        owners = set(first.values())
        copies = {name: t if name in owners else t.clone() for name, t in state.items()}
        super()._save(output_dir, copies)


def build_optimizer(model: nn.Module, stage: Stage) -> torch.optim.Optimizer:
    """The optimiser of a stage over all parameters of `model` that learn."""
    if stage.muon_lr is None:
        return torch.optim.AdamW(_adamw_groups(model, stage), lr=stage.lr, fused=True)
    matrices, others = split_parameters(model, getattr(model, "heads", None))
    return MuonAdamW(matrices, others, stage.muon_lr, stage.lr, stage.weight_decay)


def _adamw_groups(model: nn.Module, stage: Stage) -> list[dict[str, Any]]:
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


def training_arguments(stage: Stage, output: Path, run: Run, **overrides: Any) -> TrainingArguments:
    """What `Trainer` needs to run a stage in the folder `output`, but for single overrides."""
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
        "activation_checkpointing": run.checkpointing,
        "seed": run.seed,
        "train_sampling_strategy": "sequential",
        "dataloader_num_workers": run.workers,
        "dataloader_prefetch_factor": 4 if run.workers else None,
        "dataloader_persistent_workers": run.workers > 0,
        "remove_unused_columns": False,
        "logging_steps": run.log_steps,
        "logging_first_step": True,
        "save_steps": run.save_steps,
        "save_total_limit": 3,
        "eval_strategy": "steps",
        "eval_steps": run.eval_steps,
        "enable_jit_checkpoint": True,
        "report_to": "none",
        "disable_tqdm": False,
    }
    return TrainingArguments(**(arguments | schedule | overrides))
