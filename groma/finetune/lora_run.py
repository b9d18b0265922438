"""One run from its folder: load the base, train the adapter, write it down."""

import logging
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count as count_up
from math import ceil
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import TrainingArguments, set_seed

from groma import machine
from groma.chat.chat import Groma
from groma.checkpoint import load as loading
from groma.checkpoint.adapters import Fingerprint, add_lora, write_adapter
from groma.data.sample import GroundedSample
from groma.dice import Dice
from groma.embedded import standard_pictures
from groma.finetune.adapter_card import make_card, write_card
from groma.finetune.label_talks import LabelTalks, is_labelled
from groma.finetune.lora_examples import Collator, Lessons, Rounds, make_lessons, spell, split
from groma.finetune.lora_objective import AdapterObjective, count, summarise
from groma.finetune.lora_settings import LoraSettings
from groma.finetune.lora_trainer import AdapterTrainer
from groma.finetune.memory_estimate import kept_budget
from groma.finetune.name_teaching import teach_names
from groma.finetune.rehearsal import Knowledge, examine, rehearse
from groma.finetune.run_folder import RunFolder
from groma.finetune.scores import Score, measure, measure_standard
from groma.finetune.seen_pictures import TrainingVision
from groma.finetune.wording import Wording
from groma.loop.saved_checkpoints import last_checkpoint
from groma.model.groma import GromaForConditionalGeneration
from groma.model.quantization import set_cpu_packing
from groma.text.template import Template
from groma.types import GromaError

if TYPE_CHECKING:
    from peft import PeftModel

_LINES = 50
"""Lines of the log of a whole run, about."""
_CHECKPOINTS = 10
_MOST_MEASURED = 20
"""Held-out examples about which both are asked at the end."""

_OF_THE_CODE = ("pooled.weight", "code.features.weight")
"""What learns of a region encoder with a fixed code: how a thing looks, not what names are."""

_logger = logging.getLogger(__name__)


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
    members, held_out = (
        [samples[i] for i in part] for part in split(samples, settings.held_out, settings.seed)
    )
    looks = len(members) * settings.rehearsal + 2 * sum(map(is_labelled, members))
    stop = _noting(folder, looks, stop)
    wording, labelled = Wording.of(settings.model), list(filter(is_labelled, samples))
    knowledge = _ask_base(folder, groma, members, wording, stop)
    if knowledge is None:
        return False
    taught = {name for s in members if is_labelled(s) for name in s.names}
    new = taught - set(knowledge.known)
    talks = LabelTalks(wording, labelled, new)
    assert settings.epochs is not None
    parts = (members, held_out, knowledge.talks)
    lessons = make_lessons(*parts, talks, settings.epochs, settings.seed)
    shown = list(filter(is_labelled, members))
    unseen = [name for name in sorted(new) if sum(s.names.count(name) for s in shown) > 1]
    base = _adapt(groma, settings, unseen)
    if unseen and not teach_names(groma, shown, unseen, stop):
        return False
    trainer = _make_trainer(folder, base, lessons, stop)
    if stop():
        return False
    steps = trainer.args.max_steps
    if trainer.is_world_process_zero():
        folder.write_state("training", steps=steps)
    last = last_checkpoint(folder.path)
    trainer.args.eval_on_start = bool(held_out) and last is None
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
    done = trainer.state.global_step >= steps
    if done and trainer.is_world_process_zero():
        known = {name for sample in labelled for name in sample.names} - new
        with trainer.compute_loss_context_manager():  # what learns is in fp32, the rest need not be
            folder.keep_scores(_measure(groma, base, settings, held_out, talks, known))
        card = make_card(folder.path, samples, len(held_out), len(knowledge.talks), folder.scores)
        _write_down(folder, base, card)
    return done


def _measure(
    groma: Groma,
    base: _Base,
    settings: LoraSettings,
    held_out: Sequence[GroundedSample],
    talks: LabelTalks,
    known: Collection[str],
) -> list[Score]:
    """Right answers of base and adapter about what was held out, and on standard pictures."""
    dice = Dice(np.random.SeedSequence(settings.seed))
    asked = [
        talks.questions(sample, dice) if is_labelled(sample) else sample
        for sample in held_out[:_MOST_MEASURED]
    ]
    base.model.eval()
    without = base.adapted.disable_adapter
    scores = measure(groma, without, asked, known)
    if (pictures := standard_pictures(settings.model)) is not None:
        scores.append(measure_standard(groma, without, pictures))
    return scores


def _noting(folder: RunFolder, looks: int, stop: Callable[[], bool]) -> Callable[[], bool]:
    """`stop`, which is asked before each look at a picture, and notes how many there were."""
    looked = count_up()

    def asked() -> bool:
        if (number := next(looked)) <= looks and not _launched("RANK", 0):
            folder.note_looked(number, looks)
        return stop()

    return asked


def _load(settings: LoraSettings) -> Groma:
    device = settings.device
    if device == "auto" and torch.cuda.is_available():
        device = f"cuda:{_launched('LOCAL_RANK', 0)}"
    model, tokenizer = loading.load(
        settings.model, settings.quantization, device=device, dtype=settings.dtype
    )
    set_cpu_packing(model, allowed=False)
    return Groma(model, tokenizer)


