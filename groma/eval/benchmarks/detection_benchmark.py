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
from groma.eval.harness.asker import Asker
from groma.eval.harness.benchmark import (
    Answers,
    Benchmark,
    Case,
    Score,
    read_boxes,
    read_scores,
    rescale,
)
from groma.eval.statistics.detection_scores import Ranking, area_figures, match_shapes, summarise
from groma.eval.statistics.intervals import Figure, Floats, Measure
from groma.image import boxes_to_pixels
from groma.run_journal import Fields
from groma.types import Size

_DRAWS = 200  # an average precision takes long to count: its intervals rest on fewer draws


@dataclass(frozen=True)
class _Picture(Case):
    """A picture and all that is in it."""

    id: int  # what COCO calls it
    truth: tuple[Entry, ...]  # COCO annotations
    size: Size  # (H, W)


class Detection(Benchmark[_Picture]):
    """What the region proposer finds of what a file such as `instances_val2017.json` holds."""

    name = "detection"
    max_new_tokens = 1

    def __init__(self, annotations: Path) -> None:
        with reading(annotations):
            cases = list(_read(CocoFile.read(annotations)))
        super().__init__([annotations], cases)

    def answer(self, asker: Asker, case: _Picture, number: int) -> Fields:  # noqa: ARG002
        """All proposals, best first."""
        image = asker.image
        boxes = boxes_to_pixels(image.proposals.boxes, image.original_size)
        scores = image.proposals.scores.double().tolist()
        return {"boxes": rescale(boxes, image.original_size, case.size), "scores": scores}

    def measure(self, cases: Sequence[_Picture], answers: Answers) -> Score:
        """Average precision and recall."""
        found = []
        for case in cases:
            answer = answers.get(case.key, {"boxes": [], "scores": []})
            boxes = read_boxes(answer, case.key)
            scores = read_scores(answer, len(boxes), case.key)
            found.append(list(zip(map(to_xywh, boxes), scores, strict=True)))
        # Among equal scores the order of ids decides, as in pycocotools.
        order = sorted(range(len(cases)), key=lambda unit: cases[unit].id)
        matches = match_shapes(found, [case.truth for case in cases])
        rankings = {area: Ranking.of(each, order) for area, each in matches.items()}

        def figures_at(weights: Floats) -> Floats:
            values = [
                {area: ranking.precision(row) for area, ranking in rankings.items()}
                for row in weights
            ]
            recalls = [rankings["all"].recall(row).mean() for row in weights]
            return np.column_stack([np.stack(list(map(summarise, values))), recalls])

        wanted = {area: int(ranking.wanted.sum()) for area, ranking in rankings.items()}
        figures = area_figures("ap", "AP", wanted)
        recall = Figure("ar_100", "AR of 100 boxes", wanted["all"])
        return Score([Measure((*figures, recall), len(cases), figures_at, _DRAWS)])


def _read(file: CocoFile) -> Iterator[_Picture]:
    """A case for every picture."""
    for image in file.images:
        found = file.annotations.get(image["id"], ())
        # Among equal overlaps this order decides, as in pycocotools.
        truth = tuple(sorted(found, key=lambda annotation: annotation["category_id"]))
        yield _Picture(str(image["id"]), image["file_name"], image["id"], truth, size_of(image))
