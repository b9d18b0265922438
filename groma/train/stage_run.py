"""One run of a stage: data, objective, trainer, and the folder the next stage starts from.

A run's folder holds checkpoints, `log.jsonl`, `curves.png`, and at the end `model`: weights,
tokenizer, and for stages on scenes the symbolic region encoder that region tokens are aligned to.
"""

import logging
import math
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from accelerate import PartialState
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.utils.data import Dataset
from transformers import (
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_utils import get_last_checkpoint
from transformers.utils import SAFE_WEIGHTS_NAME

from groma import machine
from groma.data.batches import ExampleCollator, collate_detection
from groma.data.mixture import Mixture, read_mixture
from groma.dice import Split
from groma.model.groma import GromaForConditionalGeneration
from groma.model.region_code import RegionCode
from groma.text.template import Template
from groma.tokens import NEW_TOKENS, TokenIds
from groma.train import held_out, starting
from groma.train.configuration import Configuration, Scenes
from groma.train.objectives import grounded_conversations as instruction
from groma.train.objectives.class_agnostic_detection import (
    ClassAgnosticDetection,
    DetectionPretraining,
)
from groma.train.objectives.grounded_conversations import (
    ConversationCollator,
    GroundedConversations,
    SceneConversations,
)
from groma.train.stages import freeze_for
from groma.train.trainer import StageTrainer, training_arguments
from groma.types import GromaError
from recipes.scenes.objectives import detection_metrics, language_metrics
from recipes.scenes.objectives import symbolic_pretraining as symbolic
from recipes.scenes.objectives.looking import Looking, telling_tokens
from recipes.scenes.objectives.scene_samples import SceneSamples, collate
from recipes.scenes.objectives.seen_instruction import (
    SeenCollator,
    SeenConversations,
    SeenInstruction,
    SeenScenes,
)
from recipes.scenes.objectives.symbolic_pretraining import (
    SymbolicCollator,
    SymbolicConversations,
    SymbolicPretraining,
    SymbolicRegionEncoder,
)
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.symbols import SymbolicScenes

ENDLESS = 10_000_000
"""Scenes of one pass; no run reaches the end, so any run can be made longer."""

_INDEXING = timedelta(hours=24)
"""How long processes wait while one indexes public data: tens of millions of items take hours."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What the trainer of a stage needs, and what is kept of it.

    Attributes:
        objective: the module that computes the loss.
        model: what is written at the end.
        train: endless or as long as the stage.
        collator: makes batches.
        evaluated: unseen samples, or None for no evaluation.
        count: (objective, batch) -> counts of what is right.
        summarise: counts -> metrics.
        tokenizer: goes with the model.
        regions: symbolic region encoder that goes with it.
    """

    objective: nn.Module
    model: PreTrainedModel
    train: Dataset
    collator: Callable
    evaluated: Dataset | None = None
    count: Callable[[Any, dict], Tensor] | None = None
    summarise: Callable | None = None
    tokenizer: PreTrainedTokenizerBase | None = None
    regions: RegionCode | None = None


JobMaker = Callable[[Configuration, Mixture | None, int], Job]
"""From a configuration, public data and the number of processes to what is trained."""


def run_stage(
    configuration: Configuration,
    resume: bool = False,
    data: Path | None = None,
    jobs: Mapping[str, JobMaker] | None = None,
) -> Path:
    """Train a stage to its end.

    Args:
        configuration: of the stage.
        resume: go on where the run in this folder stands; if it is finished, do nothing.
        data: folder of public data, instead of the one that the configuration names.
        jobs: what makes the job of each stage, by default those of the paper and of scenes.

    Returns:
        The folder of the model.

    Raises:
        GromaError: if the folder holds a run that is not to be resumed, or a setting is wrong.
    """
    process = PartialState(cpu=machine.resolve_device("auto") == "cpu", timeout=_INDEXING)
    if not process.is_main_process:
        logging.getLogger("groma").setLevel(logging.WARNING)
    mixture = None
    if configuration.scenes is None:
        mixture = read_mixture(configuration.path, root=data)
        with process.main_process_first():
            mixture.prepare()
        configuration = with_steps(configuration, mixture, process.num_processes)
    stage, out = configuration.stage, configuration.out
    reached = where_it_stands(out)
    if reached is not None and not resume:
        raise GromaError(f"{out} holds a run already; --resume goes on with it.")
    if (out / "model").is_dir() and reached is not None and reached[0] >= stage.steps:
        logger.info("%s is finished: %s.", stage.name, out / "model")
        return out / "model"
    set_seed(configuration.run.seed)
    job = (jobs or JOBS)[stage.name](configuration, mixture, process.num_processes)
    trainer = make_trainer(job, configuration)
    if reached is not None and reached[0] >= stage.steps:
        job.objective.load_state_dict(load_file(reached[1] / SAFE_WEIGHTS_NAME))
    else:
        trainer.train(resume_from_checkpoint=None if reached is None else str(reached[1]))
        if trainer.state.global_step < stage.steps:
            raise GromaError(f"{stage.name} was broken off; --resume goes on with it.")
    leave_model(job, out / "model", trainer.is_world_process_zero())
    process.wait_for_everyone()
    logger.info("The model is in %s.", out / "model")
    return out / "model"


def with_steps(configuration: Configuration, mixture: Mixture, processes: int) -> Configuration:
    """Turn passes over public data into optimiser steps."""
    stage = configuration.stage
    if configuration.epochs is None:
        return configuration
    batches = configuration.epochs * batches_of_a_pass(configuration, mixture, processes)
    return replace(configuration, stage=replace(stage, steps=max(1, batches // stage.accumulation)))


def batches_of_a_pass(configuration: Configuration, mixture: Mixture, processes: int) -> int:
    """Batches that each process gets while public data is gone through once."""
    batch = configuration.stage.batch_size
    return len(mixture.order(batch, processes)) // (batch * processes)


def passes_of(configuration: Configuration, mixture: Mixture, processes: int) -> int:
    """How often public data is gone through."""
    if configuration.epochs is not None:
        return configuration.epochs
    batches = configuration.stage.steps * configuration.stage.accumulation
    return math.ceil(batches / batches_of_a_pass(configuration, mixture, processes))


def where_it_stands(out: Path) -> tuple[int, Path] | None:
    """Steps of a run's last checkpoint and its folder; None where there is no checkpoint."""
    last = get_last_checkpoint(str(out)) if out.is_dir() else None
    return None if last is None else (int(last.rpartition("-")[2]), Path(last))


def make_trainer(job: Job, configuration: Configuration) -> StageTrainer:
    """The trainer of a job."""
    return StageTrainer(
        configuration.stage,
        job.count,
        model=job.objective,
        args=arguments_of(configuration, evaluates=job.evaluated is not None),
        train_dataset=job.train,
        eval_dataset=job.evaluated,
        data_collator=job.collator,
        compute_metrics=job.summarise,
    )


def arguments_of(configuration: Configuration, evaluates: bool) -> TrainingArguments:
    """The trainer's arguments."""
    run = configuration.run
    loading: dict[str, Any] = {"dataloader_num_workers": run.workers}
    if run.workers == 0:
        loading |= {"dataloader_prefetch_factor": None, "dataloader_persistent_workers": False}
    return training_arguments(
        configuration.stage,
        configuration.out,
        save_steps=run.save_steps,
        eval_steps=run.eval_steps,
        eval_strategy="steps" if evaluates else "no",
        logging_steps=run.log_steps,
        activation_checkpointing=run.checkpointing,
        seed=run.seed,
        **loading,
    )


def leave_model(job: Job, folder: Path, writes: bool) -> None:
    """Write the folder the next stage starts from, all of it or nothing.

    Args:
        job: when trained.
        folder: replaced if it exists.
        writes: whether this process writes; with sharded weights all must take part.
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
    if job.regions is not None:
        save_file(job.regions.state_dict(), draft / starting.REGIONS_NAME)
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def detection_job(c: Configuration, mixture: Mixture | None, processes: int) -> Job:
    """Detection pretraining (paper 3.3, stage 1)."""
    model = starting.detector(c.model)
    freeze_for(model, c.stage)
    side, patch = model.config.image_size, model.config.vision_config.patch_size
    if mixture is not None:
        passes = passes_of(c, mixture, processes)
        samples = mixture.detection(side, c.stage.batch_size, processes, passes)
        job = Job(ClassAgnosticDetection(model), model, samples, collate_detection)
        if mixture.validation is None:
            return job
        unseen = mixture.validation.detection(side, c.stage.batch_size)
        return replace(
            job,
            evaluated=held_out.first(unseen, c.run.evaluated, c.stage.batch_size * processes),
            count=held_out.count_boxes,
            summarise=held_out.summarise_boxes,
        )
    assert c.scenes is not None
    regions = starting.words_for_regions(c.model)
    train, unseen = (SceneGenerator(s, c.scenes.seed, side) for s in ("train", "val"))
    return Job(
        DetectionPretraining(model, regions, c.stage.loss_weights),
        model,
        SceneSamples(train, ENDLESS, patch),
        collate,
        SceneSamples(unseen, c.scenes.evaluated, patch),
        detection_metrics.count,
        detection_metrics.summarise,
    )


def fuse(c: Configuration, words: LlamaForCausalLM) -> None:
    """Compile a language model in place, if the run says so and it can be done here."""
    if c.run.compile and machine.compiles():
        words.model.compile()


def teach_looking(
    c: Configuration, words: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> Looking | None:
    """What teaches the heads of a small language model where to look, if the stage weighs it."""
    if not c.stage.loss_weights.get("looking"):
        return None
    words.set_attn_implementation("eager")  # the only one that tells where it looks
    vocabulary = words.config.vocab_size
    tokens = TokenIds(vocabulary - len(NEW_TOKENS))
    return Looking(tokens, telling_tokens(tokenizer, vocabulary))


def symbolic_job(c: Configuration, mixture: Mixture | None, processes: int) -> Job:  # noqa: ARG001
    """Language pretraining on scenes without pictures."""
    scenes = _scenes_of(c)
    model, tokenizer = starting.language_model(c.model)
    looking = teach_looking(c, model, tokenizer)
    fuse(c, model)
    regions = starting.symbolic_regions(c.model, model, tokenizer)
    tokens = TokenIds(model.config.vocab_size - len(NEW_TOKENS))
    template = Template(tokenizer, tokens)
    train, unseen = (
        SymbolicConversations(
            SymbolicScenes(split, scenes.seed), template, length, c.run.limit, easy
        )
        for split, length, easy in (
            ("train", ENDLESS, scenes.easy),
            ("val", scenes.evaluated, 0),
        )
    )
    return Job(
        SymbolicPretraining(
            model, regions, tokens, looking, c.stage.loss_weights.get("looking", 0.0)
        ),
        model,
        train,
        SymbolicCollator(tokens),
        unseen,
        symbolic.count,
        language_metrics.summarise_answers,
        tokenizer,
        regions,
    )


def conversation_job(c: Configuration, mixture: Mixture | None, processes: int) -> Job:
    """Alignment pretraining or instruction finetuning (paper 3.3, stages 2 and 3)."""
    model, tokenizer = starting.whole_model(c.model)
    freeze_for(model, c.stage)
    fuse(c, model.language_model)
    if mixture is not None:
        template, side = Template(tokenizer, model.tokens), model.config.image_size
        batch, limit, passes = c.stage.batch_size, c.run.limit, passes_of(c, mixture, processes)
        samples = mixture.conversations(template, side, batch, processes, passes, limit)
        objective = GroundedConversations(model, None, c.stage.loss_weights)
        collator = ExampleCollator(model.tokens)
        job = Job(objective, model, samples, collator, tokenizer=tokenizer)
        if mixture.validation is None:
            return job
        unseen = mixture.validation.conversations(template, side, batch, limit=limit)
        return replace(
            job,
            evaluated=held_out.first(unseen, c.run.evaluated, batch * processes),
            count=held_out.count_words,
            summarise=held_out.summarise_words,
        )
    assert c.scenes is not None
    regions = starting.symbolic_regions(c.model, model.language_model, tokenizer)
    looking = teach_looking(c, model.language_model, tokenizer)
    if c.scenes.pictures:
        return seen_job(c, model, tokenizer, regions, looking)
    train, unseen = (
        _conversations(c, split, c.scenes.seed, model, tokenizer, length)
        for split, length in (("train", ENDLESS), ("val", c.scenes.evaluated))
    )
    return Job(
        GroundedConversations(model, regions, c.stage.loss_weights, looking),
        model,
        train,
        ConversationCollator(model.tokens),
        unseen,
        instruction.count,
        language_metrics.summarise_answers,
        tokenizer,
        regions,
    )


def seen_job(
    c: Configuration,
    model: GromaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    regions: SymbolicRegionEncoder,
    looking: Looking | None,
) -> Job:
    """Instruction finetuning of the language model alone, on pictures that are looked at once."""
    assert c.scenes is not None
    if c.stage.trains != ("language_model",):
        raise GromaError(
            f"{c.path}: [scenes] pictures are looked at once, so [stage] trains language_model "
            "alone."
        )
    counts: dict[Split, int] = {"train": c.scenes.pictures, "val": c.scenes.evaluated}
    seen = {
        split: SeenScenes(
            SceneGenerator(split, c.scenes.seed, model.config.image_size),
            c.out / "seen" / split,
            count,
        )
        for split, count in counts.items()
    }
    for pictures in seen.values():
        pictures.prepare(model.eval())
    template = Template(tokenizer, model.tokens)
    train, unseen = (
        SeenConversations(seen[split], template, length, c.run.limit)
        for split, length in (("train", ENDLESS), ("val", c.scenes.evaluated))
    )
    return Job(
        SeenInstruction(model, None, c.stage.loss_weights, looking),
        model,
        train,
        SeenCollator(model.tokens),
        unseen,
        instruction.count,
        language_metrics.summarise_answers,
        tokenizer,
        regions,
    )


JOBS: Mapping[str, JobMaker] = {
    "detection": detection_job,
    "symbolic": symbolic_job,
    "alignment": conversation_job,
    "reading": conversation_job,
    "instruction": conversation_job,
}
"""What makes the job of each stage, from its configuration, public data and process count."""


def _scenes_of(configuration: Configuration) -> Scenes:
    if configuration.scenes is None:
        raise GromaError(
            f"{configuration.path}: {configuration.stage.name} learns from [scenes] alone."
        )
    return configuration.scenes


def _conversations(
    c: Configuration,
    split: Split,
    seed: int,
    model: GromaForConditionalGeneration,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
) -> SceneConversations:
    scenes = SceneGenerator(split, seed, model.config.image_size)
    return SceneConversations(scenes, Template(tokenizer, model.tokens), length, c.run.limit)
