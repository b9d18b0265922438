"""Average precision and recall of found boxes or masks, as pycocotools and lvis-api count them.

Overlaps and matches are pycocotools' own. What is done here is the counting, because figures are
wanted for pictures that count more than once or not at all: that is what a bootstrap needs.
"""

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy.sparse import csr_array

from groma.data.geometry import is_crowd
from groma.eval.statistics.intervals import Figure, Floats, divide

_AREAS: Mapping[str, tuple[float, float]] = {
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}
"""Areas of true things in px, both ends included."""
_THRESHOLDS: Floats = np.linspace(0.5, 0.95, 10)
"""Least overlaps of a match, over which figures are averaged."""
_RECALLS = np.linspace(0, 1, 101)
_NO_BOOLS = np.zeros((len(_THRESHOLDS), 0), bool)

Shape = Any  # A box xywh in pixels, or a mask as run lengths, as pycocotools takes them
ShapeField = Literal["bbox", "segmentation"]

_Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class _Matches:
    """Which of the D things found in one unit are true, at each of the T thresholds."""

    scores: Floats  # (D,) best first
    hit: _Bools  # (T, D) found, and wanted
    # (T, D) found, and wrong; things beyond the range of areas, and what lies in a crowd, are
    # neither.
    miss: _Bools
    wanted: int  # how many are to be found; crowds are not

    @classmethod
    def of(cls, result: Mapping[str, Any] | None) -> Self:
        """Read what pycocotools says of one unit; it says nothing where nothing is."""
        if result is None:
            return cls(np.empty(0), _NO_BOOLS, _NO_BOOLS, 0)
        is_matched, is_beside = result["dtMatches"] > 0, result["dtIgnore"].astype(bool)
        scores = np.array(result["dtScores"], np.float64)
        wanted = int((result["gtIgnore"] == 0).sum())
        return cls(scores, is_matched & ~is_beside, ~is_matched & ~is_beside, wanted)


def match_shapes(
    found: Sequence[Sequence[tuple[Shape, float]]],
    truth: Sequence[Sequence[Mapping[str, Any]]],
    field: ShapeField = "bbox",
    limit: int = 100,
) -> dict[str, list[_Matches]]:
    """Compare what was found with what is there, in each of some units apart from one another.

    Args:
        found: shapes and scores, per unit.
        truth: COCO annotations, with `area`, `iscrowd` if so, and `field`; of things that overlap
            equally the last is matched.
        field: "bbox" for boxes xywh, "segmentation" for masks as run lengths.
        limit: most found things of a unit that count, the best.

    Returns:
        Matches per unit, by name of the range of areas.
    """
    there = [
        [{field: a[field], "area": a["area"], "iscrowd": int(is_crowd(a))} for a in each]
        for each in truth
    ]
    seen = [
        [{field: shape, "area": _area(shape, field), "score": score} for shape, score in each]
        for each in found
    ]
    with redirect_stdout(StringIO()):
        kind = "bbox" if field == "bbox" else "segm"
        evaluation = COCOeval(_to_coco(there), _to_coco(seen), kind)
        evaluation.params.iouThrs, evaluation.params.maxDets = _THRESHOLDS, [limit]
        evaluation.params.areaRng = [list(limits) for limits in _AREAS.values()]
        evaluation.evaluate()
    results = iter(evaluation.evalImgs)
    return {area: [_Matches.of(next(results)) for _ in found] for area in _AREAS}


def _area(shape: Shape, field: ShapeField) -> float:
    return shape[2] * shape[3] if field == "bbox" else float(coco_mask.area(shape))


def _to_coco(units: Sequence[Sequence[Mapping[str, Any]]]) -> COCO:
    """An index of shapes, all of one class; a unit is what pycocotools calls an image."""
    images = [{"id": unit, "height": 0, "width": 0} for unit in range(len(units))]
    shapes = [
        {**shape, "image_id": unit, "category_id": 1}
        for unit, each in enumerate(units)
        for shape in each
    ]
    # It takes the id 0 for no match at all.
    annotations = [{**shape, "id": number} for number, shape in enumerate(shapes, start=1)]
    coco = COCO()
    coco.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
    coco.createIndex()
    return coco


