"""Sizes and settings of a Groma model, and the one place that reads the released config.json."""

from typing import Any, Literal, Self

from huggingface_hub.dataclasses import strict
from transformers import Dinov2Config, LlamaConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
"""Statistics of RGB in [0, 1] that every image encoder's pixels are normalised with."""

NUM_REGION_TOKENS = 100  # `<r0>` … `<r99>`: the most regions one picture can have


@strict
class RegionProposerConfig(PreTrainedConfig):
    """Sizes of the class-agnostic Deformable-DETR head (paper 3.1, Region Proposer)."""

    model_type = "groma_region_proposer"

    width: int = 256  # channels d of queries and feature levels
    encoder_layers: int = 6
    decoder_layers: int = 6
    encoder_ffn_width: int = 1024
    decoder_ffn_width: int = 1024
    num_heads: int = 8
    num_points: int = 4
    num_queries: int = 300  # Q, proposals per picture
    # Feature maps built from the patch grid, finest first: 1 is (1x), 2 is (1x, 1/2x), 3 is (2x,
    # 1x, 1/2x), 4 is (4x, 2x, 1x, 1/2x).
    num_levels: int = 1
    box_head_width: int = 256
    dropout: float | int = 0.1
    class_cost: float | int = 2.0  # of the Hungarian matching, as the next two
    box_cost: float | int = 5.0
    giou_cost: float | int = 2.0
    class_weight: float | int = 2.0  # of the loss terms, as the next two
    box_weight: float | int = 5.0
    giou_weight: float | int = 2.0
    focal_alpha: float | int = 0.25
    focal_gamma: float | int = 2.0
    # Exponents of sigmoid(coco) and sigmoid(sa1b) in the objectness.
    objectness_mix: list[float] | tuple[float, float] = (0.4, 0.6)


@strict
class RegionEncoderConfig(PreTrainedConfig):
    """Sizes of the multi-scale RoIAlign encoder (paper 3.1, Region Encoder)."""

    model_type = "groma_region_encoder"

    roi_size: int = 14  # bins per side of the RoIAlign window
    sampling_ratio: int = 2  # samples per bin and side
    fuse_rounds: int = 5  # rounds of cross-level mixing before the pooling
    # Groups of the GroupNorm in a fuse round; divides the image encoder's width.
    norm_groups: int = 64
    width: int = 1024  # width of the pooled region feature before the projection to the text width
    position_width: int = 256  # hidden width of the box embedding
    # Normalise the pooled feature before the box embedding is added, so that neither drowns the
    # other; released checkpoints do not.
    norm_features: bool = False


@strict
class ConvolutionalEncoderConfig(PreTrainedConfig):
    """Sizes of the convolutional detector that sees photographs: NanoDet-g's by default."""

    model_type = "groma_convolutional_encoder"

    # Channels of the first convolution; every stage after the first doubles them.
    stem_width: int = 32
    # Residual blocks of each of the four stages.
    stage_blocks: list[int] | tuple[int, ...] = (1, 2, 2, 3)
    width: int = 128  # channels of the feature pyramid and of the heads
    num_classes: int = 80  # kinds of things that the heads tell apart
    num_bins: int = 11  # a box edge is at most `num_bins - 1` strides from its cell's centre
    view_size: int = 416  # side in pixels at which the whole picture is looked at, first
    # What is found at the picture's full size counts where the square root of its share of the
    # picture is below this; what is larger is seen better in the whole.
    small_side: float = 0.3
    small_trust: float = 0.85  # probabilities of small things are multiplied by this
    # And so are those of things that tiles of a picture show, where it is looked at in more detail.
    tile_trust: float = 0.5
    num_candidates: int = 1000  # Q, the best cells of both looks, before any are suppressed
    # Weights of the logit of the best class's probability, of lying in (or around) a better region
    # of that class and of the logarithm of the size, and a constant.
    certainty: list[float] | tuple[float, ...] = (2.58, -0.35, 0.24, 1.43)


