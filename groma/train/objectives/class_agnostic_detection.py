"""Detection pretraining on public data: the set prediction loss (paper 3.3)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from groma.image import normalise_pixels
from groma.loop.parallel import share_of
from groma.model.detection_loss import detection_loss
from groma.model.groma import GromaForConditionalGeneration


class ClassAgnosticDetection(nn.Module):
    """Image encoder and region proposer on public data, whose boxes need no names (paper 3.3)."""

    main_input_name = "pixels"
    _no_split_modules = ("Dinov2Layer",)  # FSDP gathers them one by one

    def __init__(self, model: GromaForConditionalGeneration) -> None:
        """Take the visual parts of a model, frozen as the stage says; trained in place."""
        super().__init__()
        self.config = model.config
        self.image_encoder = model.image_encoder
        self.region_proposer = model.region_proposer

    def activation_checkpointing_enable(self, **kwargs: Any) -> None:
        """Recompute the image encoder's blocks in the backward pass."""
        self.image_encoder.vit.activation_checkpointing_enable(**kwargs)

    def forward(self, pixels: Tensor, boxes: Sequence[Tensor], head: str) -> dict[str, Tensor]:
        """Compute the loss of a batch of `collate_detection`.

        `pixels` are (B, 3, S, S) uint8, `boxes` B tensors (R, 4) xyxy in [0, 1], and `head` is that
        of the objectness which they train. Returns `loss`, the weighted total, and the unweighted
        terms of the last decoder layer.
        """
        output = self.region_proposer(self.image_encoder(normalise_pixels(pixels)))
        with torch.autocast(pixels.device.type, enabled=False):
            total, terms = detection_loss(output, boxes, head, self.config.proposer_config)
        if self.training:
            total = share_of(total, max(1, sum(map(len, boxes))))
            # A head that no data have taught yet learns nothing, but has its place in a checkpoint.
            total = total + 0.0 * sum(logits.sum() for logits in output.logits.values())
        last = {name: terms[name] for name in ("loss_ce", "loss_bbox", "loss_giou")}
        return {"loss": total} | last
