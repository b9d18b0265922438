"""Every public benchmark from end to end: a tiny model, files in the real formats, the command."""

import json
import shutil
from dataclasses import asdict

import numpy as np
import pytest

import groma
from groma.cli import evaluate
from groma.cli import main as cli
from groma.data.sources.coco import open_expressions
from groma.eval.benchmarks.rec import Rec
from groma.eval.benchmarks.region_caption import RegionCaption
from groma.eval.harness.asker import Asker, Protocol, _TaggedTemplate, phrasing
from groma.eval.harness.benchmark_run import Shard, choose, read_predictions
from groma.eval.harness.published_figures import SETS, find_set
from groma.eval.statistics.intervals import Figure, mean
from groma.run_journal import RunJournal
from groma.text.template import Template
from groma.tokens import GROUNDING, PHRASE_CLOSE, PHRASE_OPEN
from groma.types import GromaError
from tests import talk
from tests.groma.eval import benchmark_files as files
from tests.groma.eval import guesses
from tests.paths import DATA

PUBLIC = DATA / "public"
MODEL = ("--device", "cpu", "--dtype", "float32")
SHORT = ("--max-new-tokens", "8")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    target = tmp_path_factory.mktemp("model")
    talk.groma().model.save_pretrained(target)
    talk.toy.tokenizer("llama").save_pretrained(target)
    return str(target)


@pytest.fixture
def loaded(monkeypatch):
    """The same model, in memory: loading it takes longer than asking it."""
    monkeypatch.setattr(evaluate, "load_model", lambda _: talk.groma())


@pytest.fixture(scope="module")
def embedded():
    """The model that is shipped."""
    return groma.load("groma-mini", device="cpu")


@pytest.fixture
def embedded_loaded(monkeypatch, embedded):
    monkeypatch.setattr(evaluate, "load_model", lambda _: embedded)


@pytest.fixture
def no_model(monkeypatch):
    def refuse(_):
        raise AssertionError("no model is needed here")

    monkeypatch.setattr(evaluate, "load_model", refuse)


@pytest.fixture
def no_java(monkeypatch):
    """Captions are measured by their length, where the true tools take long to start."""

    def measure(references, captions):
        lengths = np.array([float(len(captions[key])) for key in references])
        return [mean(Figure("meteor", "length", len(references)), lengths)]

    monkeypatch.setattr("groma.eval.benchmarks.region_caption.measure_captions", measure)
    monkeypatch.setattr("groma.eval.benchmarks.gcg.measure_captions", measure)
    monkeypatch.setattr("groma.eval.benchmarks.gcg.check_java", lambda: None)


def rec(path, *more):
    arguments = ["eval", "rec", "--annotations", str(files.REC), "--cache", str(path)]
    return [*arguments, *map(str, more)]


def asked(path, model, *more):
    return rec(path, "--images", files.IMAGES, "--model", model, *MODEL, *SHORT, *more)


def run(capsys, *arguments):
    """What a command prints, as JSON."""
    assert cli.main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_rec_from_the_model_to_the_table(model, tmp_path, capsys):
    save, report = tmp_path / "answers.jsonl", tmp_path / "table.md"
    arguments = asked(tmp_path, model, "--limit", 6, "--save", save, "--report", report)
    found = run(capsys, *arguments)
    assert found["run"]["protocol"]["wording"] == "words"
    assert found["run"]["protocol"]["score_threshold"] == 0.15
    assert found["figures"]["accuracy"]["published"]["Groma-7B"]["value"] == 89.53
    assert json.loads(report.with_suffix(".json").read_text()) == found
    assert run(capsys, *rec(tmp_path, "--predictions", save)) == found
    assert found["figures"]["accuracy"]["cases"] == len(RunJournal.read(save).entries) == 6
    text = report.read_text()
    assert found["set"] == "refcoco-val"
    assert "Protocol: wording `words`, at most 8 new tokens, regions of objectness 0.15" in text
    assert "| accuracy at IoU > 0.5 " in text
    assert "at most 6 cases (seed 0)" in text
    assert "Groma-7B" in text
    assert "arXiv 2404.13013" in text


