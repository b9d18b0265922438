"""Image features and boxes -> region tokens (paper 3.1, Region Encoder)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groma.config import GromaConfig
from groma.ops.boxes import box_xyxy_to_cxcywh
from groma.ops.roi_align import roi_align

LEVEL_SCALES = (4, 2, 1)
"""Sides of the three fused maps in multiples of the patch grid's, finest first."""


class RegionEncoder(nn.Module):
    """Pools a region's features on three levels into one token (paper 3.1, Region Encoder).

    `fuse` depends on the picture alone and is done once per picture; `forward` is done for every
    set of boxes.
    """

    def __init__(self, config: GromaConfig) -> None:
        super().__init__()
        region = config.region_config
        channels = config.vision_config.hidden_size
        self.roi_size = region.roi_size
        self.sampling_ratio = region.sampling_ratio
        self.compat = config.compat
        self.fusion = LevelFusion(channels, region.fuse_rounds, region.norm_groups)
        self.level_convs = nn.ModuleList(
            nn.Conv2d(channels, channels, kernel_size=3, padding=1) for _ in LEVEL_SCALES
        )
        self.flatten = nn.Linear(channels * region.roi_size**2, region.width)
        self.norm = nn.LayerNorm(region.width) if region.norm_features else nn.Identity()
        self.box_embedding = nn.Sequential(
            nn.Linear(4, region.position_width),
            nn.ReLU(),
            nn.LayerNorm(region.position_width),
            nn.Linear(region.position_width, region.width),
            nn.ReLU(),
            nn.LayerNorm(region.width),
        )
        self.projection = nn.Linear(region.width, config.text_config.hidden_size)

    def fuse(self, hidden_states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Turn the image encoder's last three layers into a pyramid of mixed feature maps.

        They come in order, each (B, D, g, g) on the patch grid. Returns maps (B, D, 4g, 4g),
        (B, D, 2g, 2g) and (B, D, g, g), channels last in memory.
        """
        return self.fusion(hidden_states)

    def forward(
        self,
        feature_maps: Sequence[Tensor],
        boxes: Sequence[Tensor],
        masks: Sequence[Tensor] | None = None,
        in_maps: Sequence[Tensor] | None = None,
    ) -> list[Tensor]:
        """Encode regions of pictures that are already fused.

        Args:
            feature_maps: what `fuse` returned for B pictures.
            boxes: for each picture (N_i, 4) xyxy in [0, 1]; N_i may be 0. Keep them in float32:
                a 16-bit corner is off by pixels.
            masks: for each picture (N_i, M, M) how much each cell of a box counts, 0 to 1. With
                `compat` they are not looked at: the windows of released checkpoints lie elsewhere.
            in_maps: the same boxes in [0, 1] of what the maps show, where those are of a tile.

        Returns:
            For each picture (N_i, text width) region tokens.
        """
        counts = [len(picture_boxes) for picture_boxes in boxes]
        all_boxes = torch.cat(list(boxes))
        owners = torch.arange(len(counts), device=all_boxes.device).repeat_interleave(
            torch.tensor(counts, device=all_boxes.device)
        )
        all_masks = None if masks is None or self.compat else torch.cat(list(masks))
        shown = all_boxes if in_maps is None else torch.cat(list(in_maps))
        appearance = self._appearance(feature_maps, self.windows(shown), owners, all_masks)
        # The place is given as centre and size in every checkpoint; only the windows differ.
        position = self.box_embedding(box_xyxy_to_cxcywh(all_boxes).to(appearance.dtype))
        return list(self.projection(self.norm(appearance) + position).split(counts))

    def windows(self, boxes: Tensor) -> Tensor:
        """What each box samples: first and second corner (x, y, x, y), the picture spans 0 to 1.

        Those are the (N, 4) boxes themselves, xyxy in [0, 1], unless `compat` is on. Released
        checkpoints were trained with centre and size taken for two corners, at half the true
        stride: their windows run from 2 (cx, cy) to 2 (w, h), often backwards, and what lies beyond
        the picture is 0.
        """
        # The 2: the release takes the strides for 14 / 8, 14 / 4 and 14 / 2 pixels, and they are
        # 14 / 4, 14 / 2 and 14. Most of its pooled features are 0 for it.
        return 2 * box_xyxy_to_cxcywh(boxes) if self.compat else boxes

    def pool(
        self, maps: Sequence[Tensor], windows: Tensor, owners: Tensor, masks: Tensor | None = None
    ) -> list[Tensor]:
        """RoIAlign on three levels, each (B, D, H, W), to (N, D, S, S) each.

        `windows` are (N, 4) first and second corners, where the picture spans 0 to 1; `owners` (N,)
        which picture each looks at; `masks` (N, M, M) how much each cell of a window counts.
        """
        return [
            roi_align(
                level, windows * level.shape[-1], owners, self.roi_size, self.sampling_ratio, masks
            )
            for level in maps
        ]

    def _appearance(
        self, maps: Sequence[Tensor], windows: Tensor, owners: Tensor, masks: Tensor | None
    ) -> Tensor:
        # All windows that miss the picture see the same zeros: one of them is computed for all.
        # A sample less than a cell outside still counts, so the coarsest cell is the margin.
        margin = 1 / maps[-1].shape[-1]
        low, high = windows.unflatten(1, (2, 2)).aminmax(dim=1)
        visible = ((low <= 1 + margin) & (high >= -margin)).all(dim=1)
        nowhere = windows.new_full((1, 4), 2 + margin)
        distinct = torch.cat([windows[visible], nowhere])
        if masks is not None:
            masks = torch.cat([masks[visible], masks.new_ones(1, *masks.shape[1:])])
        pooled = self.pool(maps, distinct, torch.cat([owners[visible], owners.new_zeros(1)]), masks)
        first, *others = (conv(x) for conv, x in zip(self.level_convs, pooled, strict=True))
        mixed = F.relu(sum(others, start=first), inplace=True)
        features = self.flatten(mixed.flatten(1))
        return features[torch.where(visible, visible.cumsum(0) - 1, len(distinct) - 1)]


class LevelFusion(nn.Module):
    """Builds three feature maps and mixes neighbouring levels (paper 3.1, Region Encoder)."""

    def __init__(self, channels: int, rounds: int, groups: int) -> None:
        super().__init__()
        self.input_convs = nn.ModuleList(
            nn.Conv2d(channels + 2, channels, kernel_size=1) for _ in LEVEL_SCALES
        )
        self.rounds = nn.ModuleList(FusionRound(channels, groups) for _ in range(rounds))

    def forward(self, hidden_states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Mix (B, D, g, g) hidden states into maps of 4g, 2g and g per side."""
        maps = []
        for hidden, conv, scale in zip(hidden_states, self.input_convs, LEVEL_SCALES, strict=True):
            # A 1x1 convolution and the coordinates commute with the resizing: done small first.
            maps.append(_resize(conv(_with_coordinates(hidden)), scale * hidden.shape[-1]))
        # Each round reads the maps of the round before, not neighbours that it has just updated.
        for fusion_round in self.rounds:
            maps = fusion_round(maps)
        return tuple(maps)


class FusionRound(nn.Module):
    """Gives every level a quarter of its neighbours' channels, then convolves (paper 3.1).

    One set of weights serves all levels.
    """

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        # The convolution has no bias, because the norm would cancel it.
        self.norm = nn.GroupNorm(groups, channels)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Mix maps (B, D, H, W), finest first; the result has the same shapes."""
        mixed = (_borrow_channels(maps, level) for level in range(len(maps)))
        return [F.relu(self.norm(self.conv(level)), inplace=True) for level in mixed]


def _borrow_channels(maps: Sequence[Tensor], level: int) -> Tensor:
    """Replace the last two quarters of a level's channels by its coarser and finer neighbour's."""
    own = maps[level]
    coarser = maps[min(level + 1, len(maps) - 1)]
    finer = maps[max(level - 1, 0)]
    # The finest level is its own finer neighbour, the coarsest its own coarser one.
    channels, size = own.shape[1], own.shape[-1]
    kept, quarter = channels - 2 * (channels // 4), channels // 4
    from_coarser = _resize(coarser[:, kept + quarter :], size)
    from_finer = _resize(finer[:, kept : kept + quarter], size)
    return torch.cat([own[:, :kept], from_coarser, from_finer], dim=1)


def _resize(feature_map: Tensor, size: int) -> Tensor:
    if feature_map.shape[-1] == size:
        return feature_map
    return F.interpolate(feature_map, size=(size, size), mode="bilinear", align_corners=True)


def _with_coordinates(grid: Tensor) -> Tensor:
    """Append x and y, each from -1 to 1, to (B, D, g, g) as two channels."""
    steps = torch.linspace(-1, 1, grid.shape[-1], dtype=grid.dtype, device=grid.device)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    coordinates = torch.stack([x, y]).expand(len(grid), -1, -1, -1)
    # From here on all maps are channels last: the pooling reads whole channel vectors.
    return torch.cat([grid, coordinates], dim=1).contiguous(memory_format=torch.channels_last)
