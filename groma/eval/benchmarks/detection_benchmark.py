"""Class-agnostic detection: how well the region proposer finds COCO's objects (paper 5.4).

All proposals with their objectness, none suppressed; average precision as pycocotools counts it
without classes, with at most 100 boxes per picture. What ranks them is the fused objectness that
regions are chosen by, unless the protocol says otherwise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from groma.eval.benchmarks.coco_file import CocoFile, Entry, reading, size_of, to_xywh
from groma.eval.harness.asking import Asker, Protocol, Wording
from groma.eval.harness.benchmark import (
    Answers,
    Benchmark,
    Case,
    Score,
    read_boxes,
    read_scores,
    rescale,
    without_answer,
)
from groma.eval.statistics.detections import AREAS, THRESHOLDS, Ranking, make_cell
from groma.eval.statistics.measures import Figure, Floats, Measure
from groma.image import boxes_to_pixels
from groma.run_journal import Fields
from groma.types import Size

DRAWS = 200
"""An average precision takes long to count: its intervals rest on fewer draws."""


@dataclass(frozen=True)
class Picture(Case):
    """A picture and all that is in it.

    Attributes:
        id: what COCO calls it.
        truth: COCO annotations.
        size: (H, W).
    """

    id: int
    truth: tuple[Entry, ...]
    size: Size


class Detection(Benchmark[Picture]):
    """What the region proposer finds.

    Args:
        annotations: such as `instances_val2017.json`; its classes do not matter.

    Raises:
        GromaError: if it is no COCO-like file.
    """

    name = "detection"

    def __init__(self, annotations: Path) -> None:
        with reading(annotations):
            cases = list(_read(CocoFile.read(annotations)))
        super().__init__([annotations], cases)

    @staticmethod
    def protocol(wording: Wording) -> Protocol:
        """Nothing is said: the language model is not asked."""
        return Protocol(wording, 1)

    def answer(self, asker: Asker, case: Picture, number: int) -> Fields:  # noqa: ARG002
        """All proposals, best first."""
        image = asker.image
        boxes = boxes_to_pixels(image.proposals.boxes, image.original_size)
        scores = image.proposals.scores.double().tolist()
        return {"boxes": rescale(boxes, image.original_size, case.size), "scores": scores}

    def score(self, cases: Sequence[Picture], answers: Answers) -> Score:
        """Average precision and recall."""
        rankings = rank(cases, answers)
        wanted = {area: int(ranking.wanted.sum()) for area, ranking in rankings.items()}
        figures = (
            Figure("ap", "AP", wanted["all"]),
            Figure("ap_50", "AP at IoU 0.5", wanted["all"]),
            Figure("ap_75", "AP at IoU 0.75", wanted["all"]),
            Figure("ap_small", "AP, small (area < 32²)", wanted["small"]),
            Figure("ap_medium", "AP, medium", wanted["medium"]),
            Figure("ap_large", "AP, large (area > 96²)", wanted["large"]),
            Figure("ar_100", "AR of 100 boxes", wanted["all"]),
        )
        measure = Measure(
            figures,
            len(cases),
            lambda weights: np.stack([summarise(rankings, row) for row in weights]),
            DRAWS,
        )
        missing = sum(case.key not in answers for case in cases)
        return Score([measure], without_answer(missing, len(cases)))


def rank(cases: Sequence[Picture], answers: Answers) -> dict[str, Ranking]:
    """Rank everything that was found, by name of the range of areas."""
    cells = []
    # Among equal scores the order of ids decides, as in pycocotools.
    for unit, case in sorted(enumerate(cases), key=lambda pair: pair[1].id):
        found = []
        if answer := answers.get(case.key):
            boxes = read_boxes(answer, case.key)
            scores = read_scores(answer, len(boxes), case.key)
            found = list(zip(map(to_xywh, boxes), scores, strict=True))
        cells.append(make_cell(unit, 0, found, case.truth))
    return {area: Ranking.of(cells, len(cases), limits) for area, limits in AREAS.items()}


def summarise(rankings: dict[str, Ranking], weights: Floats) -> Floats:
    """The (7,) figures for pictures that count (N,) times."""
    precision = {area: ranking.precision(weights) for area, ranking in rankings.items()}
    whole = precision["all"]
    at = [whole[np.isclose(THRESHOLDS, threshold)][0] for threshold in (0.5, 0.75)]
    areas = [precision[area].mean() for area in ("small", "medium", "large")]
    return np.array([whole.mean(), *at, *areas, rankings["all"].recall(weights).mean()])


def _read(file: CocoFile) -> Iterator[Picture]:
    """A case for every picture."""
    for image in file.images:
        found = file.annotations.get(image["id"], ())
        # Among equal overlaps this order decides, as in pycocotools.
        truth = tuple(sorted(found, key=lambda annotation: annotation["category_id"]))
        yield Picture(str(image["id"]), image["file_name"], image["id"], truth, size_of(image))
