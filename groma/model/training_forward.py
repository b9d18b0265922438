"""The forward pass that learns: pictures with true boxes, prompts, loss (paper 3.2, 3.3).

An answer needs none of it: a conversation is read by `groma.chat`, region by region as it asks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers.modeling_outputs import ModelOutput

from groma.model.region_selection import SelectionPolicy, select_candidates
from groma.model.splice import expand_with_labels, match_boxes, name_boxes, splice
from groma.tokens import GROUND_BOX, PAD, REFER_BOX
from groma.types import IGNORED, ImageFeatures, Regions

if TYPE_CHECKING:
    from groma.model.groma import GromaForConditionalGeneration


@dataclass
class GromaOutput(ModelOutput):
    """What `forward` returns; positions are those after the expansion of the placeholders."""

    loss: Tensor | None = None  # mean cross-entropy of the supervised tokens; None without labels
    # (B, T', V + 114) padded on the right; None in training with labels, which only needs those of
    # supervised tokens.
    logits: Tensor | None = None
    labels: Tensor | None = None  # (B, T') or None without labels
    regions: list[Regions] | None = None  # per picture, in the order of their names
    input_ids: Tensor | None = None  # (B, T') padded with `[PAD]`
    attentions: tuple[Tensor, ...] | None = None  # each (B, H, T', T'), if they were asked for


@dataclass(frozen=True)
class TrainingPicture:
    """One picture with its regions encoded and the boxes that its conversation speaks of."""

    image_tokens: Tensor  # (P, D)
    regions: Regions  # with their tokens, by score
    refer: Tensor  # (K, 4) xyxy in [0, 1], the boxes of `<refer_box>`
    ground: Tensor  # (K, 4) the boxes of `<ground_box>`


@dataclass(frozen=True)
class SplicedPrompt:
    """One conversation ready for the language model: (T', D) embeddings, (T',) ids and labels."""

    embeddings: Tensor
    ids: Tensor
    labels: Tensor
    regions: Regions

    @property
    def mask(self) -> Tensor:
        """(T',) ones."""
        length = len(self.embeddings)
        return torch.ones(length, dtype=torch.long, device=self.embeddings.device)


def encode_pictures(
    model: "GromaForConditionalGeneration",
    features: ImageFeatures,
    refer_boxes: Sequence[Tensor] | None = None,
    ground_boxes: Sequence[Tensor] | None = None,
) -> list[TrainingPicture]:
    """Choose the regions of pictures, true boxes among them, and encode them.

    `features` are those of `model.image_features`, boxes as in its `forward`.
    """
    image_tokens, feature_maps = model.visual_tokens(features)
    none = [torch.zeros(0, 4)] * len(features.proposals)
    refer = [boxes.to(image_tokens.device).float() for boxes in refer_boxes or none]
    ground = [boxes.to(image_tokens.device).float() for boxes in ground_boxes or none]
    policy = SelectionPolicy.of(model.config)
    proposals = model.recognise(features.proposals, feature_maps)
    regions = [
        select_candidates(*candidates, policy)[0]
        for candidates in zip(proposals, refer, ground, strict=True)
    ]
    tokens = model.region_tokens(feature_maps, [picture.boxes for picture in regions])
    return [
        TrainingPicture(image_tokens[i], replace(chosen, tokens=tokens[i]), refer[i], ground[i])
        for i, chosen in enumerate(regions)
    ]


def read_prompts(
    model: "GromaForConditionalGeneration",
    prompts: Sequence[SplicedPrompt],
    is_supervised: bool,
    num_items_in_batch: Tensor | int | None = None,
    output_attentions: bool = False,
) -> GromaOutput:
    """Predict the next tokens of prompts, and the loss where they are supervised.

    `prompts` come from `splice_prompts`; other arguments as in the model's `forward`.
    """
    output = model.language_model.model(
        inputs_embeds=pad_sequence([prompt.embeddings for prompt in prompts], batch_first=True),
        attention_mask=pad_sequence([prompt.mask for prompt in prompts], batch_first=True),
        use_cache=False,
        output_attentions=output_attentions,
    )
    hidden, head = output.last_hidden_state, model.language_model.lm_head
    rest: dict[str, Any] = {
        "regions": [prompt.regions for prompt in prompts],
        "input_ids": pad_sequence([prompt.ids for prompt in prompts], True, model.tokens[PAD]),
        "attentions": output.attentions,
    }
    if not is_supervised:
        return GromaOutput(logits=head(hidden), **rest)
    targets = pad_sequence([prompt.labels for prompt in prompts], True, IGNORED).to(hidden.device)
    if not model.training:
        logits = head(hidden)
        loss = next_token_loss(logits, targets, num_items_in_batch)
        return GromaOutput(loss, logits, targets, **rest)
    # Most tokens are picture and questions: the vocabulary is only compared where it counts.
    said = targets[:, 1:] != IGNORED
    logits, wanted = head(hidden[:, :-1][said]), targets[:, 1:][said]
    total = F.cross_entropy(logits.float(), wanted, reduction="sum")
    divisor = said.sum() if num_items_in_batch is None else num_items_in_batch
    return GromaOutput(total / divisor, None, targets, **rest)


def splice_prompts(
    model: "GromaForConditionalGeneration",
    pictures: Sequence[TrainingPicture],
    input_ids: Tensor,
    labels: Tensor | None = None,
    attention_mask: Tensor | None = None,
    shuffle_regions: bool = False,
) -> list[SplicedPrompt]:
    """Put the tokens of pictures among the words of prompts; arguments as in `forward`."""
    if labels is None:
        labels = torch.full_like(input_ids, IGNORED)
    real = input_ids != model.tokens[PAD]
    if attention_mask is not None:
        real &= attention_mask.bool()
    if shuffle_regions and model.config.region_order == "score":
        # Names carry no rank: the paper's model sees its regions in random order.
        pictures = [replace(picture, regions=_shuffle(picture.regions)) for picture in pictures]
    return [
        _splice_prompt(model, input_ids[i][real[i]], labels[i][real[i]], picture)
        for i, picture in enumerate(pictures)
    ]


def _splice_prompt(
    model: "GromaForConditionalGeneration", ids: Tensor, labels: Tensor, picture: TrainingPicture
) -> SplicedPrompt:
    tokens, regions, region_tokens = model.tokens, picture.regions, picture.regions.tokens
    assert region_tokens is not None
    # A box that lost to a prediction is that prediction, so it is found again by overlap.
    referred = match_boxes(picture.refer, regions.boxes)
    grounded = match_boxes(picture.ground, regions.boxes)
    supervised_names = (ids == tokens[GROUND_BOX]) & (labels == ids)
    ids = name_boxes(ids, REFER_BOX, referred, tokens)
    ids = name_boxes(ids, GROUND_BOX, grounded, tokens)
    labels = torch.where(supervised_names, ids, labels)
    names = torch.arange(len(regions), device=ids.device)
    ids, labels = expand_with_labels(ids, labels, names, tokens, model.config.num_image_tokens)
    words, seen = model.get_input_embeddings()(ids), picture.image_tokens
    embeddings = splice(words, ids, tokens, seen, region_tokens, region_tokens[referred])
    return SplicedPrompt(embeddings, ids, labels, regions)


def _shuffle(regions: Regions) -> Regions:
    """The same regions in random order, which is the order of their names."""
    order = torch.randperm(len(regions), device=regions.boxes.device)
    tokens = None if regions.tokens is None else regions.tokens[order]
    return Regions(regions.boxes[order], regions.scores[order], regions.is_user[order], tokens)


def next_token_loss(logits: Tensor, labels: Tensor, divisor: Tensor | int | None = None) -> Tensor:
    """Cross-entropy of every supervised token given those before it.

    `logits` are (B, T, V), `labels` (B, T), -100 where nothing is supervised. The sum is divided by
    `divisor`, by default the number of supervised tokens.
    """
    said, wanted = logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten().to(logits.device)
    if divisor is None:
        return F.cross_entropy(said, wanted, ignore_index=IGNORED)
    return F.cross_entropy(said, wanted, ignore_index=IGNORED, reduction="sum") / divisor