def plain_accuracy(path, answers):
    """REC as a few lines: the share of expressions whose first box overlaps by more than half."""
    truth = json.loads(path.read_text())
    boxes = {a["image_id"]: a["bbox"] for a in truth["annotations"]}
    right = 0
    for number, image in enumerate(truth["images"]):
        found = answers.get(str(number), [])
        if not found:
            continue
        (x1, y1, x2, y2), (x, y, w, h) = found[0], boxes[image["id"]]
        across = max(0, min(x2, x + w) - max(x1, x))
        down = max(0, min(y2, y + h) - max(y1, y))
        shared = across * down
        right += shared / ((x2 - x1) * (y2 - y1) + w * h - shared) > 0.5
    return right / len(truth["images"])


def expressions(folder, seed):
    """A file of expressions about the things in made-up pictures."""
    truth = guesses.truth(seed, crowds=False)
    images = {image["id"]: image for image in truth["images"]}
    listed = [
        {**images[a["image_id"]], "id": a["id"], "caption": f"thing {a['id']}"}
        for a in truth["annotations"]
    ]
    owned = [{**a, "image_id": a["id"]} for a in truth["annotations"]]
    path = folder / f"rec-{seed}.json"
    path.write_text(json.dumps({"images": listed, "annotations": owned, "categories": []}))
    return path


@pytest.fixture
def refs(tmp_path):
    """What the command reads of refs as they are published, but for the split."""
    shutil.copytree(PUBLIC / "refcoco", tmp_path / "refcoco")
    folder = tmp_path / "refcoco"
    options = ("--annotations", folder / "refs(unc).p", "--instances", folder / "instances.json")
    return ["eval", "rec", "--format", "refer", *options, "--cache", tmp_path / "cache"]


def test_refs_as_published_from_the_model_to_the_table(model, refs, tmp_path, capsys):
    save, report = tmp_path / "testA.jsonl", tmp_path / "testA.md"
    images = ("--images", tmp_path / "refcoco/images", "--model", model, *MODEL, *SHORT)
    kept = ("--save", save, "--report", report)
    found = run(capsys, *refs, "--split", "testA", *images, *kept)
    assert found["set"] == "refcoco-testA"
    assert found["figures"]["accuracy"]["published"]["Groma-7B"]["value"] == 92.09
    assert found["figures"]["accuracy"]["cases"] == len(RunJournal.read(save).entries) == 2
    assert "on refcoco testA of refs(unc).p" in report.read_text()
    assert run(capsys, *refs, "--split", "testA", "--predictions", save) == found
    # The answers to one split are none to another, whose cases have the same numbers.
    before = save.read_bytes()
    for more in (("--predictions", save), (*images, "--save", save)):
        assert cli.main([*map(str, refs), "--split", "train", *map(str, more)]) == 2
        told = capsys.readouterr().err
        assert "refcoco testA of refs(unc).p" in told
        assert "refcoco train of refs(unc).p" in told
        assert save.read_bytes() == before


@pytest.mark.usefixtures("loaded")
def test_expressions_that_cannot_be_used_are_told(model, refs, tmp_path, capsys):
    images = ("--images", tmp_path / "refcoco/images", "--model", model, *MODEL, *SHORT)
    found = run(capsys, *refs, "--split", "train", *images)
    assert found["figures"]["accuracy"]["cases"] == 4
    assert found["notes"] == [
        "2 of the 6 expressions in the file cannot be used: "
        "a thing that the instances do not hold (2)."
    ]


@pytest.mark.usefixtures("no_java")
def test_regions_that_cannot_be_used_are_told(tmp_path):
    data = json.loads(files.CAPTIONS.read_text())
    data["annotations"][0]["bbox"][2] = 0
    (tmp_path / "x.json").write_text(json.dumps(data))
    benchmark, whole = (RegionCaption(path) for path in (tmp_path / "x.json", files.CAPTIONS))
    assert len(benchmark.cases) == len(whole.cases)
    answers = {case.key: {"caption": "x"} for case in benchmark.cases}
    notes = benchmark.score(benchmark.cases, answers).notes
    assert notes == ["1 of the 6 regions in the file cannot be used: a box without area (1)."]
    assert whole.score(whole.cases, {c.key: {"caption": "x"} for c in whole.cases}).notes == []


