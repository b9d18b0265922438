"""Average precision and recall of found boxes or masks, as pycocotools and lvis-api count them.

Overlaps are pycocotools' own. What is done here is the matching and the counting, because figures
are wanted for pictures that count more than once or not at all: that is what a bootstrap needs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from scipy.sparse import csr_array

from groma.eval.statistics.intervals import divide
from groma.eval.statistics.measures import Floats

THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
"""Least overlaps of a match, over which figures are averaged."""
AREAS: Mapping[str, tuple[float, float]] = {
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}
"""Areas of true things in px, both ends included."""
_RECALLS = np.linspace(0, 1, 101)

Bools = NDArray[np.bool_]
Shape = Any
"""A box xywh in pixels, or a mask as run lengths, as pycocotools takes them."""


@dataclass(frozen=True)
class Cell:
    """What was found, and what is true, of one class in one picture.

    Attributes:
        unit: number of the picture.
        group: number of the class.
        scores: (D,) of what was found, best first.
        found_areas: (D,) in px.
        areas: (G,) of what is true, as annotated, in px.
        is_crowd: (G,) true things that stand for many: they may match any number of times, and
            nobody must find them.
        overlaps: (D, G) intersection over union; over the found area alone for a crowd.
    """

    unit: int
    group: int
    scores: Floats
    found_areas: Floats
    areas: Floats
    is_crowd: Bools
    overlaps: Floats


@dataclass(frozen=True)
class Matches:
    """Which found things are true, at each of the T thresholds.

    Attributes:
        hit: (T, D) found, and wanted.
        miss: (T, D) found, and wrong; things beyond the range of areas are neither.
        wanted: how many are to be found.
    """

    hit: Bools
    miss: Bools
    wanted: int


def make_cell(
    unit: int,
    group: int,
    found: Sequence[tuple[Shape, float]],
    truth: Sequence[Mapping[str, Any]],
    shape: str = "bbox",
    limit: int = 100,
) -> Cell:
    """Compare what was found in a picture with what is there.

    Args:
        unit: number of the picture.
        group: number of the class.
        found: shapes and scores.
        truth: COCO annotations, with `area`, `iscrowd` if so, and the field `shape`.
        shape: "bbox" for boxes xywh, "segmentation" for masks as run lengths.
        limit: most found things that count, the best.
    """
    scores = np.array([score for _, score in found], np.float64)
    order = np.argsort(-scores, kind="stable")[:limit]
    shapes = [found[i][0] for i in order]
    is_crowd = [int(bool(annotation.get("iscrowd"))) for annotation in truth]
    overlaps = np.zeros((len(shapes), len(truth)))
    if shapes and truth:
        overlaps = coco_mask.iou(shapes, [annotation[shape] for annotation in truth], is_crowd)
    if shape == "bbox":
        found_areas = np.array([box[2] * box[3] for box in shapes], np.float64)
    else:
        found_areas = np.array([coco_mask.area(mask) for mask in shapes], np.float64)
    areas = np.array([annotation["area"] for annotation in truth], np.float64)
    return Cell(unit, group, scores[order], found_areas, areas, np.array(is_crowd, bool), overlaps)


def match(cell: Cell, area: tuple[float, float] = AREAS["all"]) -> Matches:
    """Give found things, best first, the free true thing that each overlaps most.

    Args:
        cell: of one class in one picture.
        area: range of the true things that must be found.
    """
    ignored = cell.is_crowd | (cell.areas < area[0]) | (cell.areas > area[1])
    # Things that must be found come first, in their order.
    order = np.argsort(ignored, kind="stable")
    overlaps, crowd, skipped = cell.overlaps[:, order], cell.is_crowd[order], ignored[order]
    shape = len(THRESHOLDS), len(cell.scores)
    hit, beside = np.zeros(shape, bool), np.zeros(shape, bool)
    closest = overlaps.max(axis=1, initial=0)
    for row, threshold in enumerate(THRESHOLDS):
        free = np.ones(len(order), bool)
        for i in np.flatnonzero(closest >= min(threshold, 1 - 1e-10)):
            chosen = _choose(overlaps[i], free, skipped, min(threshold, 1 - 1e-10))
            if chosen is not None:
                hit[row, i], beside[row, i] = not skipped[chosen], skipped[chosen]
                free[chosen] = crowd[chosen]
    outside = (cell.found_areas < area[0]) | (cell.found_areas > area[1])
    return Matches(hit, ~(hit | beside | outside), int((~ignored).sum()))


def _choose(overlaps: Floats, free: Bools, skipped: Bools, threshold: float) -> int | None:
    """The best free true thing, if any overlaps enough; of equals the last; wanted ones first."""
    for kind in (~skipped, skipped):
        allowed = np.flatnonzero(free & kind & (overlaps >= threshold))
        if len(allowed):
            return int(allowed[np.flatnonzero(overlaps[allowed] == overlaps[allowed].max())[-1]])
    return None


@dataclass(frozen=True)
class Ranking:
    """Everything found of one class in all pictures, best first.

    Attributes:
        unit: (D,) picture of each.
        hit: (T, D).
        miss: (T, D).
        wanted: (N,) how many things each picture has to be found.
    """

    unit: NDArray[np.intp]
    hit: Bools
    miss: Bools
    wanted: Floats

    @classmethod
    def of(cls, cells: Sequence[Cell], units: int, area: tuple[float, float]) -> "Ranking":
        """Rank what was found in some pictures.

        Args:
            cells: at most one per picture; among equal scores their order decides.
            units: N, how many pictures there are.
            area: see `match`.
        """
        matches = [match(cell, area) for cell in cells]
        wanted = np.zeros(units)
        for cell, found in zip(cells, matches, strict=True):
            wanted[cell.unit] += found.wanted
        scores = np.concatenate([np.empty(0), *(cell.scores for cell in cells)])
        unit = np.repeat(
            np.array([cell.unit for cell in cells], np.intp), [len(cell.scores) for cell in cells]
        )
        order = np.argsort(-scores, kind="stable")
        none = np.empty((len(THRESHOLDS), 0), bool)
        hit = np.concatenate([none, *(found.hit for found in matches)], axis=1)
        miss = np.concatenate([none, *(found.miss for found in matches)], axis=1)
        order = order[(hit | miss).any(axis=0)[order]]
        return cls(unit[order], hit[:, order], miss[:, order], wanted)

    def precision(self, weights: Floats) -> Floats:
        """Average precision at each threshold, 101 points.

        Args:
            weights: (N,) how often each picture counts.

        Returns:
            (T,), nan where nothing is to be found.
        """
        wanted = weights @ self.wanted
        if not wanted:
            return np.full(len(THRESHOLDS), np.nan)
        weight = weights[self.unit]
        hits, misses = (np.cumsum(x * weight, axis=1) for x in (self.hit, self.miss))
        precision = hits / (hits + misses + np.spacing(1))
        # At any recall, the best precision at that recall or more.
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        padded = np.pad(precision, ((0, 0), (0, 1)))
        places = [np.searchsorted(row, _RECALLS) for row in hits / wanted]
        return np.stack([row[at] for row, at in zip(padded, places, strict=True)]).mean(axis=1)

    def recall(self, weights: Floats) -> Floats:
        """Recall at each threshold; arguments as in `precision`."""
        found = (self.hit * weights[self.unit]).sum(axis=1)
        return divide(found, np.full(len(THRESHOLDS), weights @ self.wanted))


class Recalls:
    """Recall of many classes, averaged over those that occur, and over thresholds.

    Args:
        cells: of all classes and pictures.
        units: N, how many pictures there are.
        groups: C, how many classes there are.
        area: see `match`.
    """

    def __init__(
        self,
        cells: Iterable[Cell],
        units: int,
        groups: int,
        area: tuple[float, float] = AREAS["all"],
    ) -> None:
        self._groups = groups
        rows, columns, hits, wanted = [], [], [], []
        for cell in cells:
            matches = match(cell, area)
            rows.append(cell.unit)
            columns.append(cell.group)
            hits.append(matches.hit.sum(axis=1))
            wanted.append(matches.wanted)
        shape = units, groups
        self.wanted = csr_array((np.array(wanted, np.float64), (rows, columns)), shape)
        # One matrix (N, C) per threshold.
        counted = np.array(hits, np.float64).reshape(len(rows), len(THRESHOLDS))
        self.hits = [csr_array((column, (rows, columns)), shape) for column in counted.T]

    def at(self, weights: Floats) -> Floats:
        """Mean recall of classes.

        Args:
            weights: (R, N) how often each picture counts.

        Returns:
            (R, T); nan where nothing is to be found.
        """
        wanted = weights @ self.wanted
        recalls = [divide(weights @ hits, wanted) for hits in self.hits]
        return np.stack([mean_of_known(recall) for recall in recalls], axis=1)

    @property
    def wanted_in_all(self) -> int:
        """How many things are to be found."""
        return int(self.wanted.sum())


def mean_of_known(values: Floats) -> Floats:
    """Mean over the last axis of what is not nan; nan where all is."""
    known = ~np.isnan(values)
    return divide(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))
