"""LVIS-Ground: where is all of a class? 4,299 pictures and the 1,203 classes of LVIS (paper 5.2).

Greedy, ten new tokens, every box with the score 1; average recall as lvis-api counts it: the mean
over thresholds and classes, each class over all pictures.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from groma.eval.benchmarks.coco_file import CocoFile, Entry, reading, size_of, to_xywh
from groma.eval.harness.asking import Asker, Protocol, Wording
from groma.eval.harness.benchmark import (
    Answers,
    Benchmark,
    Case,
    Score,
    number_of,
    read_boxes,
    rescale,
    without_answer,
)
from groma.eval.statistics.detections import (
    AREAS,
    THRESHOLDS,
    Cell,
    Recalls,
    make_cell,
    mean_of_known,
)
from groma.eval.statistics.measures import Figure, Floats, Measure
from groma.run_journal import Fields
from groma.types import Size

MOST_FOUND = 300
"""As many boxes of a picture count, of all its classes together: the first ones."""


@dataclass(frozen=True)
class Find(Case):
    """One class that is in one picture.

    Attributes:
        words: its name.
        image: id of the picture.
        category: its id.
        truth: COCO annotations.
        size: (H, W) of the picture.
    """

    words: str
    image: int
    category: int
    truth: tuple[Entry, ...]
    size: Size


class LvisGround(Benchmark[Find]):
    """Finding all of a class.

    Args:
        annotations: `lvis_test.json`.

    Raises:
        GromaError: if it is no COCO-like file.
    """

    name = "lvis-ground"

    def __init__(self, annotations: Path) -> None:
        with reading(annotations):
            file = CocoFile.read(annotations)
            names = {c["id"]: class_name(c["name"]) for c in file.categories}
            cases = list(_read(file, names))
        super().__init__([annotations], cases)

    @staticmethod
    def protocol(wording: Wording) -> Protocol:
        """Ten tokens are the regions that the released model answers with."""
        return Protocol(wording, 10 if wording == "tags" else 128, score_threshold=0.15)

    def answer(self, asker: Asker, case: Find, number: int) -> Fields:
        """Every region named, in order."""
        reply = asker.find(case.words, "find", number)
        return {"boxes": rescale((r.box for r in reply.regions), reply.image_size, case.size)}

    def score(self, cases: Sequence[Find], answers: Answers) -> Score:
        """Average recall."""
        pictures = number_of([case.picture for case in cases])
        classes = number_of([case.category for case in cases])
        cells = make_cells(cases, answers, pictures, classes)
        recalls = {
            area: Recalls(cells, len(pictures), len(classes), limits)
            for area, limits in AREAS.items()
        }
        figures = (
            Figure("ar", "AR", len(cases)),
            Figure("ar_50", "AR at IoU 0.5", len(cases)),
            Figure("ar_75", "AR at IoU 0.75", len(cases)),
            Figure("ar_small", "AR, small (area < 32²)", recalls["small"].wanted_in_all),
            Figure("ar_medium", "AR, medium", recalls["medium"].wanted_in_all),
            Figure("ar_large", "AR, large (area > 96²)", recalls["large"].wanted_in_all),
        )
        measure = Measure(figures, len(pictures), lambda weights: summarise(recalls, weights))
        missing = sum(case.key not in answers for case in cases)
        return Score([measure], without_answer(missing, len(cases)))


def make_cells(
    cases: Sequence[Find],
    answers: Answers,
    pictures: Mapping[str, int],
    classes: Mapping[int, int],
) -> list[Cell]:
    """Compare every answer with the truth; arguments as in `LvisGround.score`, and numbers."""
    cells = []
    counted: Counter[int] = Counter()
    for case in cases:
        boxes = read_boxes(answers[case.key], case.key) if case.key in answers else []
        boxes = boxes[: MOST_FOUND - counted[case.image]]
        counted[case.image] += len(boxes)
        found = [(to_xywh(box), 1.0) for box in boxes]
        unit, group = pictures[case.picture], classes[case.category]
        cells.append(make_cell(unit, group, found, case.truth, limit=MOST_FOUND))
    return cells


def summarise(recalls: Mapping[str, Recalls], weights: Floats) -> Floats:
    """The six figures.

    Args:
        recalls: by name of the range of areas.
        weights: (R, N) how often each picture counts.

    Returns:
        (R, 6).
    """
    by_area = {area: counted.at(weights) for area, counted in recalls.items()}
    whole = by_area["all"]
    at = [whole[:, np.isclose(THRESHOLDS, threshold)][:, 0] for threshold in (0.5, 0.75)]
    means = {area: mean_of_known(recall) for area, recall in by_area.items()}
    return np.stack([means["all"], *at, means["small"], means["medium"], means["large"]], axis=1)


def class_name(name: str) -> str:
    """How a class of LVIS is called in a question."""
    return name.replace("_", " ").strip().lower()


def _read(file: CocoFile, names: Mapping[int, str]) -> Iterator[Find]:
    """A case for every class that a picture has; its key is both ids."""
    for image in file.images:
        classes: dict[int, list[Entry]] = {}
        for annotation in file.annotations.get(image["id"], ()):
            classes.setdefault(annotation["category_id"], []).append(annotation)
        picture = image.get("file_name") or urlsplit(image["coco_url"]).path.lstrip("/")
        for category, truth in classes.items():
            key = f"{image['id']}/{category}"
            size, words = size_of(image), names[category]
            yield Find(key, picture, words, image["id"], category, tuple(truth), size)
