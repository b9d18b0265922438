"""Truth of benchmarks as other tools write it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from groma.data.geometry import area_of, box_around, is_crowd
from groma.eval.benchmarks.coco_file import CocoFile
from groma.eval.benchmarks.detection_benchmark import Detection
from groma.eval.benchmarks.lvis_ground import LvisGround
from groma.types import GromaError

Case = Callable[[str], Path]


@pytest.mark.parametrize("benchmark", [Detection, LvisGround])
def test_truth_without_area_has_the_area_of_its_box(case: Case, benchmark: type) -> None:
    path = case("no-area") / "noarea.json"
    questions = benchmark(path)
    assert [t["area"] for c in questions.cases for t in c.truth] == [160 * 200, 170 * 180]
    right = {
        c.key: {"boxes": [_corners(c.truth[0]["bbox"])], "scores": [1]} for c in questions.cases
    }
    (measure,) = questions.score(questions.cases, right).measures
    assert measure.values()[0] == pytest.approx(1)


@pytest.mark.parametrize("name", ["set.json", "crowd.json"])
def test_truth_of_mask_tools(case: Case, name: str) -> None:
    file = CocoFile.read(case("masks") / name)
    found = [a for annotations in file.annotations.values() for a in annotations]
    assert [a["bbox"][0] for a in found] == [40, 350]
    assert not any(a.get("iscrowd") for a in found)


def test_truth_without_any_shape_is_refused(case: Case) -> None:
    path = case("no-area") / "noarea.json"
    data = json.loads(path.read_text())
    data["annotations"][0] |= {"bbox": [1, 2, "x"]}
    path.write_text(json.dumps(data))
    with pytest.raises(GromaError, match=r"\.$"):
        Detection(path)


@pytest.mark.parametrize(
    "segmentation",
    [
        *(
            None,
            3,
            "x",
            [],
            [[]],
            [[1, 2]],
            [None],
            {},
            {"counts": "x"},
            {"counts": [], "size": []},
        ),
        *(
            {"counts": c, "size": s}
            for c in ([1, 2], "o", "", "é", None, [-1])
            for s in ([0, 0], [9])
        ),
        {"counts": [0, 5], "size": [1 << 40, 1 << 40]},
        {"counts": "Po0", "size": [4, "x"]},
    ],
)
def test_shapes_that_are_none_have_no_box(segmentation: object) -> None:
    assert box_around(segmentation) is None


def test_the_area_that_is_said_counts() -> None:
    assert area_of({"area": 5, "bbox": [0, 0, 10, 10]}) == 5
    assert area_of({"bbox": [0, 0, 10, 10]}) == 100


def _corners(box: list[float]) -> list[float]:
    return [box[0], box[1], box[0] + box[2], box[1] + box[3]]


@pytest.mark.parametrize(
    ("written", "meant"),
    [(1, True), (True, True), ("1", True), (0, False), ("0", False), (None, False), ([], False)],
)
def test_a_crowd_is_told_from_a_thing_however_it_is_written(written: object, meant: bool) -> None:
    assert is_crowd({"iscrowd": written}) is meant
