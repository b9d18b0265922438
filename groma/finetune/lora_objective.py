"""The loss an adapter is trained on: the next word of an answer (paper 3.3, stage 3)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import EvalPrediction

from groma.finetune.seen_pictures import TrainingVision
from groma.loop.parallel import share_of
from groma.model.groma import GromaForConditionalGeneration
from groma.model.splice import match_boxes
from groma.model.training_forward import GromaOutput, TrainingPicture
from groma.types import IGNORED, Regions

_MOST_LEFT_OUT = 0.7
"""Share of the regions that nothing means."""


class AdapterObjective(nn.Module):
    """A model with an adapter that reads conversations about pictures seen before.

    Args:
        model: with the adapter.
        vision: of the training set.

    Attributes:
        varies: whether training leaves regions out and names the others at random; runs that are
            compared with one another do neither.
    """

    main_input_name = "input_ids"
    varies = True

    def __init__(self, model: GromaForConditionalGeneration, vision: TrainingVision) -> None:
        super().__init__()
        self.model = model
        self.vision = vision

    def train(self, mode: bool = True) -> Self:
        """Visual parts stay in eval mode: what they see is kept, and none has dropout."""
        super().train(mode)
        self.model.image_encoder.eval()
        self.model.region_proposer.eval()
        self.model.region_encoder.eval()
        return self

    def activation_checkpointing_enable(self, **kwargs: Any) -> None:
        """Recompute the language model's layers in the backward pass."""
        self.model.language_model.activation_checkpointing_enable(**kwargs)

    def forward(
        self, indices: Tensor, readings: Tensor, input_ids: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """Loss of a batch.

        Args:
            indices: (B,) of the conversations.
            readings: (B,) how many were read before each.
            input_ids: (B, T) with placeholders.
            labels: (B, T), -100 where nothing is supervised.

        Returns:
            `loss`, and `tokens`, how many the language model read.
        """
        output = self.read(indices, readings, input_ids, labels)
        assert output.loss is not None and output.labels is not None
        loss = share_of(output.loss, (labels[:, 1:] != IGNORED).sum())
        return {"loss": loss, "tokens": torch.tensor(float(output.labels.numel()))}

    def read(
        self, indices: Tensor, readings: Tensor, input_ids: Tensor, labels: Tensor
    ) -> GromaOutput:
        """The model's own output.

        In training, pictures vary, some regions are left out, and the others are named at random
        where their order has no meaning; else all is as in a chat.
        """
        times = readings.tolist() if self.training else [None] * len(readings)
        pictures = [
            self.vision.encode(i, time) for i, time in zip(indices.tolist(), times, strict=True)
        ]
        varies = self.training and self.varies
        if varies:
            pictures = [_leave_out_some(picture) for picture in pictures]
        return self.model(input_ids, pictures, labels=labels, shuffle_regions=varies)


def _leave_out_some(picture: TrainingPicture) -> TrainingPicture:
    """A picture without some of the regions that nothing means: those left must be looked at.

    A few pictures, seen again and again, are soon known by heart: which region is meant would be
    told from how many there are and which are beside it.
    """
    regions = picture.regions
    assert regions.tokens is not None
    kept = torch.rand(len(regions.boxes)) >= _MOST_LEFT_OUT * torch.rand(())
    meant = torch.cat([picture.refer, picture.ground])
    kept[match_boxes(meant, regions.boxes).cpu() if len(meant) else 0] = True
    rows = kept.nonzero().flatten().to(regions.boxes.device)
    some = (part[rows] for part in (regions.boxes, regions.scores, regions.is_user, regions.tokens))
    return replace(picture, regions=Regions(*some))


@torch.no_grad()
def count(objective: AdapterObjective, batch: dict[str, Tensor]) -> Tensor:
    """Measure a batch.

    Returns:
        (B, 3) summed negative log-likelihood of the supervised tokens, how many of them are the
        likeliest, and how many there are.
    """
    output = objective.read(**batch)
    assert output.logits is not None and output.labels is not None
    logits, labels = output.logits[:, :-1].float(), output.labels[:, 1:]
    loss = F.cross_entropy(logits.mT, labels, ignore_index=IGNORED, reduction="none")
    supervised = labels != IGNORED
    right = (logits.argmax(dim=-1) == labels) & supervised
    columns: Sequence[Tensor] = (loss.sum(1), right.sum(1), supervised.sum(1))
    return torch.stack([column.float() for column in columns], dim=1)


def summarise(prediction: EvalPrediction) -> dict[str, float]:
    """Turn (conversations, 3) counts into the mean loss and the share of right tokens."""
    loss, right, tokens = torch.as_tensor(prediction.predictions).double().sum(dim=0).tolist()
    return {"loss": loss / max(1, tokens), "tokens_right": right / max(1, tokens)}