def test_captions_that_are_missing_are_not_scored(monkeypatch):
    """As in pycocoevalcap, which looks at the pictures of the results alone."""
    scored = []
    monkeypatch.setattr(
        "groma.eval.benchmarks.region_caption.measure_captions",
        lambda *both: scored.append(both) or [],
    )
    benchmark = RegionCaption(files.CAPTIONS)
    answered = benchmark.cases[1::2]
    score = benchmark.score(benchmark.cases, {c.key: {"caption": c.picture} for c in answered})
    ((references, captions),) = scored
    assert references == {case.key: case.captions for case in answered}
    assert captions == {case.key: case.picture for case in answered}
    assert score.notes == ["3 of 5 cases have no answer and are left out."]


def test_four_bits_are_compared_with_sixteen(model, tmp_path, capsys, monkeypatch):
    """The whole way: two models answer the same subset, and the table shows what that changes."""
    sixteen, four = tmp_path / "sixteen.jsonl", tmp_path / "four.jsonl"
    # Long answers, for the two to differ.
    subset = ("--limit", 6, "--seed", 1, "--max-new-tokens", 96, "--score-threshold", 0)
    run(capsys, *asked(tmp_path, model, *subset, "--save", sixteen))
    more = ("--quantization", "4bit", "--save", four, "--compare", sixteen)
    found = run(capsys, *asked(tmp_path, model, *subset, *more))
    assert (found["run"]["quantization"], found["compared"]["quantization"]) == ("4bit", None)
    answers = [read_predictions([path])[1] for path in (four, sixteen)]
    assert answers[0].keys() == answers[1].keys()
    assert answers[0] != answers[1]
    for figure in found["figures"].values():
        assert figure["cases"] == 6
        assert figure["difference"]["low"] <= figure["difference"]["value"]
        assert figure["difference"]["value"] <= figure["difference"]["high"]
    own = [run(capsys, *rec(tmp_path, "--predictions", p))["figures"] for p in (four, sixteen)]
    for key, figure in found["figures"].items():
        wanted = own[0][key]["value"] - own[1][key]["value"]
        assert figure["difference"]["value"] == pytest.approx(wanted)
    monkeypatch.setattr(evaluate, "load_model", lambda _: pytest.fail("nothing is left to ask"))
    assert run(capsys, *asked(tmp_path, model, *subset, *more)) == found


@pytest.mark.parametrize("kind", guesses.KINDS)
def test_rec_equals_a_plain_recomputation(kind, tmp_path):
    path = expressions(tmp_path, 4)
    benchmark = Rec([path], open_expressions(path, tmp_path))
    boxes = {}
    for case, a in zip(benchmark.cases, json.loads(path.read_text())["annotations"], strict=True):
        if (guess := guesses.guess(kind, [a["bbox"]], case.key)) is not None:
            boxes[case.key] = guess[0]
    score = benchmark.score(benchmark.cases, {key: {"boxes": b} for key, b in boxes.items()})
    accuracy, mean_iou, no_region = score.measures[0].values()
    assert accuracy == pytest.approx(plain_accuracy(path, boxes), abs=1e-12)
    silent = sum(not boxes.get(case.key) for case in benchmark.cases)
    assert no_region == pytest.approx(silent / len(benchmark.cases))
    assert 0 <= accuracy / 2 <= mean_iou <= 1
    if kind == "exact":
        assert accuracy == 1
    missing = len(benchmark.cases) - len(boxes)
    assert len(score.notes) == (missing > 0)


def test_an_overlap_of_exactly_a_half_is_wrong(tmp_path):
    image = {"id": 0, "file_name": "x.jpg", "height": 10, "width": 10, "caption": "x"}
    truth = [{"id": 1, "image_id": 0, "bbox": [0, 0, 4, 4]}]
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"images": [image], "annotations": truth, "categories": []}))
    benchmark = Rec([path], open_expressions(path, tmp_path))
    for box, right in (([0, 0, 4, 2], 0), ([0, 0, 4, 2.01], 1)):
        (measure,) = benchmark.score(benchmark.cases, {"0": {"boxes": [box]}}).measures
        assert measure.values()[0] == right


