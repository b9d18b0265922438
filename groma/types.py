"""The frozen data that flows between Groma's parts; no nn.Module, no I/O, no torch to wait for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import Tensor

from groma.foreign import printable

IGNORED = -100  # label of a position that is not supervised

Box = tuple[float, float, float, float]
Size = tuple[int, int]
ObjectnessMix = tuple[float, float]
"""Exponents of the two objectness heads, sigmoid(coco) and sigmoid(sa1b)."""
Detail = Literal["auto", 1, 2, 3]
"""How many tiles in a row and in a column a picture is looked at in, besides the whole of it; 1 is
the whole alone, "auto" as many as keep its pixels."""


class GromaError(ValueError):
    """Something the user can mend; the message is one sentence that says what and how."""

    def __init__(self, sentence: str = "") -> None:
        # What it quotes, such as the name of a file, may have lines.
        super().__init__(" ".join(printable(sentence).splitlines()))


@dataclass(frozen=True)
class PixelInput:
    """One picture as the image encoder sees it."""

    pixels: Tensor  # (3, S, S) normalised
    original_size: Size  # (H, W) of the picture the user knows, in pixels, after EXIF rotation
    windows: Tensor  # (T, 4) xyxy in [0, 1] of tiles that are looked at besides; T may be 0
    tiles: Tensor  # (T, 3, S, S) normalised


@dataclass(frozen=True)
class Proposals:
    """What the region proposer found in one picture, best first (paper 3.1)."""

    boxes: Tensor  # (Q, 4) xyxy in [0, 1]
    scores: Tensor  # (Q,) objectness in [0, 1]


@dataclass(frozen=True)
class Regions:
    """Proposals and user boxes that have a name `<rN>` and a region token; row N is `<rN>`."""

    boxes: Tensor  # (N, 4) xyxy in [0, 1]
    scores: Tensor  # (N,) objectness; 1.0 for a user region
    is_user: Tensor  # (N,) bool
    # (N, D) region tokens in the text width, or None before they are encoded.
    tokens: Tensor | None = None

    def __len__(self) -> int:
        """N."""
        return len(self.boxes)


@dataclass(frozen=True)
class ImageFeatures:
    """A batch of pictures after image encoder and region proposer (paper 3.1)."""

    # Of the image encoder, each (B, D, g, g): the levels that the region encoder fuses, then the
    # one that image tokens are made of.
    hidden: tuple[Tensor, ...]
    proposals: tuple[Proposals, ...]  # per picture, best first


@dataclass(frozen=True)
class EncodedTiles:
    """Parts of a picture that were looked at by themselves."""

    windows: Tensor  # (T, 4) xyxy in [0, 1] of the picture
    feature_maps: tuple[Tensor, ...]  # as of an `EncodedImage`, each (T, C, h, w)


@dataclass(frozen=True)
class EncodedImage:
    """Everything about one picture that does not depend on the conversation."""

    original_size: Size  # (H, W) in pixels
    image_tokens: Tensor  # (P, D) in the text width
    # The region encoder's fused maps, finest first, each (C, h, w).
    feature_maps: tuple[Tensor, ...]
    proposals: Proposals  # all Q of them, best first
    tiles: EncodedTiles | None = None  # for small regions, where it was looked at in more detail
    masks: Any = None  # the picture as a maker of masks sees it (`groma.masks.maker.PictureMasks`)

    @property
    def num_bytes(self) -> int:
        """Memory it takes."""
        maps = (*self.feature_maps, *(self.tiles.feature_maps if self.tiles else ()))
        tensors = (self.image_tokens, *maps, self.proposals.boxes, self.proposals.scores)
        masks = self.masks.num_bytes if self.masks else 0
        return sum(tensor.nbytes for tensor in tensors) + masks


def scale_box(box: Box, size: Size) -> Box:
    """A box xyxy in [0, 1] in pixels of a picture of size (H, W)."""
    (height, width), (x1, y1, x2, y2) = size, box
    return x1 * width, y1 * height, x2 * width, y2 * height


def to_box(values: Sequence[float]) -> Box:
    """Read a box from a file; raises `ValueError` if it is not four finite numbers."""
    x1, y1, x2, y2 = (float(value) for value in values)
    if not all(math.isfinite(value) for value in (x1, y1, x2, y2)):
        raise ValueError("a box must hold finite numbers")
    return x1, y1, x2, y2


def to_size(values: Sequence[int]) -> Size:
    """Read (H, W) from a file; raises `ValueError` if it is not two positive numbers."""
    height, width = (int(value) for value in values)
    if height <= 0 or width <= 0:
        raise ValueError("a picture must have a size")
    return height, width
