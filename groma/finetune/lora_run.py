"""One run from its folder: load the base, train the adapter, write it down."""

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from transformers import set_seed

from groma import machine
from groma.chat.chat import Groma
from groma.checkpoint import load as loading
from groma.checkpoint.adapters import Fingerprint, add_lora, write_adapter
from groma.data.sample import GroundedSample
from groma.finetune.adapter_card import count_data, read_figures, write_card
from groma.finetune.lora_examples import Collator, Conversations, Rounds, spell, split
from groma.finetune.lora_objective import AdapterObjective, count, summarise
from groma.finetune.lora_settings import LoraSettings
from groma.finetune.lora_trainer import AdapterTrainer, StopWhenAsked, last_checkpoint
from groma.finetune.memory_estimate import kept_budget
from groma.finetune.rehearsal import rehearse
from groma.finetune.run_folder import RunFolder
from groma.finetune.seen_pictures import TrainingVision
from groma.model.groma import GromaForConditionalGeneration
from groma.model.quantization import set_cpu_packing
from groma.text.template import Template
from groma.train.stages import Stage
from groma.train.trainer import training_arguments
from groma.types import GromaError

if TYPE_CHECKING:
    from peft import PeftModel

_LINES = 50
"""Lines of the log of a whole run, about."""
_CHECKPOINTS = 10
_MEASUREMENTS = 10

logger = logging.getLogger(__name__)


def train(folder: RunFolder, stop: Callable[[], bool] = lambda: False) -> bool:
    """Train a run to its end, from its last checkpoint if there is one.

    Args:
        folder: from `prepare`.
        stop: asked now and then whether to stop where the run can be resumed.

    Returns:
        Whether the end was reached; then the folder holds the adapter.

    Raises:
        GromaError: if another process trains in the folder, or a file cannot be used.
    """
    if _launched("RANK", 0):
        return _train(folder, stop)
    with folder.occupied():
        folder.write_state("starting")
        try:
            done = _train(folder, stop)
        except KeyboardInterrupt:
            folder.write_state("cancelled")
            raise
        except torch.OutOfMemoryError as error:
            message = "The GPU's memory is full; a base in 4 bit or a batch of 1 needs less."
            folder.write_state("failed", message)
            raise GromaError(message) from error
        except Exception as error:
            folder.write_state("failed", str(error) or repr(error))
            raise
        folder.write_state("done" if done else "cancelled")
    return done


