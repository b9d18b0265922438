"""What one training stage is: what learns, on which losses, how fast (paper 3.3).

The stages themselves are data: the files in `configs`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from groma.model.groma import GromaForConditionalGeneration
from groma.types import GromaError

PARTS = ("image_encoder", "region_proposer", "projector", "region_encoder", "language_model")
NEW_TOKENS = "new_tokens"
"""Besides the parts: the language model's rows for `<r0>`, `<p>` and the like, it being frozen."""


@dataclass(frozen=True)
class Stage:
    """One stage of the training.

    Attributes:
        name: what the run and its folder are called.
        trains: what learns, of `PARTS` and `NEW_TOKENS`; all else is frozen.
        batch_size: samples per optimiser step on one device, before accumulation.
        steps: optimiser steps of the whole stage.
        lr: rate of AdamW.
        accumulation: batches per optimiser step.
        muon_lr: rate of Muon for hidden matrices, or None to train everything with AdamW.
        schedule: after the warm-up the rate is "flat" until the decay, or falls like a "cosine".
        warmup_steps: steps of the linear warm-up; below 1 it is their share of all steps.
        decay_share: last share of the steps, in which a flat rate falls linearly to zero.
        lr_factors: what AdamW's rate is multiplied by where a parameter's name holds the word.
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
    schedule: Literal["flat", "cosine"] = "flat"
    warmup_steps: float = 100
    decay_share: float = 0.3
    lr_factors: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.02
    clip: float = 5.0
    loss_weights: Mapping[str, float] = field(default_factory=dict)


def freeze_for(model: GromaForConditionalGeneration, stage: Stage) -> None:
    """Let the parts of a stage learn and freeze all others (paper 3.3).

    Raises:
        ValueError: if the stage names a part that does not exist.
        GromaError: if the visual parts are a convolutional detector's, which no stage trains.
    """
    if model.config.is_convolutional:
        raise GromaError(
            "No stage trains a model with a convolutional detector; `groma train lora` teaches it "
            "your pictures."
        )
    unknown = set(stage.trains) - {*PARTS, NEW_TOKENS}
    if unknown:
        raise ValueError(f"Stage {stage.name} trains {sorted(unknown)}, but parts are {PARTS}.")
    for name in PARTS:
        part: nn.Module = getattr(model, name)
        part.requires_grad_(name in stage.trains)
    if NEW_TOKENS in stage.trains:
        model.get_input_embeddings().requires_grad_(True)
        model.get_output_embeddings().requires_grad_(True)
    model.image_encoder.frozen = "image_encoder" not in stage.trains
    vit = model.image_encoder.vit
    vit.layernorm.requires_grad_(False)
    if vit.embeddings.mask_token is not None:
        vit.embeddings.mask_token.requires_grad_(False)


def keep_old_words(model: GromaForConditionalGeneration) -> None:
    """Drop the gradient of every word that the language model knew before (paper 3.2, 3.3)."""
    for embedding in (model.get_input_embeddings(), model.get_output_embeddings()):
        weight = embedding.weight
        assert isinstance(weight, nn.Parameter)
        if weight.grad is not None:
            weight.grad.mul_(_new_rows(weight.grad, model.tokens.base))


def _new_rows(gradient: Tensor, first: int) -> Tensor:
    """(V, 1) ones from row `first` on, zeros before, divided among processes as the gradient is."""
    rows = torch.arange(len(gradient), device=gradient.device)[:, None] >= first
    mask = rows.to(gradient.dtype)
    if isinstance(gradient, DTensor):
        return distribute_tensor(mask, gradient.device_mesh, gradient.placements)
    return mask