@pytest.mark.usefixtures("loaded")
def test_processes_share_the_work(model, tmp_path, capsys, monkeypatch):
    whole, part = tmp_path / "whole.jsonl", tmp_path / "part.jsonl"
    arguments = asked(tmp_path, model, "--limit", 11, "--seed", 3)
    found = run(capsys, *arguments, "--save", whole)
    assert cli.main([*arguments, "--save", str(part), "--shard", "0/3"]) == 0
    assert "Shard 0 of 3 is done" in capsys.readouterr().out
    for rank in ("1", "2"):
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("WORLD_SIZE", "3")
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert cli.main([*arguments, "--save", str(part)]) == 0
        assert f"Shard {rank} of 3 is done" in capsys.readouterr().out
    parts = [tmp_path / f"part.{rank}-of-3.jsonl" for rank in range(3)]
    assert sum(len(RunJournal.read(path).entries) for path in parts) == 11
    assert run(capsys, *rec(tmp_path, "--predictions", *parts)) == found
    again = run(capsys, *rec(tmp_path, "--predictions", *parts, whole, parts[0]))
    assert again == found


@pytest.mark.usefixtures("loaded")
def test_a_killed_run_goes_on(model, tmp_path, capsys, monkeypatch):
    save = tmp_path / "answers.jsonl"
    arguments = asked(tmp_path, model, "--limit", 8, "--save", save, "--at-once", 1)
    answer, asked_for = Rec.answer, []

    def tire(self, asker, case, number):
        asked_for.append(case.key)
        if len(asked_for) == 5:
            raise KeyboardInterrupt
        return answer(self, asker, case, number)

    monkeypatch.setattr(Rec, "answer", tire)
    assert cli.main(arguments) == 130
    assert len(RunJournal.read(save).entries) == 4
    found = run(capsys, *arguments)
    number = found["figures"]["accuracy"]["cases"]
    assert len(asked_for) == number + 1
    assert len(set(asked_for)) == number
    monkeypatch.setattr(evaluate, "load_model", lambda _: pytest.fail("nothing is left to ask"))
    assert run(capsys, *arguments) == found


@pytest.mark.usefixtures("no_model")
def test_two_runs_are_compared_case_by_case(tmp_path, capsys):
    paths = [tmp_path / f"{name}.jsonl" for name in ("four", "sixteen", "other")]
    benchmark = Rec([files.REC], open_expressions(files.REC, tmp_path))
    for path, limit, wrong in zip(paths, (None, None, 3), (4, 0, 0), strict=True):
        save_answers(path, benchmark, limit, wrong)
    found = run(capsys, *rec(tmp_path, "--predictions", paths[0], "--compare", paths[1]))
    accuracy = found["figures"]["accuracy"]
    lost = -100 * 4 / len(benchmark.cases)
    assert accuracy["difference"]["value"] == pytest.approx(lost)
    assert accuracy["difference"]["low"] <= lost <= accuracy["difference"]["high"] <= 0
    assert found["compared"]["model"] == "sixteen"
    arguments = rec(tmp_path, "--predictions", paths[0], "--compare", paths[1])
    assert cli.main(arguments) == 0
    assert "four (4bit) on refcoco_val.json, less sixteen" in capsys.readouterr().out
    other = paths[1].read_text().replace('"max_new_tokens":64', '"max_new_tokens":3')
    paths[1].write_text(other)
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    assert "Protocol: wording `words`, at most 64 new tokens." in text
    assert "Protocol of sixteen: wording `words`, at most 3 new tokens." in text
    assert cli.main(rec(tmp_path, "--predictions", paths[0], "--compare", paths[2])) == 2
    assert "another subset" in capsys.readouterr().err


def save_answers(path, benchmark, limit, wrong):
    header = {
        "benchmark": "rec",
        "annotations": files.REC.name,
        "fingerprint": benchmark.fingerprint,
        "limit": limit,
        "seed": 0,
        "model": path.stem,
        "quantization": "4bit" if path.stem == "four" else None,
        "dtype": "auto",
        "protocol": asdict(Protocol("words", 64)),
    }
    file = RunJournal.resume(path, header)
    for index in choose(len(benchmark.cases), limit, 0):
        case = benchmark.cases[index]
        boxes = [] if index < wrong else [list(case.box)]
        file.append({"key": case.key, "answer": {"boxes": boxes}})


