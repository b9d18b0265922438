"""What one training stage is: what learns, on which losses, how fast (paper 3.3).

The stages themselves are data: the files in `configs`.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Literal, Self

import torch
from pydantic import ConfigDict, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from groma.model.groma import GromaForConditionalGeneration
from groma.types import GromaError

PARTS = ("image_encoder", "region_proposer", "projector", "region_encoder", "language_model")
NEW_TOKENS = "new_tokens"
"""Besides the parts: the language model's rows for `<r0>`, `<p>` and the like, it being frozen."""

TABLE = ConfigDict(extra="forbid", strict=True)
"""How tables of a configuration are checked: nothing unknown, nothing converted."""


@dataclass(frozen=True, config=TABLE)
class Stage:
    """One stage of the training.

    A stage that cannot be is refused: `ValidationError` is a `ValueError`.
    """

    name: str  # what the run and its folder are called
    trains: tuple[str, ...]  # what learns, of `PARTS` and `NEW_TOKENS`; all else is frozen
    batch_size: int  # samples per optimiser step on one device, before accumulation
    lr: float  # rate of AdamW
    steps: int = 0  # optimiser steps of the whole stage; 0 if `epochs` are given
    epochs: int | None = None  # passes over the data, for data that ends
    accumulation: int = 1  # batches per optimiser step
    # Rate of Muon for hidden matrices, or None to train everything with AdamW.
    muon_lr: float | None = None
    # After the warm-up the rate is "flat" until the decay, or falls like a "cosine".
    schedule: Literal["flat", "cosine"] = "flat"
    warmup_steps: float = 100  # steps of the linear warm-up; below 1 it is their share of all steps
    decay_share: float = 0.3  # last share of the steps, in which a flat rate falls linearly to zero
    # What AdamW's rate is multiplied by where a parameter's name holds the word.
    lr_factors: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.02  # of all matrices
    clip: float = 5.0  # largest norm of the gradient
    # Weight of each named loss term of the stage's objective.
    loss_weights: Mapping[str, float] = field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> Self:
        unknown = [name for name in self.trains if name not in (*PARTS, NEW_TOKENS)]
        if unknown:
            raise ValueError(
                f"trains {unknown[0]!r}, but only {', '.join(PARTS)} and {NEW_TOKENS} can be "
                "trained."
            )
        if min(self.batch_size, self.accumulation) < 1 or self.steps < 0:
            raise ValueError("batch_size and accumulation are at least 1, steps at least 0.")
        if (self.epochs is None) == (self.steps == 0):
            raise ValueError("needs either steps or epochs.")
        if NEW_TOKENS in self.trains and self.weight_decay:
            raise ValueError(
                f"training {NEW_TOKENS} alone needs weight_decay = 0, which would wear the other "
                "words away."
            )
        return self


def freeze_for(model: GromaForConditionalGeneration, stage: Stage) -> None:
    """Let the parts of a stage learn and freeze all others (paper 3.3).

    Raises `GromaError` if the visual parts are a convolutional detector's, which no stage trains.
    """
    if model.config.is_convolutional:
        raise GromaError(
            "No stage trains a model with a convolutional detector; `groma train lora` teaches it "
            "your pictures."
        )
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
