"""Groma: image encoder, region proposer, region encoder and language model in one (paper 3)."""

import logging
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoConfig, GenerationMixin, LlamaForCausalLM, PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from groma.config import GromaConfig
from groma.model.deformable_detr import DeformableAttention
from groma.model.detection_loss import detection_loss
from groma.model.front_end import visual_parts
from groma.model.quantization import is_cpu_packed, set_cpu_packing
from groma.model.region_proposer import BoxHead, DetectorOutput, ObjectnessMix, RegionProposer
from groma.model.region_selection import SelectionPolicy, select_regions
from groma.model.released import register
from groma.model.splice import expand_with_labels, match_boxes, name_boxes, splice
from groma.tokens import GROUND_BOX, PAD, REFER_BOX, TokenIds
from groma.types import IGNORED, EncodedImage, GromaError, Proposals, Regions, Size

register()
AutoConfig.register(GromaConfig.model_type, GromaConfig, exist_ok=True)

GROUND_SCORE = 0.2
"""Score of a ground-truth box among the candidates: it passes the threshold, and loses to an
overlapping prediction that is surer (paper 3.3)."""


@dataclass
class GromaOutput(ModelOutput):
    """What `forward` returns.

    Attributes:
        loss: mean cross-entropy of the supervised tokens, or None without labels.
        logits: (B, T', V + 114) after the expansion of the placeholders, padded on the right; None
            in training with labels, which only needs those of supervised tokens.
        labels: (B, T') the labels of these positions, or None without labels.
        regions: per picture, in the order of their names `<r0>`, `<r1>`, ...
        input_ids: (B, T') the ids of these positions, padded with `[PAD]`.
        attentions: of every layer (B, H, T', T'), if they were asked for.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    labels: Tensor | None = None
    regions: list[Regions] | None = None
    input_ids: Tensor | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class Glance:
    """A batch of pictures after the parts that learn neither alignment nor language (paper 3.3).

    Attributes:
        hidden: of the image encoder, each (B, D, g, g): the levels that the region encoder fuses,
            then the one that image tokens are made of.
        proposals: per picture, best first.
    """

    hidden: tuple[Tensor, ...]
    proposals: tuple[Proposals, ...]


@dataclass(frozen=True)
class Sight:
    """A picture as a conversation sees it, before the first word.

    Attributes:
        image_tokens: (P, D).
        regions: with their tokens, by score.
        refer: (K, 4) xyxy in [0, 1], the boxes of `<refer_box>`.
        ground: (K, 4) the boxes of `<ground_box>`.
    """

    image_tokens: Tensor
    regions: Regions
    refer: Tensor
    ground: Tensor


@dataclass(frozen=True)
class Row:
    """One conversation ready for the language model: (T', D) embeddings, (T',) ids and labels."""

    embeddings: Tensor
    ids: Tensor
    labels: Tensor
    regions: Regions


class GromaForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Localised visual tokenisation in front of a LLaMA-family language model (paper 3, Fig. 2)."""

    config: GromaConfig
    config_class = GromaConfig
    base_model_prefix = "groma"
    main_input_name = "input_ids"
    input_modalities = ["image", "text"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    _no_split_modules = ["LlamaDecoderLayer", "Dinov2Layer", "RegionEncoder"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_cache_class = True

    def __init__(self, config: GromaConfig) -> None:
        super().__init__(config)
        self.image_encoder, self.region_proposer, self.projector, self.region_encoder = (
            visual_parts(config)
        )
        self.language_model = LlamaForCausalLM(config.text_config)
        self.tokens = TokenIds.of(config)
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Self:
        """Load the released layout or ours; arguments as in transformers.

        Raises:
            GromaError: naming the tensors, if one is missing, unexpected or of another shape.
        """
        options: Any = {"output_loading_info": True, "ignore_mismatched_sizes": True} | kwargs
        load: Any = super().from_pretrained
        with _quiet("transformers.modeling_utils"):
            model, found = load(pretrained_model_name_or_path, *args, **options)
        problems = [
            f"{kind.replace('_', ' ')}: {_first_few(found[kind])}"
            for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
            if found[kind]
        ]
        if problems:
            raise GromaError(
                f"The weights in {pretrained_model_name_or_path} do not fit the model "
                f"({'; '.join(problems)})."
            )
        set_cpu_packing(model, allowed=False)
        return model

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """Write our own layout, also of a model that was loaded from the released one.

        Raises:
            GromaError: if the 4-bit weights are packed for fast CPU answers.
        """
        if is_cpu_packed(self):
            raise GromaError(
                "This 4-bit model is packed for fast answers on the CPU and cannot be saved; load "
                "it again with GromaForConditionalGeneration.from_pretrained and save that."
            )
        super().save_pretrained(*args, **({"save_original_format": False} | kwargs))

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, DeformableAttention | BoxHead | RegionProposer):
            module.reset_parameters()
        else:
            super()._init_weights(module)

    _keys_to_ignore_on_load_unexpected = [r"rotary_emb\.inv_freq"]  # noqa: RUF012

    def get_input_embeddings(self) -> nn.Module:
        """The word embeddings, new tokens included."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the word embeddings."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The language model's head."""
        return self.language_model.get_output_embeddings()

    def encode_image(
        self,
        pixel_values: Tensor,
        original_sizes: Sequence[Size],
        objectness_mix: ObjectnessMix | None = None,
    ) -> list[EncodedImage]:
        """Everything about pictures that no conversation changes; encode once, ask many times.

        Args:
            pixel_values: (B, 3, S, S) normalised.
            original_sizes: (H, W) of each picture in pixels.
            objectness_mix: see `RegionProposer.propose`.

        Raises:
            GromaError: if a mix is given, and the model has one objectness alone.
        """
        visual = self.features(self.look(pixel_values, objectness_mix))
        return [
            EncodedImage(
                original_size=size,
                image_tokens=visual.image_tokens[i],
                feature_maps=tuple(level[i] for level in visual.feature_maps),
                proposals=visual.proposals[i],
            )
            for i, size in enumerate(original_sizes)
        ]

    def encode_regions(self, image: EncodedImage, boxes: Tensor) -> Tensor:
        """Region tokens of any boxes of an encoded picture (paper 3.1, Region Encoder).

        Args:
            image: from `encode_image`.
            boxes: (N, 4) xyxy in [0, 1].

        Returns:
            (N, D) in the text width.
        """
        maps = [level[None] for level in image.feature_maps]
        return self.region_encoder(maps, [boxes.to(maps[0].device)])[0]

    def detect(self, pixel_values: Tensor) -> DetectorOutput:
        """The region proposer's raw predictions for (B, 3, S, S) pictures."""
        return self.region_proposer(self.image_encoder(pixel_values))

    def detection_loss(
        self,
        pixel_values: Tensor,
        boxes: Sequence[Tensor],
        head: Literal["coco", "sa1b"] = "coco",
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the region proposer on true boxes (paper 3.3, detection pretraining).

        Args:
            pixel_values: (B, 3, S, S).
            boxes: B tensors (M, 4), xyxy in [0, 1].
            head: the objectness head this kind of truth trains.

        Returns:
            The weighted total and its unweighted terms by name.
        """
        output = self.detect(pixel_values)
        return detection_loss(output, boxes, head, self.config.proposer_config)

    def forward(
        self,
        input_ids: Tensor,
        pixel_values: Tensor,
        refer_boxes: Sequence[Tensor] | None = None,
        ground_boxes: Sequence[Tensor] | None = None,
        labels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        shuffle_regions: bool = False,
        num_items_in_batch: Tensor | int | None = None,
        output_attentions: bool = False,
    ) -> GromaOutput:
        """Read pictures and prompts, predict the next tokens (paper 3.2).

        Args:
            input_ids: (B, T) with one `<image>` and one `<region>` placeholder per row, padded
                with `[PAD]` on either side.
            pixel_values: (B, 3, S, S).
            refer_boxes: per row (K, 4) xyxy in [0, 1]: the boxes of `<refer_box>`, in order, whose
                region tokens go to `<refer_feat>`.
            ground_boxes: per row (K, 4): the boxes of `<ground_box>` in supervised answers.
            labels: (B, T), -100 where nothing is to be learnt.
            attention_mask: (B, T), 0 on padding; `[PAD]` is padding in any case.
            shuffle_regions: number the regions at random, as training does where their order has
                no meaning.
            num_items_in_batch: divisor of the loss under gradient accumulation.
            output_attentions: return where every layer looks, which takes eager attention.

        Returns:
            Loss, logits over the expanded rows, and the regions of every picture.

        Raises:
            ValueError: if placeholders and boxes do not agree.
        """
        sights = self.see(self.look(pixel_values), refer_boxes, ground_boxes)
        return self.read(
            sights,
            input_ids,
            labels,
            attention_mask,
            shuffle_regions,
            num_items_in_batch,
            output_attentions,
        )

    def look(self, pixel_values: Tensor, objectness_mix: ObjectnessMix | None = None) -> Glance:
        """What the frozen image encoder and region proposer make of (B, 3, S, S) pictures."""
        hidden = self.image_encoder(pixel_values)
        with torch.no_grad():
            proposals = self.region_proposer.propose(hidden, objectness_mix)
        return Glance((*hidden[-3:], hidden[self.config.image_token_layer]), proposals)

    def see(
        self,
        glance: Glance,
        refer_boxes: Sequence[Tensor] | None = None,
        ground_boxes: Sequence[Tensor] | None = None,
    ) -> list[Sight]:
        """Image tokens and region tokens of pictures; boxes as in `forward`."""
        visual = self.features(glance)
        device = visual.image_tokens.device
        none = [torch.zeros(0, 4)] * len(visual.proposals)
        refer = [boxes.to(device).float() for boxes in refer_boxes or none]
        ground = [boxes.to(device).float() for boxes in ground_boxes or none]
        regions = [
            self.select(*candidates)[0]
            for candidates in zip(visual.proposals, refer, ground, strict=True)
        ]
        tokens = self.region_encoder(visual.feature_maps, [picture.boxes for picture in regions])
        return [
            Sight(visual.image_tokens[i], replace(picture, tokens=tokens[i]), refer[i], ground[i])
            for i, picture in enumerate(regions)
        ]

    def read(
        self,
        sights: Sequence[Sight],
        input_ids: Tensor,
        labels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        shuffle_regions: bool = False,
        num_items_in_batch: Tensor | int | None = None,
        output_attentions: bool = False,
    ) -> GromaOutput:
        """Read prompts about pictures that were seen; arguments and result as in `forward`."""
        rows = self._rows(sights, input_ids, labels, attention_mask, shuffle_regions)
        embeddings = pad_sequence([row.embeddings for row in rows], batch_first=True)
        mask = pad_sequence([_ones(row) for row in rows], batch_first=True)
        output = self.language_model.model(
            inputs_embeds=embeddings,
            attention_mask=mask,
            use_cache=False,
            output_attentions=output_attentions,
        )
        hidden, head = output.last_hidden_state, self.language_model.lm_head
        rest: dict[str, Any] = {
            "regions": [row.regions for row in rows],
            "input_ids": pad_sequence([row.ids for row in rows], True, self.tokens[PAD]),
            "attentions": output.attentions,
        }
        if labels is None:
            return GromaOutput(logits=head(hidden), **rest)
        targets = pad_sequence([row.labels for row in rows], True, IGNORED).to(hidden.device)
        if not self.training:
            logits = head(hidden)
            loss = next_token_loss(logits, targets, num_items_in_batch)
            return GromaOutput(loss, logits, targets, **rest)
        # Most tokens are picture and questions: the vocabulary is only compared where it counts.
        said = targets[:, 1:] != IGNORED
        logits, wanted = head(hidden[:, :-1][said]), targets[:, 1:][said]
        total = F.cross_entropy(logits.float(), wanted, reduction="sum")
        divisor = said.sum() if num_items_in_batch is None else num_items_in_batch
        return GromaOutput(total / divisor, None, targets, **rest)

    @torch.no_grad()
    def generate(  # ty: ignore[incompatible-method-override]
        self,
        input_ids: Tensor,
        pixel_values: Tensor,
        refer_boxes: Sequence[Tensor] | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Answer prompts; arguments as in `forward`, `kwargs` as in transformers' generate.

        Returns:
            (B, T) ids of the answers alone, or what `return_dict_in_generate` asks for.
        """
        sights = self.see(self.look(pixel_values), refer_boxes)
        rows = self._rows(sights, input_ids, None, attention_mask, False)
        embeddings = [row.embeddings for row in rows]
        options = {
            "generation_config": self.generation_config,
            "pad_token_id": self.tokens[PAD],
        } | kwargs
        generate: Any = self.language_model.generate
        return generate(
            inputs_embeds=pad_sequence(embeddings, batch_first=True, padding_side="left"),
            attention_mask=pad_sequence(
                [_ones(row) for row in rows], batch_first=True, padding_side="left"
            ),
            **options,
        )

    def features(self, glance: Glance) -> "VisualFeatures":
        """Image tokens, the region encoder's maps and proposals of pictures looked at."""
        return VisualFeatures(
            image_tokens=self.projector(glance.hidden[-1]),
            feature_maps=self.region_encoder.fuse(glance.hidden[:-1]),
            proposals=glance.proposals,
        )

    def _rows(
        self,
        sights: Sequence[Sight],
        input_ids: Tensor,
        labels: Tensor | None,
        attention_mask: Tensor | None,
        shuffle_regions: bool,
    ) -> list[Row]:
        if labels is None:
            labels = torch.full_like(input_ids, IGNORED)
        real = input_ids != self.tokens[PAD]
        if attention_mask is not None:
            real &= attention_mask.bool()
        if shuffle_regions and self.config.region_order == "score":
            sights = [replace(sight, regions=_shuffle(sight.regions)) for sight in sights]
        return [
            self._row(input_ids[i][real[i]], labels[i][real[i]], sight)
            for i, sight in enumerate(sights)
        ]

    def select(self, proposals: Proposals, refer: Tensor, ground: Tensor) -> tuple[Regions, Tensor]:
        """Regions of one picture in the official order: by score, all candidates through NMS.

        Args:
            proposals: best first.
            refer: (K, 4) xyxy in [0, 1], boxes of the user.
            ground: (G, 4) true boxes.

        Returns:
            The regions, without tokens; and for each which candidate it is: proposals come first,
            then the user's boxes, then the true ones.
        """
        boxes = torch.cat([proposals.boxes, refer, ground])
        scores = torch.cat(
            [
                proposals.scores,
                proposals.scores.new_ones(len(refer)),
                proposals.scores.new_full((len(ground),), GROUND_SCORE),
            ]
        )
        chosen = select_regions(boxes, scores, SelectionPolicy.of(self.config))
        first_user = len(proposals.scores)
        is_user = (chosen >= first_user) & (chosen < first_user + len(refer))
        return Regions(boxes[chosen], scores[chosen], is_user), chosen

    def _row(self, ids: Tensor, labels: Tensor, sight: Sight) -> Row:
        regions, region_tokens = sight.regions, sight.regions.tokens
        assert region_tokens is not None
        referred = match_boxes(sight.refer, regions.boxes)
        grounded = match_boxes(sight.ground, regions.boxes)
        supervised_names = (ids == self.tokens[GROUND_BOX]) & (labels == ids)
        ids = name_boxes(ids, REFER_BOX, referred, self.tokens)
        ids = name_boxes(ids, GROUND_BOX, grounded, self.tokens)
        labels = torch.where(supervised_names, ids, labels)
        names = torch.arange(len(regions), device=ids.device)
        ids, labels = expand_with_labels(
            ids, labels, names, self.tokens, self.config.num_image_tokens
        )
        embeddings = splice(
            self.get_input_embeddings()(ids),
            ids,
            self.tokens,
            sight.image_tokens,
            region_tokens,
            region_tokens[referred],
        )
        return Row(embeddings, ids, labels, regions)


@dataclass(frozen=True)
class VisualFeatures:
    """A batch of pictures after everything that no conversation changes.

    Attributes:
        image_tokens: (B, P, D).
        feature_maps: fused maps of the region encoder, each (B, C, h, w).
        proposals: per picture, best first.
    """

    image_tokens: Tensor
    feature_maps: tuple[Tensor, ...]
    proposals: Sequence[Proposals]


@contextmanager
def _quiet(logger_name: str) -> Generator[None]:
    """Keep a table of warnings from the user where one sentence follows."""
    logger = logging.getLogger(logger_name)
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = False


def _first_few(keys: Iterable[Any], limit: int = 8) -> str:
    names = sorted(key if isinstance(key, str) else str(key[0]) for key in keys)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def _shuffle(regions: Regions) -> Regions:
    """The same regions in random order, which is the order of their names."""
    order = torch.randperm(len(regions), device=regions.boxes.device)
    tokens = None if regions.tokens is None else regions.tokens[order]
    return Regions(regions.boxes[order], regions.scores[order], regions.is_user[order], tokens)


def _ones(row: Row) -> Tensor:
    return torch.ones(len(row.embeddings), dtype=torch.long, device=row.embeddings.device)


def next_token_loss(logits: Tensor, labels: Tensor, divisor: Tensor | int | None = None) -> Tensor:
    """Cross-entropy of every supervised token given those before it.

    Args:
        logits: (B, T, V).
        labels: (B, T), -100 where nothing is supervised.
        divisor: what the sum is divided by; by default the number of supervised tokens.
    """
    reduction = "mean" if divisor is None else "sum"
    loss = F.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(),
        labels[:, 1:].flatten().to(logits.device),
        ignore_index=IGNORED,
        reduction=reduction,
    )
    return loss if divisor is None else loss / divisor
