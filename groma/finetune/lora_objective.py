"""The loss an adapter is trained on: the next word of an answer (paper 3.3, stage 3)."""

from collections.abc import Sequence
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import EvalPrediction

from groma.finetune.seen_pictures import TrainingVision
from groma.loop.parallel import share_of
from groma.model.groma import GromaForConditionalGeneration
from groma.model.training_forward import GromaOutput
from groma.types import IGNORED


class AdapterObjective(nn.Module):
    """A model with an adapter that reads conversations about pictures seen before.

    Args:
        model: with the adapter.
        vision: of the training set.
    """

    main_input_name = "input_ids"
    shuffle_regions = True
    """Name regions in random order while training, as in the stages before."""

    def __init__(self, model: GromaForConditionalGeneration, vision: TrainingVision) -> None:
        super().__init__()
        self.model = model
        self.vision = vision

    def train(self, mode: bool = True) -> Self:
        """Frozen parts stay in eval mode: what they see is kept."""
        super().train(mode)
        self.model.image_encoder.eval()
        self.model.region_proposer.eval()
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

        In training, pictures vary and regions are named at random; else both are as in a chat.
        """
        times = readings.tolist() if self.training else [None] * len(readings)
        pictures = [
            self.vision.encode(i, time) for i, time in zip(indices.tolist(), times, strict=True)
        ]
        shuffle = self.shuffle_regions and self.training
        return self.model(input_ids, pictures, labels=labels, shuffle_regions=shuffle)


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
