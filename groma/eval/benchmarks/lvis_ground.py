"""LVIS-Ground: where is all of a class? 4,299 pictures and the 1,203 classes of LVIS (paper 5.2).

Greedy, ten new tokens, every box with the score 1; average recall as lvis-api counts it: the mean
over thresholds and classes, each class over all pictures.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from groma.eval.benchmarks.coco_file import CocoFile, Entry, reading, size_of, to_xywh
from groma.eval.harness.asker import Asker, Protocol, Wording
from groma.eval.harness.benchmark import (
    Answers,
    Benchmark,
    Case,
    Score,
    number_of,
    read_boxes,
    rescale,
)
from groma.eval.statistics.detection_scores import Recalls, area_figures, match_shapes, summarise
from groma.eval.statistics.intervals import Measure
from groma.run_journal import Fields
from groma.types import Size

_MOST_FOUND = 300  # as many boxes of a picture count, of all its classes together: the first ones


@dataclass(frozen=True)
class _Class(Case):
    """One class that is in one picture."""

    words: str  # its name
    image: int  # id of the picture
    category: int  # its id
    truth: tuple[Entry, ...]  # COCO annotations
    size: Size  # (H, W) of the picture


class LvisGround(Benchmark[_Class]):
    """Finding all of a class; the annotations are `lvis_test.json`."""

    name = "lvis-ground"

    def __init__(self, annotations: Path) -> None:
        with reading(annotations):
            file = CocoFile.read(annotations)
            names = {c["id"]: class_name(c["name"]) for c in file.categories}
            cases = list(_read(file, names))
        super().__init__([annotations], cases)

    @classmethod
    def protocol(cls, wording: Wording) -> Protocol:
        """Ten tokens are the regions that the released model answers with."""
        return Protocol(wording, 10 if wording == "tags" else 128, score_threshold=0.15)

    def answer(self, asker: Asker, case: _Class, number: int) -> Fields:
        """Every region named, in order."""
        reply = asker.find(case.words, "find", number)
        return {"boxes": rescale((r.box for r in reply.regions), reply.image_size, case.size)}

    def measure(self, cases: Sequence[_Class], answers: Answers) -> Score:
        """Average recall."""
        found = []
        counted: Counter[int] = Counter()
        for case in cases:
            boxes = read_boxes(answers.get(case.key, {"boxes": []}), case.key)
            boxes = boxes[: _MOST_FOUND - counted[case.image]]
            counted[case.image] += len(boxes)
            found.append([(to_xywh(box), 1.0) for box in boxes])
        pictures = number_of([case.picture for case in cases])
        classes = number_of([case.category for case in cases])
        units = [pictures[case.picture] for case in cases]
        groups = [classes[case.category] for case in cases]
        matches = match_shapes(found, [case.truth for case in cases], limit=_MOST_FOUND)
        recalls = {area: Recalls(each, units, groups) for area, each in matches.items()}
        wanted = {area: each.num_wanted for area, each in recalls.items()} | {"all": len(cases)}
        measure = Measure(
            area_figures("ar", "AR", wanted),
            len(pictures),
            lambda weights: summarise({area: each.at(weights) for area, each in recalls.items()}),
        )
        return Score([measure])


def class_name(name: str) -> str:
    """How a class of LVIS is called in a question."""
    return name.replace("_", " ").strip().lower()


def _read(file: CocoFile, names: Mapping[int, str]) -> Iterator[_Class]:
    """A case for every class that a picture has; its key is both ids."""
    for image in file.images:
        classes: dict[int, list[Entry]] = {}
        for annotation in file.annotations.get(image["id"], ()):
            classes.setdefault(annotation["category_id"], []).append(annotation)
        picture = image.get("file_name") or urlsplit(image["coco_url"]).path.lstrip("/")
        for category, truth in classes.items():
            key = f"{image['id']}/{category}"
            size, words = size_of(image), names[category]
            yield _Class(key, picture, words, image["id"], category, tuple(truth), size)