def test_answers_that_contradict_each_other_are_refused(tmp_path):
    benchmark = Rec([files.REC], open_expressions(files.REC, tmp_path))
    paths = [tmp_path / name / "same.jsonl" for name in "ab"]
    for path, wrong in zip(paths, (1, 0), strict=True):
        path.parent.mkdir()
        save_answers(path, benchmark, None, wrong)
    with pytest.raises(GromaError, match="Case 0 was answered twice, and not alike"):
        read_predictions(paths)


@pytest.mark.usefixtures("embedded_loaded")
def test_the_embedded_model_finds_most_of_its_own_world(tmp_path, capsys):
    found = run(capsys, *rec(tmp_path, "--images", files.IMAGES))["figures"]
    assert found["accuracy"]["value"] > 40
    assert found["accuracy"]["cases"] == len(open_expressions(files.REC, tmp_path))


OTHERS = {
    "lvis-ground": (files.LVIS, ()),
    "region-caption": (files.CAPTIONS, ()),
    "detection": (files.COCO, ()),
    "gcg": (files.GCG_CAPTIONS, ("--masks", files.GCG_MASKS, "--text-encoder", "none")),
}
KEYS = {"lvis-ground": "ar_medium", "region-caption": "meteor", "detection": "ap_50", "gcg": "miou"}


@pytest.mark.usefixtures("embedded_loaded", "no_java")
@pytest.mark.parametrize("name", OTHERS)
def test_the_others_from_the_model_to_the_table(name, tmp_path, capsys, monkeypatch):
    annotations, more = OTHERS[name]
    save = tmp_path / "answers.jsonl"
    command_line = ["eval", name, "--annotations", annotations, *more]
    found = run(capsys, *command_line, "--images", files.IMAGES, "--save", save)
    monkeypatch.setattr(evaluate, "load_model", lambda _: pytest.fail("no model is needed here"))
    assert run(capsys, *command_line, "--predictions", save) == found
    figure = found["figures"][KEYS[name]]
    assert figure["value"] is not None
    assert figure["low"] <= figure["value"] <= figure["high"]
    # Everything that is published is measured, but for what needs Java or a text encoder here.
    stated = {
        key
        for each in SETS.values()
        if each.benchmark == name
        for r in each.results
        for key in r.figures
    }
    assert stated - found["figures"].keys() <= {"cider", "recall"}
    file = RunJournal.read(save)
    assert len({case["key"] for case in file.entries}) == len(file.entries) > 0
    compared = run(capsys, *command_line, "--predictions", save, "--compare", save)
    differences = [each["difference"] for each in compared["figures"].values()]
    assert all(d["value"] in (0, None) for d in differences)


@pytest.mark.usefixtures("embedded_loaded")
def test_proposals_are_ranked_by_both_heads_or_one(tmp_path, capsys):
    scores = {}
    arguments = ("eval", "detection", "--annotations", files.COCO, "--images", files.IMAGES)
    for head in ("fused", "coco", "sa1b"):
        save = tmp_path / f"{head}.jsonl"
        found = run(capsys, *arguments, "--save", save, "--objectness", head)
        assert found["run"]["protocol"]["objectness"] == head
        _, answers = read_predictions([save])
        first = answers["1"]
        assert first["scores"] == sorted(first["scores"], reverse=True)
        pairs = zip(map(tuple, first["boxes"]), first["scores"], strict=True)
        scores[head] = dict(pairs)
    assert scores["fused"].keys() == scores["coco"].keys() == scores["sa1b"].keys()
    for box, score in scores["fused"].items():
        wanted = scores["coco"][box] ** 0.4 * scores["sa1b"][box] ** 0.6
        assert score == pytest.approx(wanted, rel=1e-4)
    shown = [tmp_path / f"{head}.jsonl" for head in ("coco", "fused")]
    compared = ("--predictions", shown[0], "--compare", shown[1])
    assert cli.main([*map(str, (*arguments[:4], *compared))]) == 0
    text = capsys.readouterr().out
    assert "ranks by `coco` objectness." in text
    assert "ranks by `fused` objectness." in text


