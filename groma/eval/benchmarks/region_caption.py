"""Region captioning: what is here? RefCOCOg and Visual Genome (paper 5.3).

The region is given as a box; greedy, at most 100 tokens; METEOR and CIDEr by pycocoevalcap. All
captions of a region are its references.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from groma.data.questions import SUBJECT
from groma.data.sources.items import BrokenItem, box_from_xywh
from groma.eval.benchmarks.coco_file import CocoFile, Entry, reading, size_of
from groma.eval.harness.asker import Asker, phrasing
from groma.eval.harness.benchmark import Answers, Benchmark, Case, Score, read_text, rescale
from groma.eval.statistics.caption_scores import check_java, measure_captions
from groma.run_journal import Fields
from groma.types import Box, Size, to_box


@dataclass(frozen=True)
class _Region(Case):
    """A box and what people said about it."""

    box: Box  # xyxy in pixels, inside the picture
    captions: tuple[str, ...]  # at least one
    size: Size  # (H, W) of the picture


class RegionCaption(Benchmark[_Region]):
    """Captions of regions in a COCO-like file such as `refcocog_cap_val.json` or `vg_test.json`."""

    name = "region-caption"
    max_new_tokens = 100
    unit = "regions"
    without_answer = "have no answer and are left out"

    def __init__(self, annotations: Path) -> None:
        with reading(annotations):
            cases, unusable = _read(CocoFile.read(annotations))
        super().__init__([annotations], cases, unusable)

    def check_tools(self) -> None:
        """See `Benchmark`."""
        check_java()

    def answer(self, asker: Asker, case: _Region, number: int) -> Fields:
        """What the model says, on one line."""
        (box,) = rescale([case.box], case.size, asker.image.original_size)
        question = phrasing("region_caption", number).replace(SUBJECT, "[1]")
        return {"caption": one_line(asker.ask(question, (to_box(box),)).text)}

    def measure(self, cases: Sequence[_Region], answers: Answers) -> Score:
        """METEOR and CIDEr of the captions there are, as the reference tool takes them."""
        references = {case.key: case.captions for case in cases if case.key in answers}
        captions = {key: read_text(answers[key], "caption", key) for key in references}
        return Score(measure_captions(references, captions))


def one_line(text: str) -> str:
    """Text with single spaces, and no quotation marks around it."""
    return " ".join(text.split()).strip("'").strip()


def _read(file: CocoFile) -> tuple[list[_Region], Counter[str]]:
    """A case for every different box of a picture, and how many cannot be used for which reason.

    The key of a case is the id of its first annotation.
    """
    cases: list[_Region] = []
    broken: Counter[str] = Counter()
    for image in file.images:
        size = size_of(image)
        boxes: dict[tuple[float, ...], list[Entry]] = {}
        for annotation in file.annotations.get(image["id"], ()):
            boxes.setdefault(tuple(annotation["bbox"]), []).append(annotation)
        for xywh, found in boxes.items():
            try:
                box = box_from_xywh(xywh, size)
            except BrokenItem as error:
                broken[str(error)] += 1
                continue
            captions = tuple(str(annotation["caption"]) for annotation in found)
            (box_px,) = rescale([box], (1, 1), size)
            key = f"{image['id']}/{found[0]['id']}"
            cases.append(_Region(key, image["file_name"], to_box(box_px), captions, size))
    return cases, broken
