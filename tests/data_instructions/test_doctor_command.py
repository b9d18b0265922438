"""`groma data check` from the outside."""

import json
from pathlib import Path

import pytest
from PIL import Image

from groma import cli
from groma.data.instructions.items import to_samples
from groma.data.instructions.reading import read_set
from tests import talk
from tests.data_instructions import make
from tests.text import toy


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
    head, table, *_ = output.out.split("\n", 1)
    assert head.startswith("Groma-Instruct set: 10 items")
    lines = table.splitlines()
    assert lines[0].split() == ["item", "kind", "what", "is", "wrong", "fix"]
    assert any("1     error" in line and "without area (1, 2, 0, 4)" in line for line in lines)
    assert any("turn-last" in line and "and 3 more" in line for line in lines)
    assert "\x1b" not in output.out
    assert "can be mended with --fix" in lines[-1]
    assert output.err.startswith("groma: ")
    assert "--fix writes" in output.err


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
    assert "⟦<p>Two dogs</p><roi><box 0><box 1></roi>" in capsys.readouterr().out
    assert Image.open(picture).size == (make.WIDTH, make.HEIGHT)
    assert _run(fixed, "--model", model, "--limit", 50) == 2
    assert "length-answer" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.json",), "no file"),
        (("{file}", "--out", "x.json"), "--fix"),
        (("{file}", "--fix", "--out", "{file}"), "exists already"),
        (("{file}", "--limit", "0"), "at least 1"),
        (("{file}", "--show", "77"), "no item 77"),
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
