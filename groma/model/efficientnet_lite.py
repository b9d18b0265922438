"""EfficientNet-Lite0, a small classifier of photographs: pixels -> ImageNet's 1000 classes.

The architecture of Tan and Le 2019 as its authors cut it down for phones: without squeeze and
excitation, with ReLU6. It names what a detector does not know.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn


class StageSizes(NamedTuple):
    """Sizes of the blocks between two maps; only a stage's first block has its stride."""

    num_blocks: int
    kernel_size: int
    stride: int
    expansion: int
    channels: int


LITE0 = (
    StageSizes(num_blocks=1, kernel_size=3, stride=1, expansion=1, channels=16),
    StageSizes(num_blocks=2, kernel_size=3, stride=2, expansion=6, channels=24),
    StageSizes(num_blocks=2, kernel_size=5, stride=2, expansion=6, channels=40),
    StageSizes(num_blocks=3, kernel_size=3, stride=2, expansion=6, channels=80),
    StageSizes(num_blocks=3, kernel_size=5, stride=1, expansion=6, channels=112),
    StageSizes(num_blocks=4, kernel_size=5, stride=2, expansion=6, channels=192),
    StageSizes(num_blocks=1, kernel_size=3, stride=1, expansion=6, channels=320),
)
_STEM_CHANNELS, _HEAD_CHANNELS = 32, 1280


class EfficientNetLite(nn.Module):
    """Says which of K classes a picture shows: of 1000 in the order of ImageNet's challenge.

    Batch normalisation is folded into the convolutions, so this is for inference alone.
    """

    def __init__(self, stages: Sequence[StageSizes] = LITE0, num_classes: int = 1000) -> None:
        super().__init__()
        self.stem = _conv_unit(3, _STEM_CHANNELS, kernel_size=3, stride=2)
        self.blocks = nn.Sequential(*_blocks(stages))
        self.head = _conv_unit(stages[-1].channels, _HEAD_CHANNELS, kernel_size=1)
        self.classes = nn.Linear(_HEAD_CHANNELS, num_classes)

    def forward(self, pixel_values: Tensor) -> Tensor:
        """(B, K) logits of (B, 3, H, W) RGB pictures in [-1, 1].

        Both sides are multiples of 32; it was trained at 224 x 224.
        """
        features = self.head(self.blocks(self.stem(pixel_values)))
        return self.classes(features.mean(dim=(-2, -1)))


class _Block(nn.Module):
    """Inverted residual: widen, mix each channel's neighbours, narrow."""

    def __init__(
        self, in_channels: int, channels: int, kernel_size: int, stride: int, expansion: int
    ) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expand = nn.Identity() if expansion == 1 else _conv_unit(in_channels, wide, 1)
        self.mix = _conv_unit(wide, wide, kernel_size, stride, groups=wide)
        self.project = nn.Conv2d(wide, channels, kernel_size=1)
        self.residual = stride == 1 and in_channels == channels

    def forward(self, hidden: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H / stride, W / stride)."""
        output = self.project(self.mix(self.expand(hidden)))
        return output + hidden if self.residual else output


class _SameConv(nn.Conv2d):
    """A convolution padded as TensorFlow pads it: an odd rest goes to the right and the bottom."""

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H / stride, W / stride)."""
        # PyTorch's own padding is the same on both sides, which shifts strided maps by half a pixel
        # against what the weights have learnt.
        rest = self.kernel_size[0] - self.stride[0]
        before, after = rest // 2, rest - rest // 2
        return super().forward(F.pad(input, (before, after, before, after)))


def _conv_unit(
    in_channels: int, channels: int, kernel_size: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    conv = _SameConv(in_channels, channels, kernel_size, stride, groups=groups)
    return nn.Sequential(conv, nn.ReLU6())


def _blocks(stages: Sequence[StageSizes]) -> Iterator[_Block]:
    in_channels = _STEM_CHANNELS
    for sizes in stages:
        for number in range(sizes.num_blocks):
            stride = sizes.stride if number == 0 else 1
            yield _Block(in_channels, sizes.channels, sizes.kernel_size, stride, sizes.expansion)
            in_channels = sizes.channels
