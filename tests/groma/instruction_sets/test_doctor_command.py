"""`groma data check` from the outside."""

import json
from pathlib import Path

import pytest
from PIL import Image

from groma.cli import main as cli
from groma.instruction_sets.readers.reading import read_set
from groma.instruction_sets.readers.set_items import to_samples
from tests import talk
from tests.groma.instruction_sets import make
from tests.groma.text import toy


@pytest.fixture
def file(tmp_path: Path) -> Path:
    make.write_pictures(tmp_path / "images")
    items = make.good_items()
    items[0]["boxes"][0] = [1, 2, 0, 4]
    items[1]["file_name"] = "no\x1b[2Jwhere.png"
    for item in items[2:]:
        item["conversation"].append({"from": "human", "value": "And?"})
    for item in items:
        item["conversation"][0]["value"] += " Look closely."
    items += [items[5] | {"file_name": f"{i}.png", "id": i} for i in range(4)]
    (tmp_path / "set.json").write_text(json.dumps(items))
    return tmp_path / "set.json"


def _run(*arguments: object) -> int:
    return cli.main(["data", "check", *map(str, arguments)])


def test_findings_are_a_table(file: Path, capsys: pytest.CaptureFixture) -> None:
    assert _run(file) == 2
    output = capsys.readouterr()
    head, explained, table = output.out.split("\n", 2)
    assert explained == "Boxes are read as x, y, width, height in pixels."
    assert head.startswith("Groma-Instruct set: 10 items")
    lines = table.splitlines()
    assert lines[0].split() == ["item", "kind", "what", "is", "wrong", "fix"]
    assert any("1     error" in line and "without area (1, 2, 0, 4)" in line for line in lines)
    assert any("turn-last" in line and "and 3 more" in line for line in lines)
    assert "\x1b" not in output.out
    assert lines[-1].endswith("all of them can be mended with --fix.")
    assert output.err.startswith("groma: Of 10 items, 10 cannot be learnt; --fix writes")


def test_fix_writes_a_set_in_which_nothing_is_wrong(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    before = file.read_bytes()
    assert _run(file, "--fix") == 0
    target = tmp_path / "set-fixed.json"
    assert "9 items; 1 item is left out" in capsys.readouterr().out
    assert file.read_bytes() == before
    assert len(to_samples(read_set(target))) == 9
    assert _run(target) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("Nothing is wrong")
    assert _run(target, "--fix", "--out", target) == 2
    assert "exists already" in capsys.readouterr().err
    assert _run(file, "--fix", "--out", tmp_path / "all.zip") == 0
    assert len(to_samples(read_set(tmp_path / "all.zip"))) == 9


def test_show_draws_and_spells(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = tmp_path / "model"
    talk.groma().model.save_pretrained(model)
    toy.tokenizer("llama").save_pretrained(model)
    picture = tmp_path / "out.png"
    _run(file, "--fix")
    capsys.readouterr()
    fixed = tmp_path / "set-fixed.json"
    assert _run(fixed, "--show", 2, "--save", picture, "--model", model) == 0
    assert "⟦<p>Two dogs</p><roi><box 1><box 2></roi>" in capsys.readouterr().out
    assert Image.open(picture).size == (make.WIDTH, make.HEIGHT)
    assert _run(fixed, "--model", model, "--limit", 50) == 2
    assert "length-answer" in capsys.readouterr().out


def test_what_is_learnt_needs_a_model(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert _run(file, "--show", 1, "--save", tmp_path / "out.png") == 0
    assert "Give --model FOLDER as well" in capsys.readouterr().out


def test_a_mended_folder_is_found_again_with_its_pictures(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "mine"
    make.write_pictures(folder / "images")
    file.rename(folder / "set.json")
    monkeypatch.chdir(folder)
    assert _run(".", "--fix") == 0
    target = tmp_path / "mine-fixed.zip"
    assert str(target) in capsys.readouterr().out
    assert _run(target) == 0
    assert capsys.readouterr().out.endswith("Nothing is wrong with it.\n")


@pytest.fixture
def unclear(tmp_path: Path) -> Path:
    """Small boxes in fractions, in the middle of a picture."""
    make.write_pictures(tmp_path / "images")
    items = make.good_items()[:1]
    items[0]["boxes"] = [[0.5, 0.45, 0.1, 0.12], [0.4, 0.5, 0.12, 0.1], [0.45, 0.4, 0.1, 0.1]]
    (tmp_path / "set.json").write_text(json.dumps(items))
    return tmp_path / "set.json"


def test_what_is_not_certain_is_asked(unclear: Path, capsys: pytest.CaptureFixture) -> None:
    for fix in ([], ["--fix"]):
        assert _run(unclear, *fix) == 2
        output = capsys.readouterr()
        assert "both fit" in output.out
        assert "1 error; none of it can be mended" in output.out
        assert "--boxes xywh-fractions or --boxes cxcywh-fractions" in output.err
    assert [file.name for file in unclear.parent.glob("*.json")] == ["set.json"]


@pytest.mark.parametrize(("layout", "left"), [("cxcywh", 0.45), ("xywh-fractions", 0.5)])
def test_who_knows_a_layout_says_it(
    layout: str, left: float, unclear: Path, capsys: pytest.CaptureFixture
) -> None:
    assert _run(unclear, "--boxes", layout) == 0
    assert "in fractions of the picture, 0 to 1, as you say" in capsys.readouterr().out
    assert _run(unclear, "--boxes", layout, "--fix") == 0
    (sample,) = to_samples(read_set(unclear.parent / "set-fixed.json"))
    assert sample.boxes[0][0] == pytest.approx(left)


def test_wrong_places_alone_are_no_items_that_cannot_be_learnt(
    file: Path, capsys: pytest.CaptureFixture
) -> None:
    items = make.good_items()
    make.boxes_as(make.to_xyxy)(items)
    file.write_text(json.dumps(items))
    assert _run(file) == 2
    output = capsys.readouterr()
    assert output.out.endswith("1 error; it can be mended with --fix.\n")
    assert output.err.startswith("groma: As it is, this set would teach wrong places; --fix")


def test_boxes_of_several_items_are_counted_once(file: Path, capsys: pytest.CaptureFixture) -> None:
    images = [{"id": i, "file_name": f"{i}.png", "height": 100, "width": 200} for i in range(2)]
    boxes = [{"image_id": i % 2, "bbox": [20, 10 * i, 40, 30], "caption": str(i)} for i in range(5)]
    file.write_text(json.dumps({"images": images, "annotations": boxes}))
    assert _run(file) == 0
    assert "COCO-like set: 4 items, 2 pictures, 10 questions, 5 boxes." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.json",), "no file"),
        (("{file}", "--out", "x.json"), "--fix"),
        (("{file}", "--fix", "--out", "{file}"), "exists already"),
        (("{file}", "--limit", "0"), "at least 1"),
        (("{file}", "--show", "77"), "no item 77"),
        (("{file}", "--show", "0"), "count from 1"),
        (("{file}", "--boxes", "ltrb"), "xywh, xyxy or cxcywh"),
        (("{file}", "--model", "nowhere"), "nowhere"),
        (("{file}", "--images", "nowhere"), "no folder"),
    ],
)
def test_mistakes_cost_one_sentence(
    arguments: tuple, message: str, file: Path, capsys: pytest.CaptureFixture
) -> None:
    assert _run(*(argument.format(file=file) for argument in arguments)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