@pytest.mark.usefixtures("loaded", "no_java")
def test_missing_pictures_are_left_out_and_asked_for_later(model, tmp_path, capsys):
    images, save = tmp_path / "images", tmp_path / "answers.jsonl"
    images.mkdir()
    pictures = sorted(files.IMAGES.iterdir())
    for picture in pictures[1:]:
        (images / picture.name).write_bytes(picture.read_bytes())
    (images / pictures[2].name).write_bytes(b"no picture")
    arguments = ["eval", "detection", "--annotations", files.COCO, "--model", model, *MODEL]
    found = run(capsys, *arguments, "--images", images, "--save", save)
    assert found["notes"] == ["2 of 5 cases have no answer."]
    later = run(capsys, *arguments, "--images", files.IMAGES, "--save", save)
    assert later["notes"] == []
    assert len(RunJournal.read(save).entries) == 5


@pytest.mark.usefixtures("no_model")
def test_captions_that_cannot_be_scored_are_not_asked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    command_line = ["eval", "region-caption", "--annotations", str(files.CAPTIONS)]
    images = ["--images", str(files.IMAGES)]
    assert cli.main([*command_line, *images]) == 2
    assert "need Java" in capsys.readouterr().err
    # What is kept can be scored elsewhere.
    save = ["--save", str(tmp_path / "answers.jsonl")]
    with pytest.raises(AssertionError, match="no model is needed here"):
        cli.main([*command_line, *images, *save])


@pytest.mark.usefixtures("no_model")
def test_judgements_that_cannot_be_kept_are_not_asked_for(capsys):
    more = ("--references", files.REFERENCES, "--context", files.CONTEXT, "--images", files.IMAGES)
    arguments = ["eval", "chat-judge", "--annotations", files.QUESTIONS, *more]
    assert cli.main([*map(str, arguments)]) == 2
    assert "say --save FILE" in capsys.readouterr().err


@pytest.mark.usefixtures("no_model", "no_java")
def test_without_a_text_encoder_recall_is_left_out(tmp_path, capsys):
    arguments = ["eval", "gcg", "--annotations", files.GCG_CAPTIONS, "--masks", files.GCG_MASKS]
    more = ["--text-encoder", tmp_path / "nowhere", "--predictions", files.GCG_ANSWERS]
    found = run(capsys, *arguments, *more)
    assert found["figures"].keys() == {"meteor", "ap_50", "miou"}
    (note,) = [note for note in found["notes"] if "Recall" in note]
    assert note.startswith("Recall is left out: the text encoder ")
    assert "nowhere cannot be loaded" in note


@pytest.mark.usefixtures("embedded_loaded", "no_java")
def test_descriptions_with_masks_from_the_model_to_the_table(tmp_path, capsys):
    save = tmp_path / "answers.jsonl"
    arguments = ["eval", "gcg", "--annotations", files.GCG_CAPTIONS, "--masks", files.GCG_MASKS]
    more = ["--text-encoder", "none", "--limit", 2, "--images", files.IMAGES, "--save", save]
    found = run(capsys, *arguments, *more, "--mask-maker")
    assert found["run"]["protocol"]["mask_maker"] == "grabcut"
    assert "Overlaps are those of masks." in found["notes"]
    for entry in RunJournal.read(save).entries:
        answer = entry["answer"]
        assert len(answer["masks"]) == len(answer["boxes"]) == len(answer["phrases"])
    again = ["--text-encoder", "none", "--predictions", save]
    assert run(capsys, *arguments, *again, "--overlap", "masks")["figures"] == found["figures"]
    boxes = run(capsys, *arguments, *again)["figures"]
    assert boxes["miou"] != found["figures"]["miou"]