@strict
class RegionCodeConfig(PreTrainedConfig):
    """What the region tokens of a convolutional image encoder can say (`RegionCode`)."""

    model_type = "groma_region_code"

    # Names of things; the first are the detector's classes, in their order.
    nouns: list[str] | tuple[str, ...] = ()
    colourless: list[str] | tuple[str, ...] = ()  # nouns whose colour is not told
    # Square root of a box's share of the picture: below the first a thing is called small, from the
    # second on large.
    size_limits: list[float] | tuple[float, float] = (0.12, 0.38)
    num_features: int = 64  # pooled features of a region besides, for what has no name
    sure: float | int = 0.6  # probability above which a region's name is told unasked
    unsure: float | int = 0.15  # the same where one asks
    # How much a box of the user must overlap with something found to be taken for it.
    known: float | int = 0.4
    # Whether an image classifier names what the user marks and the detector does not know.
    classifier: bool = False


@strict
class GromaConfig(PreTrainedConfig):
    """Everything that fixes the shape and the behaviour of a Groma model."""

    model_type = "groma"
    sub_configs_defaults = {  # noqa: RUF012
        "vision_config": SubConfigSpec(config_class=Dinov2Config),
        "proposer_config": SubConfigSpec(config_class=RegionProposerConfig),
        "region_config": SubConfigSpec(config_class=RegionEncoderConfig),
        "text_config": SubConfigSpec(config_class=LlamaConfig),
    }

    # The DINOv2 image encoder, a `Dinov2Config`; or a convolutional detector in its place, a
    # `ConvolutionalEncoderConfig`, whose heads are the region proposer.
    vision_config: Any = None
    proposer_config: Any = None  # the region proposer, a `RegionProposerConfig`
    # The region encoder, a `RegionEncoderConfig`; behind a convolutional detector a
    # `RegionCodeConfig`.
    region_config: Any = None
    # The LLaMA-family language model, a `LlamaConfig` whose `vocab_size` counts the new tokens too.
    text_config: Any = None
    image_size: int = 448  # side S of the square picture the image encoder sees, in pixels
    # Index into the image encoder's hidden states (0 is the embedding, -1 the last block) that
    # feeds the image tokens.
    image_token_layer: int = -1
    # Proposals overlapping a better one by more than this IoU are dropped.
    nms_threshold: float | int = 0.6
    # Proposals at or below this objectness are dropped; <= 0 keeps all.
    score_threshold: float | int = 0.15
    max_regions: int = NUM_REGION_TOKENS  # most regions of one picture, at most 100
    # How the regions of a picture are numbered and listed: "score", best first, or "left_to_right"
    # by their centres.
    region_order: Literal["score", "left_to_right"] = "score"
    # Reproduce the released checkpoints exactly: region windows from (cx, cy) to (w, h) at half the
    # stride, and the position table resized with DINOv2's 0.1 offset. Off for checkpoints of our
    # own, which follow the paper.
    compat: bool = False
    # Names of the adapters (LoRA) whose weights are part of the model's.
    merged_adapters: list[str] | tuple[str, ...] = ()
    # What labelled boxes have taught the model to recognise, see `TaughtNames`.
    taught_names: list[str] | tuple[str, ...] = ()
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Check the settings that several parts rely on.

        Raises `ValueError` if `image_size` is no multiple of twice the patch size (of 64 for a
        convolutional detector, which sees it at half the size too), or `max_regions` is outside
        1..100.
        """
        for name, kind in (
            ("vision_config", ConvolutionalEncoderConfig),
            ("region_config", RegionCodeConfig),
        ):
            given = getattr(self, name)
            if isinstance(given, dict) and given.get("model_type") == kind.model_type:
                setattr(self, name, kind(**given))
        super().__post_init__(**kwargs)
        patch = 32 if self.is_convolutional else self.vision_config.patch_size
        if self.image_size % (2 * patch):
            raise ValueError(
                f"image_size {self.image_size} must be a multiple of twice the patch size "
                f"({patch}): image tokens merge 2x2 patches."
            )
        if not 1 <= self.max_regions <= NUM_REGION_TOKENS:
            raise ValueError(f"max_regions {self.max_regions} must be in 1..{NUM_REGION_TOKENS}.")

    @property
    def is_convolutional(self) -> bool:
        """Whether a convolutional detector takes the place of DINOv2 and the DETR head."""
        return isinstance(self.vision_config, ConvolutionalEncoderConfig)

    @property
    def image_width(self) -> int:
        """Channels of the image encoder's maps."""
        vision = self.vision_config
        return vision.width if self.is_convolutional else vision.hidden_size

    @property
    def image_layers(self) -> int:
        """Layers of the image encoder; residual blocks of a convolutional one."""
        vision = self.vision_config
        return sum(vision.stage_blocks) if self.is_convolutional else vision.num_hidden_layers

    @property
    def grid_size(self) -> int:
        """Patches per side of the picture; of a convolutional detector, cells of 16 pixels."""
        return self.image_size // (16 if self.is_convolutional else self.vision_config.patch_size)

    @property
    def num_image_tokens(self) -> int:
        """P, image tokens per picture after the 2x2 merge; none of a convolutional detector."""
        if self.is_convolutional:
            return 0
        return (self.grid_size // 2) ** 2

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Self:
        """Read our config.json, or the released one (recognised by its `perceiver_cfg`)."""
        if "perceiver_cfg" in config_dict:
            config_dict = _upgrade_released(config_dict)
        return super().from_dict(config_dict, **kwargs)


# Class defaults of transformers 4.32, which the released config.json leaves out.
_RELEASED_VISION = {"image_size": 224, "patch_size": 16}
_PROPOSER: dict[str, tuple[str, Any]] = {
    "d_model": ("width", 256),
    "encoder_layers": ("encoder_layers", 6),
    "decoder_layers": ("decoder_layers", 6),
    "encoder_ffn_dim": ("encoder_ffn_width", 1024),
    "decoder_ffn_dim": ("decoder_ffn_width", 1024),
    "decoder_attention_heads": ("num_heads", 8),
    "decoder_n_points": ("num_points", 4),
    "num_queries": ("num_queries", 300),
    "num_feature_levels": ("num_levels", 4),
    "dropout": ("dropout", 0.1),
    "class_cost": ("class_cost", 1),
    "bbox_cost": ("box_cost", 5),
    "giou_cost": ("giou_cost", 2),
    "cls_loss_coefficient": ("class_weight", 2),
    "bbox_loss_coefficient": ("box_weight", 5),
    "giou_loss_coefficient": ("giou_weight", 2),
    "focal_alpha": ("focal_alpha", 0.25),
}
"""Of the released region proposer: our name of a setting, and its class default."""


def _upgrade_released(released: dict[str, Any]) -> dict[str, Any]:
    """Turn the released checkpoint's config.json into the arguments of `GromaConfig`.

    Its nested parts hold only differences from the class defaults. Returns keyword arguments with
    `compat` on; 448 px, RoI 14, 1024-wide regions as in the release.
    """
    perceiver = released["perceiver_cfg"]
    vision = _RELEASED_VISION | perceiver["vis_encoder_cfg"]
    told = perceiver["ddetr_cfg"]
    text = dict(released["llm_cfg"])
    text["vocab_size"] += released["num_new_token"]
    for part in (vision, text):
        part.pop("transformers_version", None)
    return {
        "architectures": ["GromaForConditionalGeneration"],
        "vision_config": vision,
        "proposer_config": {ours: told.get(k, usual) for k, (ours, usual) in _PROPOSER.items()},
        "text_config": text,
        "image_token_layer": perceiver["vis_output_layer"],
        "nms_threshold": released["nms_thres"],
        "score_threshold": released["box_score_thres"],
        "max_regions": released["max_region_num"],
        "compat": True,
    } | {k: released[k] for k in ("torch_dtype", "quantization_config") if k in released}
