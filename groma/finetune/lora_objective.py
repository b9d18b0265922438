"""The loss an adapter is trained on: the next word of an answer (paper 3.3, stage 3).

What the base itself said is no answer to learn: there the adapter is held to what the base would
say next.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
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
from groma.model.training_forward import (
    GromaOutput,
    SplicedPrompt,
    TrainingPicture,
    read_prompts,
    splice_prompts,
)
from groma.types import IGNORED, Regions

_MOST_LEFT_OUT = 0.7
"""Share of the regions that nothing means."""
_HOLD = 3.0
"""Weight of staying near the base; with 1, descriptions of the small model still became worse."""


class AdapterObjective(nn.Module):
    """A model with an adapter that reads conversations about pictures seen before.

    Args:
        model: with the adapter.
        vision: of the training set.
        rehearsed: numbers of the conversations in which the base has spoken.
        as_base: makes the model its base for a while.

    Attributes:
        varies: whether training leaves regions out and names the others at random; runs that are
            compared with one another do neither.
    """

    main_input_name = "input_ids"
    varies = True

    def __init__(
        self,
        model: GromaForConditionalGeneration,
        vision: TrainingVision,
        rehearsed: Collection[int] = (),
        as_base: Callable[[], AbstractContextManager] = nullcontext,
    ) -> None:
        super().__init__()
        self.model = model
        self.vision = vision
        self.rehearsed = rehearsed
        self.as_base = as_base

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
        pictures = self._show(indices, readings)
        prompts = splice_prompts(
            self.model, pictures, input_ids, labels, shuffle_regions=self._varies
        )
        own = [index in self.rehearsed for index in indices.tolist()]
        learnt = [prompt for prompt, is_own in zip(prompts, own, strict=True) if not is_own]
        held = [prompt for prompt, is_own in zip(prompts, own, strict=True) if is_own]
        zero = torch.zeros((), device=input_ids.device)
        answered = read_prompts(self.model, learnt, is_supervised=True) if learnt else None
        words = sum(int((prompt.labels[1:] != IGNORED).sum()) for prompt in learnt)
        loss = share_of(zero if answered is None else answered["loss"], words)
        moved = self._distance(held) if held else zero
        loss = loss + _HOLD * share_of(moved, sum(map(_length, held)))
        return {"loss": loss, "tokens": torch.tensor(float(sum(map(_length, prompts))))}

    def _distance(self, prompts: Sequence[SplicedPrompt]) -> Tensor:
        """() how far what would come next, everywhere in prompts, has moved from the base's.

        The mean Kullback-Leibler divergence: a sampled answer would teach words alone, and of a
        dozen pictures (learning without forgetting, arXiv 1606.09282, uses probabilities too).
        """
        with torch.no_grad(), self.as_base():
            before = self._next(prompts)
        return F.kl_div(self._next(prompts), before, reduction="batchmean", log_target=True)

    def _next(self, prompts: Sequence[SplicedPrompt]) -> Tensor:
        """(N, V) log-probabilities of what comes after each token of the prompts."""
        logits = read_prompts(self.model, prompts, is_supervised=False).logits
        assert logits is not None
        every = [row[: _length(prompt)] for row, prompt in zip(logits, prompts, strict=True)]
        return torch.cat(every).float().log_softmax(dim=-1)

    def read(
        self, indices: Tensor, readings: Tensor, input_ids: Tensor, labels: Tensor
    ) -> GromaOutput:
        """The model's own output.

        In training, pictures vary, some regions are left out, and the others are named at random
        where their order has no meaning; else all is as in a chat.
        """
        pictures = self._show(indices, readings)
        return self.model(input_ids, pictures, labels=labels, shuffle_regions=self._varies)

    @property
    def _varies(self) -> bool:
        return self.training and self.varies

    def _show(self, indices: Tensor, readings: Tensor) -> list[TrainingPicture]:
        times = readings.tolist() if self.training else [None] * len(readings)
        pictures = [
            self.vision.encode(i, time) for i, time in zip(indices.tolist(), times, strict=True)
        ]
        return [_leave_out_some(picture) for picture in pictures] if self._varies else pictures


def _length(prompt: SplicedPrompt) -> int:
    return len(prompt.ids)


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