@pytest.mark.usefixtures("no_model", "no_java")
def test_answers_of_glamm_are_read(capsys):
    arguments = ["eval", "gcg", "--annotations", files.GCG_CAPTIONS, "--masks", files.GCG_MASKS]
    more = ["--overlap", "masks", "--text-encoder", "none", "--predictions", files.GCG_ANSWERS]
    found = run(capsys, *arguments, *more)
    assert found["run"]["model"] == "glamm"
    assert found["run"]["protocol"] is None
    assert cli.main([*map(str, arguments), *map(str, more)]) == 0
    assert "Protocol" not in capsys.readouterr().out
    assert 0 < found["figures"]["ap_50"]["value"] < 100
    assert found["figures"]["miou"]["published"]["GLaMM"]["value"] == 66.3


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--images must name the folder"),
        (("--images", "x", "--shard", "3/3"), "no shard 3/3"),
        (("--images", "x", "--shard", "half"), "--shard is i/n"),
        (("--images", "x", "--shard", "0/2"), "say --save FILE"),
        (("--images", "x", "--limit", "0"), "no case to ask"),
        (("--images", "x", "--report", "x.txt"), "a Markdown file such as x.md"),
        (("--images", "x", "--format", "refer"), "needs --instances"),
        (("--images", "x", "--max-new-tokens", "0"), "max_new_tokens must be between 1 and 1024"),
        (("--predictions", "none.jsonl"), "none.jsonl cannot be used"),
        (("--predictions", "x", "--save", "y"), "--predictions scores saved answers"),
    ],
)
def test_mistakes_cost_one_sentence(arguments, message, model, tmp_path, capsys):
    assert cli.main(rec(tmp_path, "--model", model, *MODEL, *arguments)) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert message in output.err


@pytest.mark.usefixtures("no_model")
def test_answers_to_other_questions_are_refused(tmp_path, capsys):
    save = tmp_path / "answers.jsonl"
    save_answers(save, Rec([files.REC], open_expressions(files.REC, tmp_path)), 2, 0)
    detection = ["eval", "detection", "--annotations", str(files.COCO)]
    assert cli.main([*detection, "--predictions", str(save)]) == 2
    assert "answers to rec, not to detection" in capsys.readouterr().err
    other = expressions(tmp_path, 0)
    arguments = ["eval", "rec", "--annotations", str(other), "--cache", str(tmp_path)]
    assert cli.main([*arguments, "--predictions", str(save)]) == 2
    assert f"answers to refcoco_val.json, not to {other.name}." in capsys.readouterr().err
    changed = tmp_path / files.REC.name
    changed.write_text(files.REC.read_text() + " ")
    arguments = ["eval", "rec", "--annotations", str(changed), "--cache", str(tmp_path)]
    assert cli.main([*arguments, "--predictions", str(save)]) == 2
    assert "was another file than" in capsys.readouterr().err


def test_shares_are_stretches_that_miss_nothing():
    for number, of in ((10, 3), (2, 5), (7, 1)):
        parts = [list(Shard(rank, of).take(range(number))) for rank in range(of)]
        assert [index for part in parts for index in part] == list(range(number))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_subsets_are_seeded():
    assert choose(5, None, 0) == choose(5, 9, 0) == list(range(5))
    assert choose(100, 10, 1) == choose(100, 10, 1) == sorted(set(choose(100, 10, 1)))
    assert choose(100, 10, 1) != choose(100, 10, 2)


def test_released_models_are_asked_with_tags():
    groma = talk.groma()
    template, tokens = _TaggedTemplate.of(groma.template), groma.template.tokens
    pieces = template.question("Find <p>a dog</p> here [1].", (), 0, grounding=False)
    opening, closing = tokens[PHRASE_OPEN], tokens[PHRASE_CLOSE]
    assert pieces == ["Find ", opening, "a dog", closing, " here ", "[1]", "."]
    plain = Template.question(groma.template, "Find <p>a</p>", (), 0, grounding=False)
    assert all(isinstance(piece, str) for piece in plain)
    asked_for = []
    asker = Asker(groma, Protocol("tags", 3))
    asker.look(str(files.IMAGES / "000000000001.jpg"))
    chat = asker._chat
    chat.ask = lambda text, _, grounding: asked_for.append((text, grounding)) or talk_nothing()
    chat.undo = lambda: None
    asker.find("a <p>dog", "rec", 3)
    asker.protocol = Protocol("words", 3)
    asker.find("a dog", "rec", 3)
    (tagged, off), (worded, on) = asked_for
    assert tagged == phrasing("rec", 3).format("<p>a dog</p>")
    assert worded == phrasing("rec", 3).format("a dog")
    assert (off, on) == (False, True)
    assert groma.template.question("x")[0] == tokens[GROUNDING]


