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
from groma.eval.harness.answer_file import Fields
from groma.eval.harness.asking import Asker, Protocol, Wording, phrasing
from groma.eval.harness.benchmark import (
    Answers,
    Benchmark,
    Case,
    Score,
    left_out,
    read_text,
    rescale,
)
from groma.eval.statistics.captions import check_java, measure_captions
from groma.types import Box, Size, to_box


@dataclass(frozen=True)
class Region(Case):
    """A box and what people said about it.

    Attributes:
        box: xyxy in pixels, inside the picture.
        captions: at least one.
        size: (H, W) of the picture.
    """

    box: Box
    captions: tuple[str, ...]
    size: Size


class RegionCaption(Benchmark[Region]):
    """Captions of regions.

    Args:
        annotations: such as `refcocog_cap_val.json` or `vg_test.json`.

    Raises:
        GromaError: if it is no COCO-like file with captions.
    """

    name = "region-caption"

    def __init__(self, annotations: Path) -> None:
        with reading(annotations):
            cases, self._unusable = _read(CocoFile.read(annotations))
        super().__init__([annotations], cases)

    @staticmethod
    def protocol(wording: Wording) -> Protocol:
        """At most 100 tokens."""
        return Protocol(wording, 100)

    def check_tools(self) -> None:
        """See `Benchmark`."""
        check_java()

    def answer(self, asker: Asker, case: Region, number: int) -> Fields:
        """What the model says, on one line."""
        (box,) = rescale([case.box], case.size, asker.image.original_size)
        question = phrasing("region_caption", number).replace(SUBJECT, "[1]")
        return {"caption": one_line(asker.ask(question, (to_box(box),)).text)}

    def score(self, cases: Sequence[Region], answers: Answers) -> Score:
        """METEOR and CIDEr of the captions there are, as the reference tool takes them."""
        answered = [case for case in cases if case.key in answers]
        references = {case.key: case.captions for case in answered}
        captions = {key: read_text(answers[key], "caption", key) for key in references}
        notes = left_out(self._unusable, len(self.cases), "regions")
        if len(answered) < len(cases):
            missing = len(cases) - len(answered)
            notes.append(f"{missing:,} of {len(cases):,} cases have no answer and are left out.")
        return Score(measure_captions(references, captions), notes)


def one_line(text: str) -> str:
    """Text with single spaces, and no quotation marks around it."""
    return " ".join(text.split()).strip("'").strip()


def _read(file: CocoFile) -> tuple[list[Region], Counter[str]]:
    """A case for every different box of a picture, and how many cannot be used for which reason.

    The key of a case is the id of its first annotation.
    """
    cases: list[Region] = []
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
            cases.append(Region(key, image["file_name"], to_box(box_px), captions, size))
    return cases, broken
