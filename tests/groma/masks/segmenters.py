"""Tiny promptable segmenters with random weights, saved as the published ones are."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    EdgeTamConfig,
    EdgeTamModel,
    PreTrainedConfig,
    PreTrainedModel,
    Sam2Config,
    Sam2Model,
)
from transformers.modeling_outputs import BaseModelOutput

SIDE = 64
WIDTHS = (4, 8, 12, 16)
_SHARED: dict[str, Any] = {
    "prompt_encoder_config": {"hidden_size": 16, "image_size": SIDE, "mask_input_channels": 4},
    "mask_decoder_config": {
        "hidden_size": 16,
        "mlp_dim": 16,
        "num_attention_heads": 2,
        "iou_head_hidden_dim": 16,
    },
}
_VISION: dict[str, Any] = {
    "backbone_channel_list": list(reversed(WIDTHS)),
    "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    "fpn_hidden_size": 16,
}


class TinyBackboneConfig(PreTrainedConfig):
    """In the place of EdgeTAM's, which is a model of timm."""

    model_type = "tiny_backbone"


class TinyBackbone(PreTrainedModel):
    """Four levels of features, a quarter to a thirty-second of the picture's side."""

    config_class = TinyBackboneConfig

    def __init__(self, config: TinyBackboneConfig) -> None:
        super().__init__(config)
        self.levels = nn.ModuleList(
            nn.Conv2d(3, width, 4 * 2**i, stride=4 * 2**i) for i, width in enumerate(WIDTHS)
        )
        self.post_init()

    def forward(self, pixel_values: Tensor, **_: Any) -> BaseModelOutput:
        levels: Any = [level(pixel_values) for level in self.levels]
        return BaseModelOutput(last_hidden_state=levels)


AutoConfig.register("tiny_backbone", TinyBackboneConfig)
AutoModel.register(TinyBackboneConfig, TinyBackbone)


def save_segmenter(kind: str, folder: Path) -> Any:
    """Save a segmenter of one kind, "sam2" or "edgetam", and return it."""
    torch.manual_seed(0)
    if kind == "sam2":
        backbone = {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": WIDTHS[0],
            "image_size": [SIDE, SIDE],
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": list(WIDTHS),
            "num_attention_heads_per_stage": [1, 1, 1, 1],
            "global_attention_blocks": [3],
        }
        config = Sam2Config(vision_config={**_VISION, "backbone_config": backbone}, **_SHARED)
        model = Sam2Model(config)
    else:
        backbone = TinyBackboneConfig()
        config = EdgeTamConfig(vision_config={**_VISION, "backbone_config": backbone}, **_SHARED)
        model = EdgeTamModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    model.eval().save_pretrained(folder)
    return model
