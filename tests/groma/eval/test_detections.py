"""COCO's average precision and LVIS's average recall are those of pycocotools and lvis-api."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from groma.eval.benchmarks.detection_benchmark import _DRAWS, Detection
from groma.eval.benchmarks.lvis_ground import _MOST_FOUND, LvisGround, class_name
from groma.types import GromaError
from tests.groma.eval import guesses
from tests.groma.eval.guesses import KINDS
from tests.paths import DATA

SEEDS = (0, 1)
LVIS_API = DATA / "eval" / "lvis_api.json"
"""What lvis-api 0.5.3 makes of `lvis_answers`; running this module writes it."""
LVIS_KEYS = ("ar", "ar_50", "ar_75", "ar_small", "ar_medium", "ar_large")


def write(folder, seed, **changes):
    path = folder / f"truth-{seed}.json"
    path.write_text(json.dumps(guesses.truth(seed, **changes)))
    return path


def boxes_of(case):
    return [annotation["bbox"] for annotation in case.truth]


def answers_of(benchmark, kind, with_scores):
    answers = {}
    for case in benchmark.cases:
        if (guess := guesses.guess(kind, boxes_of(case), case.key)) is not None:
            answers[case.key] = {"boxes": guess[0]}
            if with_scores:
                answers[case.key]["scores"] = guess[1]
    return answers


def figures(score):
    values = {}
    for measure in score.measures:
        values |= dict(zip((f.key for f in measure.figures), measure.values(), strict=True))
    return values


def xywh(box):
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]


def reference_ap(path, answers):
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        results = [
            {"image_id": int(key), "category_id": 1, "bbox": xywh(box), "score": score}
            for key, answer in answers.items()
            for box, score in zip(answer["boxes"], answer["scores"], strict=True)
        ]
        found = truth.loadRes(results) if results else empty(truth)
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.params.useCats = 0
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = [np.nan if value == -1 else value for value in evaluation.stats]
    return dict(
        zip(
            ("ap", "ap_50", "ap_75", "ap_small", "ap_medium", "ap_large", "ar_100"),
            [*stats[:6], stats[8]],
            strict=True,
        )
    )


def empty(truth):
    found = COCO()
    found.dataset = {**truth.dataset, "annotations": []}
    found.createIndex()
    return found


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_average_precision_is_that_of_pycocotools(kind, seed, tmp_path):
    path = write(tmp_path, seed)
    benchmark = Detection(path)
    answers = answers_of(benchmark, kind, with_scores=True)
    found = figures(benchmark.score(benchmark.cases, answers))
    assert found == pytest.approx(reference_ap(path, answers), abs=1e-9, nan_ok=True)
    if kind == "exact":
        assert found["ar_100"] == 1
    if kind == "nothing":
        assert found["ap"] == 0


def test_at_most_a_hundred_boxes_count(tmp_path):
    path = write(tmp_path, 2)
    benchmark = Detection(path)
    many = [guesses.guess("crowded", boxes_of(case) * 20, 5) for case in benchmark.cases]
    answers = {
        case.key: {"boxes": boxes, "scores": scores}
        for case, (boxes, scores) in zip(benchmark.cases, many, strict=True)
    }
    assert max(len(boxes) for boxes, _ in many) > 100
    found = figures(benchmark.score(benchmark.cases, answers))
    assert found == pytest.approx(reference_ap(path, answers), abs=1e-9, nan_ok=True)


def test_a_picture_that_counts_twice_is_like_two_pictures(tmp_path):
    path = write(tmp_path, 3)
    benchmark = Detection(path)
    answers = answers_of(benchmark, "crowded", with_scores=True)
    weights = np.array([0.0, 2.0, 1.0, 3.0, 0.0, 1.0, 1.0, 2.0, 0.0, 1.0, 1.0, 0.0])
    (measure,) = benchmark.score(benchmark.cases, answers).measures
    weighted = measure.at(weights[None])[0]
    truth = guesses.truth(3)
    copies = {"images": [], "annotations": [], "categories": truth["categories"]}
    copied = {}
    for image, weight in zip(truth["images"], weights.astype(int), strict=True):
        for _ in range(weight):
            number = len(copies["images"]) + 1
            copies["images"].append({**image, "id": number})
            copied[str(number)] = answers[str(image["id"])]
            copies["annotations"] += [
                {**a, "id": a["id"] + 1000 * number, "image_id": number}
                for a in truth["annotations"]
                if a["image_id"] == image["id"]
            ]
    copy = tmp_path / "copies.json"
    copy.write_text(json.dumps(copies))
    expected = reference_ap(copy, copied)
    assert weighted == pytest.approx(list(expected.values()), abs=1e-9, nan_ok=True)


def test_intervals_hold_their_figures(tmp_path):
    benchmark = Detection(write(tmp_path, 0))
    score = benchmark.score(benchmark.cases, answers_of(benchmark, "crowded", with_scores=True))
    (measure,) = score.measures
    assert measure.draws == _DRAWS
    estimates = measure.estimates()
    for key in ("ap", "ap_50", "ap_75", "ap_large", "ar_100"):
        assert estimates[key].low < estimates[key].value < estimates[key].high


def lvis_answers(folder):
    """Every prediction file that the two implementations are compared on."""
    for seed in SEEDS:
        path = write(folder, seed, crowds=False)
        benchmark = LvisGround(path)
        for kind in KINDS:
            yield f"{kind}-{seed}", path, benchmark, answers_of(benchmark, kind, False)
    flood = {
        case.key: {"boxes": guesses.guess("crowded", boxes_of(case) * 100, case.key)[0]}
        for case in benchmark.cases
    }
    assert max(len(answer["boxes"]) for answer in flood.values()) > _MOST_FOUND
    yield "flooded", path, benchmark, flood


def reference_ar(path, answers):
    """What lvis-api says; it asks for a type that numpy no longer has."""
    np.float = float
    try:
        from lvis import LVIS, LVISEval, LVISResults

        results = [
            {
                "image_id": int(key.split("/")[0]),
                "category_id": int(key.split("/")[1]),
                "bbox": xywh(box),
                "score": 1.0,
            }
            for key, answer in answers.items()
            for box in answer["boxes"]
        ]
        truth = LVIS(str(path))
        evaluation = LVISEval(truth, LVISResults(truth, results), "bbox")
        evaluation.run()
    finally:
        del np.float
    halves = [evaluation._summarize("ar", iou_thr=iou) for iou in (0.5, 0.75)]
    areas = [evaluation.results[f"AR{letter}@300"] for letter in "sml"]
    return dict(zip(LVIS_KEYS, [evaluation.results["AR@300"], *halves, *areas], strict=True))


def test_average_recall_is_that_of_lvis_api(tmp_path):
    recorded = json.loads(LVIS_API.read_text())
    names = []
    for name, _, benchmark, answers in lvis_answers(tmp_path):
        found = figures(benchmark.score(benchmark.cases, answers))
        if name.startswith("nothing"):
            # lvis-api cannot read a file without any box.
            assert set(found.values()) == {0.0}
            continue
        assert found == pytest.approx(recorded[name], abs=1e-9)
        names.append(name)
    assert names == list(recorded)
    assert recorded["exact-0"]["ar"] == 1


def test_the_recorded_figures_are_what_lvis_api_says(tmp_path):
    pytest.importorskip("lvis", reason="lvis brings another opencv: its figures are recorded")
    assert record(tmp_path) == json.loads(LVIS_API.read_text())


def record(folder):
    return {
        name: reference_ar(path, answers)
        for name, path, _, answers in lvis_answers(folder)
        if not name.startswith("nothing")
    }


def test_recalls_of_classes_are_averaged_anew_for_every_draw(tmp_path):
    benchmark = LvisGround(write(tmp_path, 1, crowds=False))
    answers = answers_of(benchmark, "crowded", with_scores=False)
    (measure,) = benchmark.score(benchmark.cases, answers).measures
    pictures = list(dict.fromkeys(case.picture for case in benchmark.cases))
    kept = set(pictures[::2])
    weights = np.array([[float(picture in kept) for picture in pictures]])
    fewer = [case for case in benchmark.cases if case.picture in kept]
    (direct,) = benchmark.score(fewer, answers).measures
    assert measure.at(weights)[0] == pytest.approx(direct.values(), abs=1e-12)


def test_questions_about_classes(tmp_path):
    benchmark = LvisGround(write(tmp_path, 0, crowds=False))
    truth = guesses.truth(0, crowds=False)
    pairs = {(a["image_id"], a["category_id"]) for a in truth["annotations"]}
    assert {case.key for case in benchmark.cases} == {f"{i}/{c}" for i, c in pairs}
    assert benchmark.cases[0].words.startswith("thing ")
    assert class_name("Alarm_clock ") == "alarm clock"


@pytest.mark.parametrize("text", ["[]", "{}", "no", '{"images":[{"id":1}],"annotations":[]}'])
def test_other_files_are_refused(text, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(GromaError, match=r"x\.json is no file of this benchmark"):
        Detection(path)


@pytest.mark.parametrize(
    "answer",
    [
        *({}, {"boxes": [[1, 2, 3]], "scores": [1]}, {"boxes": [[1, 2, 3, 4]]}),
        *({"boxes": [[1, 2, 3, 4]], "scores": []}, {"boxes": 3, "scores": []}),
    ],
)
def test_answers_that_are_none_are_refused(answer, tmp_path):
    benchmark = Detection(write(tmp_path, 0))
    key = benchmark.cases[0].key
    with pytest.raises(GromaError, match=f"case {key}"):
        benchmark.score(benchmark.cases, {key: answer or {"x": 1}})


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        LVIS_API.write_text(json.dumps(record(Path(folder)), indent=1) + "\n")
