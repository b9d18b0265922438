"""What can be said about a scene beyond doubt: places, sizes, relations, each with a margin."""

from functools import cached_property
from itertools import pairwise
from typing import Literal

from recipes.scenes.scene import Scene, Thing
from recipes.scenes.vocabulary import Vocabulary

Relation = Literal["left", "right", "above", "below"]
OPPOSITE: dict[Relation, Relation] = {
    "left": "right",
    "right": "left",
    "above": "below",
    "below": "above",
}
SIZE_RATIO = 1.6
"""One box's area against another's from which on one thing is called bigger."""
ORDER_GAP = 0.07
"""Least distance of centres, in shares of the picture's shorter side, for an order."""
_MIDDLE = (0.36, 0.64)
_RANK = {"small": 0, "medium": 1, "large": 2}


class Facts:
    """Questions to a scene whose answers a careful person would not argue with.

    Attributes:
        scene: what is asked about.
        side: shorter side of the picture in pixels.
        by_noun: noun -> indices of the things of that name, from left to right.
        order: indices of all things in reading order: by centre, left to right, then top down.
        doubtful: nouns of which something may be there, but nobody can be sure.
    """

    def __init__(self, scene: Scene):
        self.scene = scene
        self.side = min(scene.size)
        centres = [thing.centre for thing in scene.things]
        self._centres = [(x / self.side, y / self.side) for x, y in centres]
        self.order = sorted(range(len(centres)), key=lambda i: (centres[i], i))
        self.by_noun: dict[str, list[int]] = {}
        for index in self.order:
            self.by_noun.setdefault(scene.things[index].noun, []).append(index)
        self.doubtful = frozenset(noun for doubt in scene.doubts for noun in doubt.nouns)

    @property
    def vocabulary(self) -> Vocabulary:
        """Of the scene."""
        return self.scene.vocabulary

    @property
    def things(self) -> tuple[Thing, ...]:
        """Of the scene."""
        return self.scene.things

    @cached_property
    def unique(self) -> list[int]:
        """Things that are the only one of their noun, left to right."""
        return [i for i in self.order if len(self.by_noun[self.things[i].noun]) == 1]

    @cached_property
    def twins(self) -> list[str]:
        """Nouns of which there is more than one."""
        return [noun for noun, indices in self.by_noun.items() if len(indices) > 1]

    def stuff_index(self, position: int) -> int:
        """Region index of a stretch of stuff: they come after the things."""
        return len(self.things) + position

    def doubt_index(self, position: int) -> int:
        """Region index of a doubt: they come after the stuff."""
        return len(self.things) + len(self.scene.stuff) + position

    def holds(self, relation: Relation, one: int, other: int) -> bool:
        """Whether thing `one` is clearly left of (right of, above, below) thing `other`.

        Each centre must lie beyond the other's box, and not too far off to the side.
        """
        if relation in ("right", "below"):
            return self.holds(OPPOSITE[relation], other, one)
        axis = 0 if relation == "left" else 1
        a, b = self.things[one], self.things[other]
        along = b.centre[axis] - a.centre[axis]
        aside = abs(b.centre[1 - axis] - a.centre[1 - axis])
        if aside > along * (1.6 if axis == 0 else 1.0):
            return False
        return a.centre[axis] < b.box[axis] and b.centre[axis] > a.box[axis + 2]

    def fails(self, relation: Relation, one: int, other: int) -> bool:
        """Whether thing `one` is clearly not left of (…) thing `other`: at best level with it."""
        axis = 0 if relation in ("left", "right") else 1
        difference = self._centres[other][axis] - self._centres[one][axis]
        return (difference if relation in ("left", "above") else -difference) < 0.015

    def place(self, index: int) -> tuple[str, str]:
        """("left" | "middle" | "right", "top" | "middle" | "bottom") of a thing's centre."""
        height, width = self.scene.size
        x, y = self.things[index].centre
        return _third(x / width, "left", "right"), _third(y / height, "top", "bottom")

    def bigger(self, one: int, other: int) -> bool:
        """Whether thing `one` is clearly the bigger: by its box, and not smaller by its size."""
        a, b = self.things[one], self.things[other]
        return a.area >= SIZE_RATIO * b.area and _RANK[a.size] >= _RANK[b.size]

    def biggest(self, indices: list[int]) -> int | None:
        """The one that is clearly bigger than all others, if there is one."""
        best = max(indices, key=lambda i: self.things[i].area)
        return best if all(self.bigger(best, i) for i in indices if i != best) else None

    def smallest(self, indices: list[int]) -> int | None:
        """The one that is clearly smaller than all others, if there is one."""
        best = min(indices, key=lambda i: self.things[i].area)
        return best if all(self.bigger(i, best) for i in indices if i != best) else None

    def ranked(self, indices: list[int], axis: int) -> list[int] | None:
        """Things in order along x (0) or y (1), or None if two of them are too close to call."""
        ranked = sorted(indices, key=lambda i: self._centres[i][axis])
        places = [self._centres[i][axis] for i in ranked]
        gaps = (b - a for a, b in pairwise(places))
        return ranked if all(gap >= ORDER_GAP for gap in gaps) else None

    def nearest(self, index: int) -> int | None:
        """The one thing clearly closest to another, by centres and by edges, if there is one."""
        others = [i for i in range(len(self.things)) if i != index]
        if not others:
            return None
        best = min(others, key=lambda i: self._distance(i, index))
        for other in others:
            near, far = self._distance(best, index), self._distance(other, index)
            edge, far_edge = self.gap(best, index), self.gap(other, index)
            if other != best and (far < 1.4 * near or far_edge < edge + 0.03):
                return None
        return best

    def gap(self, one: int, other: int) -> float:
        """Distance between two boxes' nearest edges, in shares of the shorter side."""
        a, b = self.things[one].box, self.things[other].box
        across = max(0.0, a[0] - b[2], b[0] - a[2])
        down = max(0.0, a[1] - b[3], b[1] - a[3])
        return (across**2 + down**2) ** 0.5 / self.side

    def colours_known(self, noun: str) -> bool:
        """Whether every thing of a noun has a colour beyond doubt."""
        return all(self.things[i].colour for i in self.by_noun.get(noun, ()))

    def direction(self, one: int, other: int) -> Relation | None:
        """Where thing `one` lies from thing `other`, if one axis clearly decides."""
        dx = self._centres[one][0] - self._centres[other][0]
        dy = self._centres[one][1] - self._centres[other][1]
        if max(abs(dx), abs(dy)) < 0.12 or max(abs(dx), abs(dy)) < 1.5 * min(abs(dx), abs(dy)):
            return None
        if abs(dx) > abs(dy):
            return "left" if dx < 0 else "right"
        return "above" if dy < 0 else "below"

    def _distance(self, one: int, other: int) -> float:
        (ax, ay), (bx, by) = self._centres[one], self._centres[other]
        return ((ax - bx) ** 2 + (ay - by) ** 2) ** 0.5


def _third(share: float, low: str, high: str) -> str:
    if share < _MIDDLE[0]:
        return low
    return high if share > _MIDDLE[1] else "middle"
