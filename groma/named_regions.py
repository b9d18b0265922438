"""Regions of a conversation, which have names, and the phrases that mean them; frozen data."""

from dataclasses import dataclass
from typing import Any, Self

from groma.shapes import Mask, Shape, parse_shape
from groma.types import Box, to_box


@dataclass(frozen=True)
class RegionRef:
    """A region a phrase points to."""

    id: int  # N of `<rN>`; stable for a whole conversation
    box: Box  # xyxy in pixels of the original picture
    score: float  # probability of this region's token among all regions at that step
    objectness: float  # the proposer's score; 1.0 for a user region
    user: int | None = None  # number K of the user's region `[K]` (from 1), or None for a proposal
    mask: Mask | None = None  # the pixels of the thing, where somebody asked for them
    shape: Shape | None = None  # what the user drew, where that is no box

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        return _to_dict(self, "score")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(score=float(data["score"]), **_from_dict(data))


@dataclass(frozen=True)
class Region:
    """A box that has the name `<rN>` for as long as its conversation lasts."""

    id: int  # N of `<rN>`
    box: Box  # xyxy in pixels of the original picture, inside it
    extent: Box  # xyxy in [0, 1] as the region encoder sees it; a proposal may reach over the edge
    objectness: float  # the proposer's score; 1.0 for a user region
    user: int | None = None  # number K of the user's region `[K]` (from 1), or None for a proposal
    shape: Shape | None = None  # what the user drew, where that is no box
    mask: Mask | None = None  # the pixels that its token is of, where that is not the whole box

    def ref(self, score: float) -> RegionRef:
        """This region as something a phrase points to with probability `score`."""
        return RegionRef(self.id, self.box, score, self.objectness, self.user, shape=self.shape)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        return _to_dict(self, "extent")

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        return cls(extent=to_box(data["extent"]), **_from_dict(data))


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
        return vars(self) | {"regions": [region.to_dict() for region in self.regions]}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        regions = tuple(RegionRef.from_dict(region) for region in data["regions"])
        return cls(int(data["start"]), int(data["end"]), regions)


def _to_dict(region: RegionRef | Region, own: str) -> dict[str, Any]:
    """What both kinds have, and one field more, JSON-ready; mask and shape where there are any."""
    data = {name: getattr(region, name) for name in ("id", "box", own, "objectness", "user")}
    lists = {name: list(value) for name, value in data.items() if isinstance(value, tuple)}
    mask = {"mask": region.mask.to_run_lengths()} if region.mask else {}
    return data | lists | mask | ({"shape": region.shape.to_json()} if region.shape else {})


def _from_dict(data: dict[str, Any]) -> dict[str, Any]:
    """What both kinds have, by the names of their fields."""
    return {
        "id": int(data["id"]),
        "box": to_box(data["box"]),
        "objectness": float(data["objectness"]),
        "user": None if data["user"] is None else int(data["user"]),
        "mask": Mask.from_json(data["mask"]) if "mask" in data else None,
        "shape": parse_shape(data["shape"]) if "shape" in data else None,
    }
