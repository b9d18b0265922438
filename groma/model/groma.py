"""Groma: image encoder, region proposer, region encoder and language model in one (paper 3)."""

import logging
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import GenerationMixin, LlamaForCausalLM, PreTrainedModel

from groma.config import GromaConfig
from groma.model.quantization import is_cpu_packed, set_cpu_packing
from groma.model.region_selection import merge_proposals
from groma.ops.tiles import best_tiles, to_tile
from groma.tokens import PAD, TokenIds
from groma.types import (
    EncodedImage,
    EncodedTiles,
    GromaError,
    ImageFeatures,
    ObjectnessMix,
    Proposals,
    Size,
)

if TYPE_CHECKING:
    from groma.model.region_proposer import DetectorOutput
    from groma.model.taught_names import TaughtNames
    from groma.model.training_forward import GromaOutput, TrainingPicture

_LOOKED_AT = 1
"""Which map of the region encoder tells taught names: the middle one, a convolutional model's only
one."""


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
            _visual_parts(config)
        )
        self.language_model = LlamaForCausalLM(config.text_config)
        self.taught_names: TaughtNames | None = None
        if config.taught_names:
            self.teach(config.taught_names)
        self.tokens = TokenIds.of(config)
        self.post_init()

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Self:
        """Load the released layout or ours; arguments as in transformers.

        Raises:
            GromaError: naming the tensors, if one is missing, unexpected or of another shape.
        """
        # transformers starts missing weights at random and logs it; here nothing may be missing.
        options: Any = {"output_loading_info": True, "ignore_mismatched_sizes": True} | kwargs
        from groma.model.released import register_layout  # late: only files bring its names

        register_layout()
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
        # Loaded to be trained or saved until somebody says otherwise: packing cannot be undone.
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
        own = getattr(module, "initialise", None)  # of those of ours that do not start like BERT
        if own is None:
            super()._init_weights(module)
        else:
            own()

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

    def teach(self, names: Sequence[str]) -> None:
        """Make room for names to be taught, those that the model was taught before first.

        None is recognised before it was taught.
        """
        from groma.model.taught_names import TaughtNames  # late: few models were taught names

        weight = next(self.language_model.parameters())
        width = self.config.text_config.hidden_size
        taught = TaughtNames(len(names), self.config.image_width, width)
        if self.taught_names is not None:
            taught.take(self.taught_names)
        self.taught_names = taught.to(weight.device)
        self.config.taught_names = list(names)

    def image_features(
        self, pixel_values: Tensor, objectness_mix: ObjectnessMix | None = None
    ) -> ImageFeatures:
        """What the image encoder and the region proposer make of (B, 3, S, S) pictures.

        Both are frozen once detection is learnt, so a training may keep this per picture. The mix
        is that of `RegionProposer.propose`.
        """
        hidden = self.image_encoder(pixel_values)
        with torch.no_grad():
            proposals = self.region_proposer.propose(hidden, objectness_mix)
        # The other layers are dropped here: kept for a training set they would fill the memory.
        return ImageFeatures((*hidden[-3:], hidden[self.config.image_token_layer]), proposals)

    def visual_tokens(self, features: ImageFeatures) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Image tokens (B, P, D), and the region encoder's fused maps, each (B, C, h, w)."""
        return self.projector(features.hidden[-1]), self.region_encoder.fuse(features.hidden[:-1])

    def recognise(
        self, proposals: Sequence[Proposals], feature_maps: Sequence[Tensor]
    ) -> list[Proposals]:
        """The proposals of B pictures, what shows something taught with at least that score."""
        if self.taught_names is None:
            return list(proposals)
        names, maps = self.taught_names, feature_maps[_LOOKED_AT]
        return [names.lift(each, maps[i]) for i, each in enumerate(proposals)]

    def region_tokens(
        self,
        feature_maps: Sequence[Tensor],
        boxes: Sequence[Tensor],
        masks: Sequence[Tensor] | None = None,
        in_maps: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """Region tokens of boxes in B pictures, with the names that were taught.

        `feature_maps` are from `visual_tokens`; all else is as for `RegionEncoder.forward`.
        """
        tokens = self.region_encoder(feature_maps, boxes, masks, in_maps)
        if self.taught_names is None:
            return tokens
        names, maps = self.taught_names, feature_maps[_LOOKED_AT]
        shown = boxes if in_maps is None else in_maps
        seen = [names(maps[i], chosen) for i, chosen in enumerate(shown)]
        if self.config.is_convolutional:  # its code can do without a name
            plain = self.region_encoder.unnamed(feature_maps, boxes, shown)
            shares = (each.amax(dim=1, keepdim=True).to(tokens[0].dtype) for each in seen)
            tokens = list(map(torch.lerp, tokens, plain, shares))
        return [names.tell(*each) for each in zip(tokens, seen, strict=True)]

    def encode_image(
        self,
        pixel_values: Tensor,
        original_sizes: Sequence[Size],
        objectness_mix: ObjectnessMix | None = None,
    ) -> list[EncodedImage]:
        """Everything about pictures that no conversation changes; encode once, ask many times.

        `pixel_values` are (B, 3, S, S) normalised, `original_sizes` (H, W) in pixels; for the mix
        see `RegionProposer.propose`. Raises `GromaError` if one is given, and the model has one
        objectness alone.
        """
        features = self.image_features(pixel_values, objectness_mix)
        image_tokens, feature_maps = self.visual_tokens(features)
        proposals = self.recognise(features.proposals, feature_maps)
        return [
            EncodedImage(
                original_size=size,
                image_tokens=image_tokens[i],
                feature_maps=tuple(level[i] for level in feature_maps),
                proposals=proposals[i],
            )
            for i, size in enumerate(original_sizes)
        ]

    def add_tiles(
        self,
        image: EncodedImage,
        pixel_values: Tensor,
        windows: Tensor,
        objectness_mix: ObjectnessMix | None = None,
    ) -> EncodedImage:
        """Look at parts of an encoded picture too, for things that are small in it.

        `pixel_values` are the (T, 3, S, S) normalised tiles, `windows` (T, 4) where they lie, xyxy
        in [0, 1] of the picture, whose image tokens stay.
        """
        features = self.image_features(pixel_values, objectness_mix)
        maps, tile_maps = image.feature_maps, self.region_encoder.fuse(features.hidden[:-1])
        trust = self.config.vision_config.tile_trust if self.config.is_convolutional else 1.0
        found = image.proposals, self.recognise(features.proposals, tile_maps)
        proposals, rows = merge_proposals(*found, windows, trust, self.config.score_threshold)
        if self.config.is_convolutional:
            from groma.model.coded_regions import merge_findings

            maps, tile_maps = merge_findings(maps, tile_maps, proposals, rows)
        tiles = EncodedTiles(windows, tile_maps)
        return replace(image, feature_maps=maps, proposals=proposals, tiles=tiles)

    def encode_regions(
        self, image: EncodedImage, boxes: Tensor, masks: Tensor | None = None
    ) -> Tensor:
        """Region tokens of any boxes of an encoded picture (paper 3.1, Region Encoder).

        Boxes are (N, 4) xyxy in [0, 1]; a small one is pooled from the tile that shows it best, if
        there are tiles. Masks (N, M, M) say how much each cell of a box counts, 0 to 1; None is all
        alike, and released checkpoints know boxes alone. Returns (N, D) in the text width.
        """
        maps = [level[None] for level in image.feature_maps]
        device = maps[0].device
        boxes, masks = boxes.to(device), None if masks is None else masks.to(device)
        tokens = self.region_tokens(maps, [boxes], None if masks is None else [masks])[0]
        if image.tiles is None:
            return tokens
        best = best_tiles(boxes, image.tiles.windows)
        for tile in best[best >= 0].unique().tolist():
            rows, window = best == tile, image.tiles.windows[tile, None]
            maps = [level[tile, None] for level in image.tiles.feature_maps]
            shown = None if masks is None else [masks[rows]]
            in_tile = [to_tile(boxes[rows], window)]
            tokens[rows] = self.region_tokens(maps, [boxes[rows]], shown, in_tile)[0]
        return tokens

    def detect(self, pixel_values: Tensor) -> "DetectorOutput":
        """The region proposer's raw predictions for (B, 3, S, S) pictures."""
        return self.region_proposer(self.image_encoder(pixel_values))

    def forward(
        self,
        input_ids: Tensor,
        pixel_values: "Tensor | Sequence[TrainingPicture]",
        refer_boxes: Sequence[Tensor] | None = None,
        ground_boxes: Sequence[Tensor] | None = None,
        labels: Tensor | None = None,
        attention_mask: Tensor | None = None,
        shuffle_regions: bool = False,
        num_items_in_batch: Tensor | int | None = None,
        output_attentions: bool = False,
    ) -> "GromaOutput":
        """Read pictures and prompts, predict the next tokens (paper 3.2).

        Args:
            input_ids: (B, T) with one `<image>` and one `<region>` placeholder per row, padded
                with `[PAD]` on either side.
            pixel_values: (B, 3, S, S) normalised; or B pictures that `encode_pictures` has
                encoded, boxes included.
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
        from groma.model import training_forward as training  # late: no answer needs it

        pictures = pixel_values
        if isinstance(pictures, Tensor):
            features = self.image_features(pictures)
            pictures = training.encode_pictures(self, features, refer_boxes, ground_boxes)
        prompts = training.splice_prompts(
            self, pictures, input_ids, labels, attention_mask, shuffle_regions
        )
        return training.read_prompts(
            self, prompts, labels is not None, num_items_in_batch, output_attentions
        )

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
        from groma.model import training_forward as training

        pictures = training.encode_pictures(self, self.image_features(pixel_values), refer_boxes)
        prompts = training.splice_prompts(self, pictures, input_ids, None, attention_mask)
        options = {
            "generation_config": self.generation_config,
            "pad_token_id": self.tokens[PAD],
        } | kwargs
        # Padded on the left, so that every row goes on from its own last token.
        embeddings, mask = (
            pad_sequence(rows, batch_first=True, padding_side="left")
            for rows in ([p.embeddings for p in prompts], [p.mask for p in prompts])
        )
        generate: Any = self.language_model.generate
        return generate(inputs_embeds=embeddings, attention_mask=mask, **options)


def _visual_parts(config: GromaConfig) -> tuple[Any, Any, Any, Any]:
    """Image encoder, region proposer, projector and region encoder, as the configuration says.

    The paper's, or a convolutional detector in their place; a model imports only those it has.
    """
    if config.is_convolutional:
        from groma.model import convolutional_encoder as seen
        from groma.model.coded_regions import CodedRegionEncoder

        encoder, projector = seen.ConvolutionalEncoder(config), seen.NoImageTokens(config)
        return encoder, seen.DenseProposer(), projector, CodedRegionEncoder(config)
    from groma.model.image_encoder import ImageEncoder
    from groma.model.region_encoder import RegionEncoder
    from groma.model.region_proposer import RegionProposer
    from groma.model.token_merge import Projector

    return ImageEncoder(config), RegionProposer(config), Projector(config), RegionEncoder(config)


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