@contextmanager
def stop_on_signals() -> Generator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed or the process was asked to end; a second time ends it at once.

    Yields:
        What `train` takes as `stop`.
    """
    asked = threading.Event()

    def ask(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, ask) for number in numbers]
    try:
        yield asked.is_set
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@dataclass(frozen=True)
class _Base:
    """A loaded base with new matrices to learn."""

    adapted: "PeftModel"
    model: GromaForConditionalGeneration
    template: Template
    fingerprint: Fingerprint


def _train(folder: RunFolder, stop: Callable[[], bool]) -> bool:
    settings, samples = folder.settings, folder.samples
    set_seed(settings.seed)
    groma = _load(settings)
    members, held_out = split(samples, settings.held_out, settings.seed)
    rehearsal = _rehearse(folder, groma, [samples[i] for i in members], stop)
    if rehearsal is None:
        return False
    members = [*members, *range(len(samples), len(samples) + len(rehearsal))]
    base = _adapt(groma, settings)
    conversations = spell([*samples, *rehearsal], base.template, settings.limit)
    trainer = _make_trainer(folder, settings, base, conversations, (members, held_out))
    trainer.add_callback(StopWhenAsked(stop))
    if stop():
        return False
    if trainer.is_world_process_zero():
        folder.write_state("training", steps=trainer.stage.steps)
    checkpoint = last_checkpoint(folder.path)
    trainer.args.eval_on_start = bool(held_out) and checkpoint is None
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    done = trainer.state.global_step >= trainer.stage.steps
    if done and trainer.is_world_process_zero():
        data = count_data(samples, held_out) | {"rehearsed talks": len(rehearsal)}
        _write_down(folder, settings, base, data)
    return done


def _load(settings: LoraSettings) -> Groma:
    device = settings.device
    if device == "auto" and torch.cuda.is_available():
        device = f"cuda:{_launched('LOCAL_RANK', 0)}"
    model, tokenizer = loading.load(
        settings.model, settings.quantization, device=device, dtype=settings.dtype
    )
    set_cpu_packing(model, allowed=False)
    return Groma(model, tokenizer)


def _rehearse(
    folder: RunFolder, groma: Groma, samples: Sequence[GroundedSample], stop: Callable[[], bool]
) -> list[GroundedSample] | None:
    """What the base says of the pictures, asked once in a run by one process; None after `stop`."""
    settings = folder.settings
    if not settings.rehearsal:
        return []
    if not _launched("RANK", 0) and folder.rehearsal is None:
        asked = rehearse(groma, samples, settings.seed, stop)
        if asked is not None:
            folder.keep_rehearsal(asked)
    while (talks := folder.rehearsal) is None and not stop():
        time.sleep(0.1)
    return talks


def _adapt(groma: Groma, settings: LoraSettings) -> _Base:
    """Add to the base what will learn."""
    model = groma.model
    fingerprint = Fingerprint.of(model, Path(settings.model).name)
    assert settings.alpha is not None
    adapted = add_lora(model, settings.rank, settings.alpha, settings.dropout, settings.whole)
    for weight in adapted.parameters():
        if weight.requires_grad:  # copies of whole parts too: 16 bit would lose small steps
            weight.data = weight.data.float()
    return _Base(adapted, model, groma.template, fingerprint)


def _make_trainer(
    folder: RunFolder,
    settings: LoraSettings,
    base: _Base,
    conversations: Conversations,
    parts: tuple[list[int], list[int]],
) -> AdapterTrainer:
    members, held_out = parts
    stage = _stage(settings, len(members))
    vision = TrainingVision(
        base.model,
        conversations.shown,
        bool(settings.whole),
        kept_budget(),
        settings.variation,
        settings.seed,
    )
    arguments = training_arguments(
        stage, folder.path, **_arguments(settings, stage, base.model.dtype, bool(held_out))
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # several GPUs are for several processes
    return AdapterTrainer(
        base.adapted,
        base.fingerprint,
        stage=stage,
        count=count,
        model=AdapterObjective(base.model, vision),
        args=arguments,
        train_dataset=Rounds(
            conversations, members, stage.steps * _per_step(settings), settings.seed
        ),
        eval_dataset=Rounds(conversations, held_out, len(held_out)) if held_out else None,
        data_collator=Collator(base.model.tokens),
        compute_metrics=summarise,
    )


def _per_step(settings: LoraSettings) -> int:
    """Examples of one step, on all devices."""
    return settings.batch_size * settings.accumulation * _launched("WORLD_SIZE", 1)


def _launched(name: str, alone: int) -> int:
    """What `accelerate launch` tells each of its processes; another value where there is one."""
    return int(os.environ.get(name, alone))


def _stage(settings: LoraSettings, examples: int) -> Stage:
    assert settings.epochs is not None and settings.lr is not None
    return Stage(
        name="lora",
        trains=(),
        batch_size=settings.batch_size,
        accumulation=settings.accumulation,
        steps=max(1, ceil(settings.epochs * examples / _per_step(settings))),
        lr=settings.lr,
        schedule="cosine",
        warmup_steps=0.05,
        weight_decay=0.0,
        clip=1.0,
    )


def _arguments(
    settings: LoraSettings, stage: Stage, dtype: torch.dtype, measures: bool
) -> dict[str, Any]:
    """What differs from the long stages: few steps, no loader processes, everything logged."""
    every = max(1, stage.steps // _LINES)
    on_cpu = machine.resolve_device(settings.device) == "cpu"
    return {
        "use_cpu": on_cpu,
        "bf16": dtype is torch.bfloat16,
        "fp16": dtype is torch.float16 and not on_cpu,
        "seed": settings.seed,
        "activation_checkpointing": bool(settings.checkpointing),
        "ddp_find_unused_parameters": False,
        "dataloader_num_workers": 0,
        "dataloader_prefetch_factor": None,
        "dataloader_persistent_workers": False,
        "logging_steps": every,
        "save_steps": every * ceil(stage.steps / _CHECKPOINTS / every),
        "save_total_limit": 2,
        "eval_strategy": "steps" if measures else "no",
        "eval_steps": every * ceil(stage.steps / _MEASUREMENTS / every),
        "enable_jit_checkpoint": False,
        "disable_tqdm": True,
    }


def _write_down(
    folder: RunFolder, settings: LoraSettings, base: _Base, data: dict[str, int]
) -> None:
    """Write the adapter with its card; it appears in its folder when it is complete."""
    figures = read_figures(folder.path)
    draft = folder.path / f"{folder.adapter.name}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    card = {"name": folder.name, "data": data, "figures": figures}
    write_adapter(base.adapted, draft, base.fingerprint, card)
    write_card(draft, folder.name, settings, data, figures)
    shutil.rmtree(folder.adapter, ignore_errors=True)
    draft.rename(folder.adapter)
    logger.info("The adapter is in %s.", folder.adapter)
