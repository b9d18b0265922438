"""One run of a stage: data, objective, trainer, and the folder the next stage starts from.

A run's folder holds checkpoints, `log.jsonl`, `curves.png`, and at the end `model`: weights,
tokenizer, and what else a recipe's job puts beside them.
"""

import logging
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from accelerate import PartialState
from safetensors.torch import load_file, save_file
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import set_seed
from transformers.utils import SAFE_WEIGHTS_NAME

from groma import machine
from groma.data.mixture import Mixture
from groma.loop.saved_checkpoints import all_checkpoints, last_checkpoint, step_of
from groma.train.configuration import Configuration
from groma.train.paper_jobs import PAPER_JOBS, Job, JobMaker, batches_of_a_pass
from groma.train.trainer import StageTrainer, training_arguments
from groma.types import GromaError

_INDEXING = timedelta(hours=24)
"""How long processes wait while one indexes public data: tens of millions of items take hours."""

logger = logging.getLogger(__name__)


def run_stage(
    configuration: Configuration,
    mixture: Mixture | None = None,
    resume: bool = False,
    jobs: Mapping[str, JobMaker] = PAPER_JOBS,
) -> Path:
    """Train a stage to its end, and return the folder of the model.

    `mixture` is public data, where the stage learns from it; `resume` goes on where the run in this
    folder stands, and does nothing if it is finished; `jobs` make the job of each stage: a recipe
    adds its own. Raises `GromaError` if the folder holds a run that is not to be resumed, or a
    setting is wrong.
    """
    process = PartialState(cpu=machine.resolve_device("auto") == "cpu", timeout=_INDEXING)
    if not process.is_main_process:
        logging.getLogger("groma").setLevel(logging.WARNING)
    if mixture is not None:
        with process.main_process_first():
            mixture.prepare()
        configuration = _with_steps(configuration, mixture, process.num_processes)
    stage, out = configuration.stage, configuration.out
    if all_checkpoints(out) and not resume:
        raise GromaError(f"{out} holds a run already; --resume goes on with it.")
    reached = _where_it_stands(out)
    if (out / "model").is_dir() and reached is not None and reached[0] >= stage.steps:
        logger.info("%s is finished: %s.", stage.name, out / "model")
        return out / "model"
    set_seed(configuration.run.seed)
    job = jobs[stage.name](configuration, mixture, process.num_processes)
    trainer = _make_trainer(job, configuration)
    if reached is not None and reached[0] >= stage.steps:
        job.objective.load_state_dict(load_file(reached[1] / SAFE_WEIGHTS_NAME))
    else:
        trainer.train(resume_from_checkpoint=None if reached is None else str(reached[1]))
        if trainer.state.global_step < stage.steps:
            raise GromaError(f"{stage.name} was broken off; --resume goes on with it.")
    _leave_model(job, out / "model", trainer.is_world_process_zero())
    process.wait_for_everyone()
    logger.info("The model is in %s.", out / "model")
    return out / "model"


def _with_steps(configuration: Configuration, mixture: Mixture, processes: int) -> Configuration:
    """Turn passes over public data into optimiser steps."""
    stage = configuration.stage
    if stage.epochs is None:
        return configuration
    batches = stage.epochs * batches_of_a_pass(configuration, mixture, processes)
    steps = max(1, batches // stage.accumulation)
    return replace(configuration, stage=replace(stage, steps=steps, epochs=None))


def _where_it_stands(out: Path) -> tuple[int, Path] | None:
    """Steps of a run's last whole checkpoint and its folder; None where there is none."""
    last = last_checkpoint(out)
    return None if last is None else (step_of(last), last)


def _make_trainer(job: Job, configuration: Configuration) -> StageTrainer:
    """The trainer of a job."""
    stage, out, run = configuration.stage, configuration.out, configuration.run
    evaluates = "no" if job.evaluated is None else "steps"
    return StageTrainer(
        stage,
        job.count,
        model=job.objective,
        args=training_arguments(stage, out, run, eval_strategy=evaluates),
        train_dataset=job.train,
        eval_dataset=job.evaluated,
        data_collator=job.collator,
        compute_metrics=job.summarise,
    )


def _leave_model(job: Job, folder: Path, writes: bool) -> None:
    """Write the folder the next stage starts from, all of it or nothing; one there is replaced.

    Not every process writes, but with sharded weights all must take part.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(job.model, options=options)
    if not writes:
        return
    for copy in job.model.all_tied_weights_keys:  # gathered from processes, they share no memory
        state.pop(copy, None)
    draft = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    job.model.save_pretrained(draft, state_dict=state)
    if job.tokenizer is not None:
        job.tokenizer.save_pretrained(draft)
    for name, module in job.beside.items():
        save_file(module.state_dict(), draft / name)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
