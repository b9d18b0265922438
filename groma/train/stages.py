"""The training stages as data: what learns, on which losses, how fast (paper 3.3)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from groma.model.groma import GromaForConditionalGeneration

PARTS = ("image_encoder", "region_proposer", "projector", "region_encoder", "language_model")


@dataclass(frozen=True)
class Stage:
    """One stage of the training.

    Attributes:
        name: what the run and its folder are called.
        trains: the parts that learn, of `PARTS`; all others are frozen.
        batch_size: samples per optimiser step on one device, before accumulation.
        accumulation: batches per optimiser step.
        steps: optimiser steps of the whole stage.
        warmup_steps: steps of the linear warm-up, after which the rate stays flat.
        decay_share: last share of the steps, in which the rate falls linearly to zero.
        lr: rate of AdamW.
        muon_lr: rate of Muon for hidden matrices, or None to train everything with AdamW.
        weight_decay: of all matrices.
        clip: largest norm of the gradient.
        loss_weights: weight of each named loss term of the stage's objective.
    """

    name: str
    trains: tuple[str, ...]
    batch_size: int
    steps: int
    lr: float
    accumulation: int = 1
    muon_lr: float | None = None
    warmup_steps: int = 100
    decay_share: float = 0.3
    weight_decay: float = 0.02
    clip: float = 5.0
    loss_weights: Mapping[str, float] = field(default_factory=dict)


DETECTION = Stage(
    name="detection",
    trains=("image_encoder", "region_proposer", "region_encoder"),
    batch_size=32,
    steps=3000,
    lr=1e-3,
    muon_lr=1.5e-3,
    loss_weights={
        "detection": 1.0,
        "patch_name": 1.0,
        "region_name": 1.0,
        "region_colour": 0.5,
        "region_box": 10.0,
        "query_name": 0.5,
    },
)
"""Detection pretraining of the embedded model from nothing on illustrated scenes.

The paper freezes a pretrained image encoder; here it learns along, taught names by side losses.
"""


SYMBOLIC = Stage(
    name="symbolic",
    trains=("language_model",),
    batch_size=16,
    steps=2500,
    lr=4e-4,
    warmup_steps=50,
    clip=1.0,
)
"""Language pretraining on scenes without pictures; the paper's larger language model needs none."""

REGIONS = Stage(
    name="regions",
    trains=("region_encoder",),
    batch_size=32,
    steps=1500,
    lr=1e-3,
    muon_lr=1e-3,
    clip=1.0,
    loss_weights={"region_token": 1.0, "region_name": 0.5},
)
"""The half of alignment pretraining that needs no language model, and so costs little."""

ALIGNMENT = Stage(
    name="alignment",
    trains=("projector", "region_encoder"),
    batch_size=16,
    steps=200,
    lr=5e-4,
    warmup_steps=20,
    clip=1.0,
    loss_weights={"language": 1.0, "region_token": 0.5, "region_name": 0.25},
)
"""Alignment pretraining: the language model is frozen (paper 3.3, stage 2)."""

INSTRUCTION = Stage(
    name="instruction",
    trains=("projector", "region_encoder", "language_model"),
    batch_size=16,
    steps=1500,
    lr=2e-4,
    warmup_steps=50,
    decay_share=0.5,
    clip=1.0,
    loss_weights={"language": 1.0, "region_token": 0.25, "region_name": 0.1},
)
"""Instruction finetuning: everything after the perceiver learns (paper 3.3, stage 3)."""

LANGUAGE_STAGES = {stage.name: stage for stage in (SYMBOLIC, REGIONS, ALIGNMENT, INSTRUCTION)}


def freeze_for(model: GromaForConditionalGeneration, stage: Stage) -> None:
    """Let the parts of a stage learn and freeze all others (paper 3.3).

    Raises:
        ValueError: if the stage names a part that does not exist.
    """
    unknown = set(stage.trains) - set(PARTS)
    if unknown:
        raise ValueError(f"Stage {stage.name} trains {sorted(unknown)}, but parts are {PARTS}.")
    for name in PARTS:
        part: nn.Module = getattr(model, name)
        part.requires_grad_(name in stage.trains)
    model.image_encoder.frozen = "image_encoder" not in stage.trains
    vit = model.image_encoder.vit
    vit.layernorm.requires_grad_(False)
    if vit.embeddings.mask_token is not None:
        vit.embeddings.mask_token.requires_grad_(False)