def _ask_base(
    folder: RunFolder,
    groma: Groma,
    samples: Sequence[GroundedSample],
    wording: Wording,
    stop: Callable[[], bool],
) -> Knowledge | None:
    """What the base knows of the pictures, asked once by one process; None after `stop`."""
    settings, labelled = folder.settings, list(filter(is_labelled, samples))
    if not settings.rehearsal and not labelled:
        return Knowledge()
    if not _launched("RANK", 0) and folder.knowledge is None:
        asked = (wording, settings.seed, stop)
        rehearsed = rehearse(groma, samples, *asked) if settings.rehearsal else []
        known = examine(groma, labelled, *asked)
        if rehearsed is not None and known is not None:
            folder.keep_knowledge(Knowledge(rehearsed, known))
    while (knowledge := folder.knowledge) is None and not stop():
        time.sleep(0.1)
    return knowledge


def _adapt(groma: Groma, settings: LoraSettings, new: Sequence[str]) -> _Base:
    """Add to the base what will learn, and room for new names."""
    model = groma.model
    fingerprint = Fingerprint.of(model, Path(settings.model).name)
    assert settings.alpha is not None
    adapted = add_lora(model, settings.rank, settings.alpha, settings.dropout, settings.whole, new)
    if model.taught_names is not None:  # in closed form, not step by step
        model.taught_names.requires_grad_(False)
    if model.config.is_convolutional:
        for name, weight in model.region_encoder.named_parameters():
            weight.requires_grad_("modules_to_save" in name and name.endswith(_OF_THE_CODE))
    for weight in adapted.parameters():
        if weight.requires_grad:  # copies of whole parts too: 16 bit would lose small steps
            weight.data = weight.data.float()
    return _Base(adapted, model, groma.template, fingerprint)


def _make_trainer(
    folder: RunFolder, base: _Base, lessons: Lessons, stop: Callable[[], bool]
) -> AdapterTrainer:
    settings = folder.settings
    assert settings.epochs is not None
    conversations = spell(lessons.samples, base.template, settings.limit)
    per_step = settings.batch_size * settings.accumulation * _launched("WORLD_SIZE", 1)
    steps = max(1, ceil(settings.epochs * len(lessons.rounds[0]) / per_step))
    vision = TrainingVision(
        base.model,
        conversations.shown,
        bool(settings.whole),
        kept_budget(),
        settings.variation,
        settings.seed,
    )
    measured = Rounds(conversations, [lessons.measured], len(lessons.measured))
    return AdapterTrainer(
        base.adapted,
        base.fingerprint,
        stop,
        count=count,
        model=AdapterObjective(base.model, vision, lessons.rehearsed, base.adapted.disable_adapter),
        args=_arguments(folder, steps, base.model.dtype, bool(lessons.measured)),
        train_dataset=Rounds(conversations, lessons.rounds, steps * per_step, settings.seed),
        eval_dataset=measured if lessons.measured else None,
        data_collator=Collator(base.model.tokens),
        compute_metrics=summarise,
    )


def _launched(name: str, alone: int) -> int:
    """What `accelerate launch` tells each of its processes; another value where there is one."""
    return int(os.environ.get(name, alone))


def _arguments(
    folder: RunFolder, steps: int, dtype: torch.dtype, measures: bool
) -> TrainingArguments:
    """Few steps, everything logged, no loader processes; AdamW without decay."""
    settings = folder.settings
    every = max(1, steps // _LINES)
    on_cpu = machine.resolve_device(settings.device) == "cpu"
    assert settings.lr is not None
    arguments = TrainingArguments(
        output_dir=str(folder.path),
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.accumulation,
        learning_rate=settings.lr,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        max_grad_norm=1.0,
        use_cpu=on_cpu,
        bf16=dtype is torch.bfloat16,
        fp16=dtype is torch.float16 and not on_cpu,
        seed=settings.seed,
        train_sampling_strategy="sequential",
        remove_unused_columns=False,
        activation_checkpointing=bool(settings.checkpointing),
        ddp_find_unused_parameters=False,
        logging_steps=every,
        logging_first_step=True,
        save_steps=every * ceil(steps / _CHECKPOINTS / every),
        save_total_limit=2,
        eval_strategy="steps" if measures else "no",
        eval_steps=every * ceil(steps / _CHECKPOINTS / every),
        load_best_model_at_end=measures,
        greater_is_better=False,
        report_to="none",
        disable_tqdm=True,
    )
    arguments._n_gpu = min(1, arguments.n_gpu)  # several GPUs are for several processes
    return arguments


def _write_down(folder: RunFolder, base: _Base, card: dict[str, Any]) -> None:
    """Write the adapter with its card; it appears in its folder when it is complete."""
    draft = folder.path / f"{folder.adapter.name}.draft"
    shutil.rmtree(draft, ignore_errors=True)
    write_adapter(base.adapted, draft, base.fingerprint, card)
    write_card(draft, folder.settings, card)
    shutil.rmtree(folder.adapter, ignore_errors=True)
    draft.rename(folder.adapter)
    _logger.info("The adapter is in %s.", folder.adapter)
