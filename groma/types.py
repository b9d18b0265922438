"""The frozen data that flows between Groma's parts; no nn.Module, no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import supervision as sv
from PIL import Image
from torch import Tensor

Box = tuple[float, float, float, float]
Size = tuple[int, int]
Finish = Literal["stop", "length", "cancelled", "streaming"]


class GromaError(ValueError):
    """Something the user can mend; the message is one sentence that says what and how."""


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
        return {
            "id": self.id,
            "box": list(self.box),
            "score": self.score,
            "objectness": self.objectness,
            "user": self.user,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(data["id"], tuple(data["box"]), data["score"], data["objectness"], data["user"])


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
        return cls(data["start"], data["end"], regions)


@dataclass(frozen=True)
class GroundedReply:
    """One answer: plain text, and which of its phrases mean which regions (paper 3.2).

    Attributes:
        text: the answer without any tag.
        spans: grounded phrases in order of their start.
        image_size: (H, W) of the original picture, the frame of all boxes.
        finish: why the text ends; "streaming" while more may come.
    """

    text: str
    spans: tuple[GroundedSpan, ...]
    image_size: Size
    finish: Finish = "stop"

    @property
    def regions(self) -> tuple[RegionRef, ...]:
        """Every region mentioned, once each, in order of first mention."""
        found: dict[int, RegionRef] = {}
        for span in self.spans:
            for region in span.regions:
                found.setdefault(region.id, region)
        return tuple(found.values())

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        return {
            "text": self.text,
            "spans": [
                span.to_dict() | {"phrase": self.text[span.start : span.end]} for span in self.spans
            ],
            "image_size": list(self.image_size),
            "finish": self.finish,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        spans = tuple(GroundedSpan.from_dict(span) for span in data["spans"])
        height, width = data["image_size"]
        return cls(data["text"], spans, (height, width), data["finish"])
