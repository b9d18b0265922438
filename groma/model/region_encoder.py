"""Multi-level RoIAlign -> region tokens (paper 3.1, Region Encoder)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groma.config import GromaConfig
from groma.ops.boxes import box_xyxy_to_cxcywh
from groma.ops.roi_align import roi_align

OFFICIAL_KEYS = (
    (r"^region_encoder\.mlvl_fuse\.input_conv\.", "region_encoder.fusion.input_convs."),
    (r"^region_encoder\.mlvl_fuse\.fuse_convs\.(\d+)\.gn\.", r"region_encoder.fusion.rounds.\1.norm."),
    (r"^region_encoder\.mlvl_fuse\.fuse_convs\.", "region_encoder.fusion.rounds."),
    (r"^region_encoder\.roi_align\.pconvs\.", "region_encoder.level_convs."),
    (r"^region_encoder\.roi_align\.pos_embedd\.", "region_encoder.box_embedding."),
    (r"^region_encoder\.roi_align\.flatten_linear\.", "region_encoder.flatten."),
    (r"^region_encoder\.roi_align\.updims\.", "region_encoder.projection."),
)
"""(pattern, replacement) pairs from the released state dict to ours; one to one."""

LEVEL_SCALES = (4, 2, 1)


class RegionEncoder(nn.Module):
    def __init__(self, config: GromaConfig) -> None:
        super().__init__()
        region = config.region_config
        channels = config.vision_config.hidden_size
        self.roi_size = region.roi_size
        self.sampling_ratio = region.sampling_ratio
        self.compat = config.compat
        self.fusion = LevelFusion(channels, config.grid_size, region.fuse_rounds, region.norm_groups)
        self.level_convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in LEVEL_SCALES)
        self.flatten = nn.Linear(channels * region.roi_size**2, region.width)
        self.box_embedding = nn.Sequential(
            nn.Linear(4, region.position_width), nn.ReLU(), nn.LayerNorm(region.position_width),
            nn.Linear(region.position_width, region.width), nn.ReLU(), nn.LayerNorm(region.width),
        )
        self.projection = nn.Linear(region.width, config.text_config.hidden_size)

    def fuse(self, hidden_states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return self.fusion(hidden_states)

    def forward(self, feature_maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> list[Tensor]:
        pooled = [self.pool(m, boxes) for m in feature_maps]
        mixed = sum(conv(x) for conv, x in zip(self.level_convs, pooled))
        features = self.flatten(F.relu(mixed).flatten(1))
        features = features + self.box_embedding(box_xyxy_to_cxcywh(torch.cat(list(boxes))).to(features.dtype))
        return list(self.projection(features).split([len(b) for b in boxes]))

    def pool(self, feature_map, boxes):
        height, width = feature_map.shape[-2:]
        size = boxes[0].new_tensor([width, height, width, height])
        windows = [self._window(b) * size for b in boxes]
        return roi_align(feature_map, windows, self.roi_size, self.sampling_ratio)

    def _window(self, boxes):
        if self.compat:
            return 2 * box_xyxy_to_cxcywh(boxes)
        return boxes


class LevelFusion(nn.Module):
    def __init__(self, channels, grid_size, rounds, groups):
        super().__init__()
        self.sizes = [grid_size * s for s in LEVEL_SCALES]
        self.input_convs = nn.ModuleList(nn.Conv2d(channels + 2, channels, 1) for _ in LEVEL_SCALES)
        self.rounds = nn.ModuleList(FuseRound(channels, groups) for _ in range(rounds))

    def forward(self, hidden_states):
        maps = tuple(resize(conv(append_coordinates(h)), s) for conv, h, s in zip(self.input_convs, hidden_states, self.sizes))
        for r in self.rounds:
            maps = r(maps)
        return maps


class FuseRound(nn.Module):
    def __init__(self, channels, groups):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(groups, channels)

    def forward(self, maps):
        return tuple(F.relu(self.norm(self.conv(mix_levels(maps, l))), inplace=True) for l in range(len(maps)))


def mix_levels(maps, level):
    own = maps[level]
    coarser = maps[min(level + 1, len(maps) - 1)]
    finer = maps[max(level - 1, 0)]
    c = own.shape[1]
    q = c // 4
    return torch.cat([own[:, : c - 2 * q], resize(coarser[:, c - q :], own.shape[-1]), resize(finer[:, c - 2 * q : c - q], own.shape[-1])], 1)


def resize(feature_map, size):
    if feature_map.shape[-1] == size:
        return feature_map
    return F.interpolate(feature_map, size=(size, size), mode="bilinear", align_corners=True)


def append_coordinates(feature_map):
    b, _, h, w = feature_map.shape
    x = torch.linspace(-1, 1, w, device=feature_map.device, dtype=feature_map.dtype).expand(b, 1, h, w)
    y = torch.linspace(-1, 1, h, device=feature_map.device, dtype=feature_map.dtype)[:, None].expand(b, 1, h, w)
    return torch.cat([feature_map, x, y], 1)
