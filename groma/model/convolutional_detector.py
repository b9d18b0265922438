"""NanoDet-g, a small convolutional detector: pixels -> features, classes and boxes of every cell.

The architecture of https://github.com/RangiLyu/nanodet (nanodet-g): a cross-stage partial backbone,
a path aggregation network without convolutions, and a generalised focal loss head (Li et al. 2020),
which tells each box edge by a distribution over distances.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groma.config import ConvolutionalEncoderConfig

STRIDES = (8, 16, 32)
"""Pixels per cell of the three levels, finest first."""


@dataclass(frozen=True)
class DetectorLevel:
    """What the detector says at every cell of one level."""

    features: Tensor  # (B, C, h, w), a map of the feature pyramid
    class_logits: Tensor  # (B, K, h, w); the sigmoid is the probability of each class by itself
    boxes: Tensor  # (B, h * w, 4) xyxy in [0, 1] of the picture, rows first; may hang over its edge


class ConvolutionalDetector(nn.Module):
    """Finds things in photographs, cell by cell, at three strides."""

    def __init__(self, config: ConvolutionalEncoderConfig) -> None:
        super().__init__()
        width = config.stem_width
        self.stem = _ConvUnit(3, width, stride=2)
        self.stages = nn.ModuleList(
            _Stage(width << number, num_blocks, stride=1 if number == 0 else 2)
            for number, num_blocks in enumerate(config.stage_blocks)
        )
        self.pyramid = _FeaturePyramid([width << level for level in (2, 3, 4)], config.width)
        self.heads = nn.ModuleList(_Head(config) for _ in STRIDES)

    def forward(self, pixel_values: Tensor) -> list[DetectorLevel]:
        """Detect in (B, 3, H, W) RGB pictures, normalised with the ImageNet statistics.

        Both sides are multiples of the coarsest stride; it was trained at 416 x 416 on pictures
        resized regardless of their aspect. Returns a level per stride, finest first.
        """
        hidden = F.max_pool2d(self.stem(pixel_values), kernel_size=3, stride=2, padding=1)
        maps = []
        for stage in self.stages:
            hidden = stage(hidden)
            maps.append(hidden)
        levels = self.pyramid(maps[-len(STRIDES) :])
        return [head(level) for head, level in zip(self.heads, levels, strict=True)]


class _ConvUnit(nn.Sequential):
    """A convolution whose normalisation is folded into it, and a leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1),
            nn.LeakyReLU(0.1),
        )


class _Stage(nn.Module):
    """Cross-stage partial stage: residual blocks beside a way around; C channels become 2C."""

    def __init__(self, channels: int, num_blocks: int, stride: int) -> None:
        super().__init__()
        self.entry = _ConvUnit(channels, channels, stride)
        self.blocks = nn.Sequential(*(_Block(channels) for _ in range(num_blocks)))
        self.exit = _ConvUnit(channels, channels)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, 2C, H / stride, W / stride)."""
        hidden = self.entry(hidden)
        return torch.cat([self.exit(self.blocks(hidden)), hidden], dim=1)


class _Block(nn.Module):
    """Two convolutions whose outputs stand side by side."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.reduce = _ConvUnit(channels, channels // 2)
        self.refine = _ConvUnit(channels // 2, channels // 2)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        hidden = self.reduce(hidden)
        return torch.cat([self.refine(hidden), hidden], dim=1)


class _FeaturePyramid(nn.Module):
    """Path aggregation (Liu et al. 2018) of three levels by resizing and adding alone."""

    def __init__(self, in_channels: list[int], width: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels, width, kernel_size=1) for channels in in_channels
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Map (B, C_l, h_l, w_l) at each level to (B, C, h_l, w_l), finest first."""
        fine, middle, coarse = (
            lateral(level) for lateral, level in zip(self.laterals, maps, strict=True)
        )
        # Top-down, then bottom-up; the sums reuse what they have just become.
        middle = middle + _resize(coarse, middle)
        fine = fine + _resize(middle, fine)
        middle = middle + _resize(fine, middle)
        return [fine, middle, coarse + _resize(middle, coarse)]


class _Head(nn.Module):
    """Class scores and box edges of one level's cells."""

    def __init__(self, config: ConvolutionalEncoderConfig) -> None:
        super().__init__()
        self.num_classes = config.num_classes
        self.tower = _ConvUnit(config.width, config.width)
        self.output = nn.Conv2d(config.width, config.num_classes + 4 * config.num_bins, 1)

    def forward(self, features: Tensor) -> DetectorLevel:
        """Read off a map (B, C, h, w) what is in its cells."""
        output = self.output(self.tower(features))
        bins = output[:, self.num_classes :].unflatten(1, (4, -1))
        return DetectorLevel(features, output[:, : self.num_classes], decode_boxes(bins))


def decode_boxes(bin_logits: Tensor) -> Tensor:
    """Turn distributions over distances into boxes (Li et al. 2020, section 3).

    `bin_logits` (B, 4, R, h, w) say for the left, top, right and bottom edge how likely it is 0 to
    R - 1 cells away from the cell's centre. Returns (B, h * w, 4) xyxy in [0, 1] of the map, rows
    first: the expected distances.
    """
    num_bins, height, width = bin_logits.shape[-3:]
    bins = torch.arange(num_bins, device=bin_logits.device, dtype=bin_logits.dtype)
    # The mean of the distribution, not its likeliest bin: edges come out between cells.
    distances = torch.einsum("bernw,r->benw", bin_logits.softmax(dim=2), bins)
    rows, columns = (
        torch.arange(size, device=bins.device, dtype=bins.dtype) + 0.5 for size in (height, width)
    )
    left, top, right, bottom = distances.unbind(dim=1)
    columns, rows = columns[None, None, :], rows[None, :, None]
    edges = [columns - left, rows - top, columns + right, rows + bottom]
    boxes = torch.stack(edges, dim=-1).flatten(1, 2)
    return boxes / boxes.new_tensor([width, height, width, height])


def _resize(level: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(level, size=like.shape[-2:], mode="bilinear", align_corners=False)