@dataclass(frozen=True)
class Ranking:
    """Everything found of one class in all pictures, best first."""

    unit: NDArray[np.intp]  # (D,) picture of each
    hit: _Bools  # (T, D)
    miss: _Bools  # (T, D)
    wanted: Floats  # (N,) how many things each picture has to be found

    @classmethod
    def of(cls, matches: Sequence[_Matches], order: Sequence[int]) -> Self:
        """Rank what was found in N pictures, whose order decides among equal scores."""
        wanted = np.array([each.wanted for each in matches], np.float64)
        sorted_matches = [matches[unit] for unit in order]
        unit = np.repeat(np.array(order, np.intp), [len(each.scores) for each in sorted_matches])
        hit, miss, scores = (
            np.concatenate([start, *parts], axis=-1)
            for start, parts in (
                (_NO_BOOLS, [each.hit for each in sorted_matches]),
                (_NO_BOOLS, [each.miss for each in sorted_matches]),
                (np.empty(0), [each.scores for each in sorted_matches]),
            )
        )
        best = np.argsort(-scores, kind="stable")
        best = best[(hit | miss).any(axis=0)[best]]
        return cls(unit[best], hit[:, best], miss[:, best], wanted)

    def precision(self, weights: Floats) -> Floats:
        """Average precision, (T,) of 101 points; nan where nothing is to be found.

        `weights`, (N,), say how often each picture counts.
        """
        wanted = weights @ self.wanted
        if not wanted:
            return np.full(len(_THRESHOLDS), np.nan)
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
        return divide(found, np.full(len(_THRESHOLDS), weights @ self.wanted))


class Recalls:
    """Recall of many classes, averaged over those that occur, and over thresholds.

    The matches are of a class in a picture, whose numbers are `pictures` and `classes`.
    """

    def __init__(
        self, matches: Sequence[_Matches], pictures: Sequence[int], classes: Sequence[int]
    ) -> None:
        shape = max(pictures, default=-1) + 1, max(classes, default=-1) + 1
        wanted = np.array([each.wanted for each in matches], np.float64)
        hits = [each.hit.sum(axis=1).astype(np.float64) for each in matches]
        self._wanted = csr_array((wanted, (pictures, classes)), shape)
        # One matrix (pictures, classes) per threshold.
        self._hits = [
            csr_array((column, (pictures, classes)), shape)
            for column in np.array(hits).reshape(len(matches), len(_THRESHOLDS)).T
        ]

    def at(self, weights: Floats) -> Floats:
        """(R, T) mean recall of classes with pictures counted (R, N) times; nan where none is."""
        wanted = weights @ self._wanted
        recalls = [divide(weights @ hits, wanted) for hits in self._hits]
        return np.stack([_mean_of_known(recall) for recall in recalls], axis=1)

    @property
    def num_wanted(self) -> int:
        """How many things are to be found."""
        return int(self._wanted.sum())


def area_figures(key: str, label: str, cases: Mapping[str, int]) -> tuple[Figure, ...]:
    """The six figures of `summarise`, as COCO tells them; `cases` are counted by range of areas."""
    return (
        Figure(key, label, cases["all"]),
        Figure(f"{key}_50", f"{label} at IoU 0.5", cases["all"]),
        Figure(f"{key}_75", f"{label} at IoU 0.75", cases["all"]),
        Figure(f"{key}_small", f"{label}, small (area < 32²)", cases["small"]),
        Figure(f"{key}_medium", f"{label}, medium", cases["medium"]),
        Figure(f"{key}_large", f"{label}, large (area > 96²)", cases["large"]),
    )


def summarise(values: Mapping[str, Floats]) -> Floats:
    """Make figures of values (..., T) at every threshold, by name of the range of areas.

    Returns (..., 6): the mean, that at 0.5 and at 0.75, and the means of small, medium and large.
    """
    means = {area: _mean_of_known(each) for area, each in values.items()}
    at = [values["all"][..., 0], values["all"][..., 5]]
    return np.stack([means["all"], *at, *(means[a] for a in ("small", "medium", "large"))], axis=-1)


def _mean_of_known(values: Floats) -> Floats:
    """Mean over the last axis of what is not nan; nan where all is."""
    known = ~np.isnan(values)
    return divide(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1).astype(np.float64))