def talk_nothing():
    from groma.chat.conversation import GroundedReply

    return GroundedReply("", (), (96, 128))


def test_ways_of_asking_are_drawn_once_and_for_all():
    drawn = [phrasing("rec", number) for number in range(200)]
    assert len(set(drawn)) == 6
    assert drawn == [phrasing("rec", number) for number in range(200)]


def test_the_protocols_are_the_published_ones():
    from groma.eval.benchmarks.lvis_ground import LvisGround

    assert Rec.protocol("tags") == Protocol("tags", 3, 0.15)
    assert LvisGround.protocol("tags") == Protocol("tags", 10, 0.15)
    assert RegionCaption.protocol("words").max_new_tokens == 100


def test_published_sets_are_recognised_by_their_files():
    for benchmark, name, expected in (
        ("rec", "refcoco_testA.json", "refcoco-testA"),
        ("rec", "refcoco+_val.json", "refcoco+-val"),
        ("rec", "refcocog_test.json", "refcocog-test"),
        ("rec", "refcoco val of refs(unc).p", "refcoco-val"),
        ("rec", "refcoco+ testB of refs(unc).p", "refcoco+-testB"),
        ("rec", "refcocog test of refs(umd).p", "refcocog-test"),
        ("lvis-ground", "lvis_test.json", "lvis-ground"),
        ("region-caption", "refcocog_cap_val.json", "refcocog-captions"),
        ("region-caption", "vg_test.json", "vg-captions"),
        ("detection", "instances_val2017.json", "coco-detection"),
        ("detection", "class_agnostic_coco_instances_val2017.json", "coco-detection"),
        ("detection", "coco_class_agnostic_val.json", "coco-detection"),
        ("gcg", "val_gcg_coco_caption_gt.json", "gcg-val"),
        ("chat-judge", "qa90_questions.jsonl", "llava-bench-coco"),
    ):
        assert find_set(benchmark, name, None) == expected
    assert find_set("rec", "mine.json", None) is None
    assert find_set("detection", "instances_val2014.json", None) is None
    assert find_set("rec", "refcoco val of refs(google).p", None) is None
    assert find_set("rec", "refcoco_val.json", "none") is None
    assert find_set("rec", "mine.json", "refcoco-val") == "refcoco-val"
    with pytest.raises(GromaError, match="take refcoco-val"):
        find_set("rec", "mine.json", "coco")


def test_the_mean_of_published_accuracies_is_the_published_mean():
    values = [s.results[0].figures["accuracy"] for s in SETS.values() if s.benchmark == "rec"]
    assert len(values) == 8
    assert round(sum(values) / 8, 2) == 86.52 or abs(sum(values) / 8 - 86.52) < 0.01


def test_every_benchmark_has_its_command():
    published = {each.benchmark for each in SETS.values()}
    assert set(evaluate._BENCHMARKS) == {*published, "photos"}


def test_region_captions_show_the_box(monkeypatch):
    from groma.eval.benchmarks.region_caption import one_line

    benchmark = RegionCaption(files.CAPTIONS)
    assert all(len(case.captions) == 2 for case in benchmark.cases)
    asker, asked_for = Asker(talk.groma(), benchmark.protocol("words")), []
    asker.look(str(files.IMAGES / benchmark.cases[0].picture))
    monkeypatch.setattr(
        asker, "ask", lambda text, boxes: asked_for.append((text, boxes)) or talk_nothing()
    )
    benchmark.answer(asker, benchmark.cases[0], 0)
    ((text, (box,)),) = asked_for
    assert "[1]" in text
    assert box == pytest.approx(benchmark.cases[0].box, abs=0.01)
    assert one_line("' a  dog\n here'") == "a dog here"
