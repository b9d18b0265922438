"""The frozen data that flows between Groma's parts; no nn.Module, no I/O."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from torch import Tensor

from groma.foreign import printable

IGNORED = -100
"""Label of a position that is not supervised."""

Box = tuple[float, float, float, float]
Size = tuple[int, int]
ObjectnessMix = tuple[float, float]
"""Exponents of the two objectness heads, sigmoid(coco) and sigmoid(sa1b)."""


class GromaError(ValueError):
    """Something the user can mend; the message is one sentence that says what and how."""

    def __init__(self, sentence: str = "") -> None:
        super().__init__(printable(sentence))


@dataclass(frozen=True)
class PixelInput:
    """One picture as the image encoder sees it.

    Attributes:
        pixels: (3, S, S) normalised.
        original_size: (H, W) of the picture the user knows, in pixels, after EXIF rotation.
    """

    pixels: Tensor
    original_size: Size


@dataclass(frozen=True)
class Proposals:
    """What the region proposer found in one picture, best first (paper 3.1).

    Attributes:
        boxes: (Q, 4) xyxy in [0, 1].
        scores: (Q,) objectness in [0, 1].
    """

    boxes: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Regions:
    """Proposals and user boxes that have a name `<rN>` and a region token; row N is `<rN>`.

    Attributes:
        boxes: (N, 4) xyxy in [0, 1].
        scores: (N,) objectness; 1.0 for a user region.
        is_user: (N,) bool.
        tokens: (N, D) region tokens in the text width, or None before they are encoded.
    """

    boxes: Tensor
    scores: Tensor
    is_user: Tensor
    tokens: Tensor | None = None

    def __len__(self) -> int:
        """N."""
        return len(self.boxes)


@dataclass(frozen=True)
class ImageFeatures:
    """A batch of pictures after image encoder and region proposer (paper 3.1).

    Attributes:
        hidden: of the image encoder, each (B, D, g, g): the levels that the region encoder fuses,
            then the one that image tokens are made of.
        proposals: per picture, best first.
    """

    hidden: tuple[Tensor, ...]
    proposals: tuple[Proposals, ...]


@dataclass(frozen=True)
class EncodedImage:
    """Everything about one picture that does not depend on the conversation.

    Attributes:
        original_size: (H, W) in pixels.
        image_tokens: (P, D) in the text width.
        feature_maps: the region encoder's fused maps, finest first, each (C, h, w).
        proposals: all Q of them, best first.
    """

    original_size: Size
    image_tokens: Tensor
    feature_maps: tuple[Tensor, ...]
    proposals: Proposals


@dataclass(frozen=True)
class RegionRef:
    """A region a phrase points to.

    Attributes:
        id: N of `<rN>`; stable for a whole conversation.
        box: xyxy in pixels of the original picture.
        score: probability of this region's token among all regions at that step.
        objectness: the proposer's score; 1.0 for a user region.
        user: number K of the user's region `[K]` (from 1), or None for a proposal.
    """

    id: int
    box: Box
    score: float
    objectness: float
    user: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        return asdict(self) | {"box": list(self.box)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        user = None if data["user"] is None else int(data["user"])
        score, objectness = float(data["score"]), float(data["objectness"])
        return cls(int(data["id"]), to_box(data["box"]), score, objectness, user)


@dataclass(frozen=True)
class Region:
    """A box that has the name `<rN>` for as long as its conversation lasts.

    Attributes:
        id: N of `<rN>`.
        box: xyxy in pixels of the original picture, inside it.
        extent: xyxy in [0, 1] as the region encoder sees it; a proposal may reach over the edge.
        objectness: the proposer's score; 1.0 for a user region.
        user: number K of the user's region `[K]` (from 1), or None for a proposal.
    """

    id: int
    box: Box
    extent: Box
    objectness: float
    user: int | None = None

    def ref(self, score: float) -> RegionRef:
        """This region as something a phrase points to with probability `score`."""
        return RegionRef(self.id, self.box, score, self.objectness, self.user)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        return asdict(self) | {"box": list(self.box), "extent": list(self.extent)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        user = None if data["user"] is None else int(data["user"])
        box, extent = to_box(data["box"]), to_box(data["extent"])
        return cls(int(data["id"]), box, extent, float(data["objectness"]), user)


@dataclass(frozen=True)
class GroundedSpan:
    """Characters [start, end) of a reply's text and the regions they mean.

    `start == end` where the model gave regions without a phrase.
    """

    start: int
    end: int
    regions: tuple[RegionRef, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        return {
            "start": self.start,
            "end": self.end,
            "regions": [region.to_dict() for region in self.regions],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        regions = tuple(RegionRef.from_dict(region) for region in data["regions"])
        return cls(int(data["start"]), int(data["end"]), regions)


def to_box(values: Sequence[float]) -> Box:
    """Read a box from a file.

    Raises:
        ValueError: if it is not four finite numbers.
    """
    x1, y1, x2, y2 = (float(value) for value in values)
    if not all(math.isfinite(value) for value in (x1, y1, x2, y2)):
        raise ValueError("a box must hold finite numbers")
    return x1, y1, x2, y2


def to_size(values: Sequence[int]) -> Size:
    """Read (H, W) from a file.

    Raises:
        ValueError: if it is not two positive numbers.
    """
    height, width = (int(value) for value in values)
    if height <= 0 or width <= 0:
        raise ValueError("a picture must have a size")
    return height, width
