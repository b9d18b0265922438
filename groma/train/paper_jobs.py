"""What each of the paper's three stages trains, and on what: public data (paper 3.3)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase

from groma import machine
from groma.data.batches import ExampleCollator, collate_detection
from groma.data.mixture import Mixture
from groma.text.template import Template
from groma.train import held_out, starting
from groma.train.configuration import Configuration
from groma.train.objectives.class_agnostic_detection import ClassAgnosticDetection
from groma.train.objectives.grounded_conversations import GroundedConversations
from groma.train.stages import freeze_for
from groma.types import GromaError


@dataclass(frozen=True)
class Job:
    """What the trainer of a stage needs, and what is kept of it."""

    objective: nn.Module  # the module that computes the loss
    model: PreTrainedModel  # what is written at the end
    train: Dataset  # endless or as long as the stage
    collator: Callable  # makes batches
    evaluated: Dataset | None = None  # unseen samples, or None for no evaluation
    # (objective, batch) -> counts of what is right.
    count: Callable[[Any, dict], Tensor] | None = None
    summarise: Callable | None = None  # counts -> metrics
    tokenizer: PreTrainedTokenizerBase | None = None  # goes with the model
    # Modules that go with it, by the names of their files.
    beside: Mapping[str, nn.Module] = field(default_factory=dict)


JobMaker = Callable[[Any, Mixture | None, int], Job]
"""From a configuration, public data and the number of processes to what is trained."""


def batches_of_a_pass(configuration: Configuration, mixture: Mixture, processes: int) -> int:
    """Batches that each process gets while public data is gone through once."""
    batch = configuration.stage.batch_size
    return len(mixture.order(batch, processes)) // (batch * processes)


def detection_job(c: Configuration, mixture: Mixture | None, processes: int) -> Job:
    """Detection pretraining (paper 3.3, stage 1)."""
    mixture, passes = _data(c, mixture, processes)
    model = starting.detector(c.model)
    freeze_for(model, c.stage)
    side, batch = model.config.image_size, c.stage.batch_size
    validation = mixture.validation
    unseen = None if validation is None else validation.detection(side, batch)
    return Job(
        ClassAgnosticDetection(model),
        model,
        mixture.detection(side, batch, processes, passes),
        collate_detection,
        held_out.first(unseen, c.run.evaluated, batch * processes),
        held_out.count_boxes,
        held_out.summarise_boxes,
    )


def conversation_job(c: Configuration, mixture: Mixture | None, processes: int) -> Job:
    """Alignment pretraining or instruction finetuning (paper 3.3, stages 2 and 3)."""
    mixture, passes = _data(c, mixture, processes)
    model, tokenizer = starting.whole_model(c.model)
    freeze_for(model, c.stage)
    fuse(c, model.language_model)
    template, side = Template(tokenizer, model.tokens), model.config.image_size
    batch, limit = c.stage.batch_size, c.run.limit
    validation = mixture.validation
    unseen = None
    if validation is not None:
        unseen = validation.conversations(template, side, batch, limit=limit)
    return Job(
        GroundedConversations(model, c.stage.loss_weights),
        model,
        mixture.conversations(template, side, batch, processes, passes, limit),
        ExampleCollator(model.tokens),
        held_out.first(unseen, c.run.evaluated, batch * processes),
        held_out.count_words,
        held_out.summarise_words,
        tokenizer,
    )


def fuse(c: Configuration, words: LlamaForCausalLM) -> None:
    """Compile a language model in place, if the run says so and it can be done here."""
    if c.run.compile and machine.compiles():
        words.model.compile()


def _data(c: Configuration, mixture: Mixture | None, processes: int) -> tuple[Mixture, int]:
    """Public data, and how often it is gone through."""
    if mixture is None:
        raise GromaError(f"{c.stage.name} learns from public data.")
    batches = c.stage.steps * c.stage.accumulation
    return mixture, math.ceil(batches / batches_of_a_pass(c, mixture, processes))


PAPER_JOBS: Mapping[str, JobMaker] = {
    "detection": detection_job,
    "alignment": conversation_job,
    "instruction": conversation_job,
}
"""What makes the job of each stage."""
