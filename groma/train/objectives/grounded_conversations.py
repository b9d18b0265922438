"""Conversations about pictures: the language loss (paper 3.3, stages 2 and 3)."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from groma.image import normalise_pixels
from groma.loop.parallel import share_of
from groma.model.groma import GromaForConditionalGeneration
from groma.model.training_forward import GromaOutput
from groma.types import IGNORED


class GroundedConversations(nn.Module):
    """The whole model with the language loss."""

    main_input_name = "input_ids"
    _no_split_modules = ("LlamaDecoderLayer", "Dinov2Layer")  # FSDP gathers them one by one
    shuffle_regions = True
    """Name regions in random order while training, lest the first be named most (as released)."""

    def __init__(self, model: GromaForConditionalGeneration, weights: Mapping[str, float]) -> None:
        """Train a model, frozen as the stage says, in place; its loss has one term, `language`."""
        super().__init__()
        self.model = model
        self.weights = dict(weights)

    def tie_weights(self) -> None:
        """Tie again what FSDP has taken apart: the words that are read and those that are said."""
        self.model.tie_weights()

    def activation_checkpointing_enable(self, **kwargs: Any) -> None:
        """Recompute the language model's layers in the backward pass."""
        self.model.language_model.activation_checkpointing_enable(**kwargs)

    def forward(
        self,
        pixels: Tensor,
        input_ids: Tensor,
        labels: Tensor,
        refer_boxes: Sequence[Tensor],
        ground_boxes: Sequence[Tensor],
    ) -> dict:
        """Loss of a batch; returns as `weigh`.

        `pixels` are (B, 3, S, S) uint8; `input_ids` and `labels` (B, T) with placeholders, and -100
        where nothing is supervised; `refer_boxes` and `ground_boxes` per row (K, 4), one for each
        placeholder.
        """
        output = self.model(
            input_ids=input_ids,
            pixel_values=normalise_pixels(pixels),
            refer_boxes=refer_boxes,
            ground_boxes=ground_boxes,
            labels=labels,
            shuffle_regions=self.shuffle_regions and self.training,
        )
        return self.weigh({}, output, labels)

    def weigh(self, terms: Mapping[str, Tensor], output: GromaOutput, labels: Tensor) -> dict:
        """Add the language loss to other terms and sum up.

        `labels` are (B, T) as in `forward`. Returns `loss` and its terms; outside of training also
        `logits` and the expanded `labels`.
        """
        language = output.loss
        assert language is not None
        if self.training:
            language = share_of(language, (labels[:, 1:] != IGNORED).sum())
        terms = {**terms, "language": language}
        loss = {"loss": sum(weight * terms[name] for name, weight in self.weights.items())}
        extra = {} if self.training else {"logits": output.logits, "labels": output.labels}
        return loss | terms | extra
