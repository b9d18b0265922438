"""Pictures with questions to try."""

import json
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from re import findall

import pytest
from PIL import Image

from app.chat.example_strip import (
    PHOTOGRAPHS,
    SCENES,
    Example,
    examples_of,
    pick,
    read_examples,
    render_examples,
    strip_of,
)
from tests.app.scripted import picture


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture().save(tmp_path / "scene.png")
    entries = [
        {"image": "scene.png", "question": "Describe <it>."},
        {"image": "scene.png", "question": "What is [1]?", "boxes": [[1, 2, 30, 40]]},
    ]
    (tmp_path / "examples.json").write_text(json.dumps(entries))
    return tmp_path


def test_examples_are_read(folder: Path) -> None:
    first, second = read_examples(folder)
    assert first.picture == folder / "scene.png"
    assert second.boxes == ((1, 2, 30, 40),)


def test_there_need_not_be_any(tmp_path: Path) -> None:
    assert read_examples(tmp_path) == []
    assert render_examples([]) == ""


def test_strip_is_self_contained_and_escaped(folder: Path) -> None:
    html = render_examples(read_examples(folder))
    assert html.count("data:image/webp;base64,") == 2
    assert "&lt;it&gt;" in html


@pytest.mark.parametrize("model", ["groma-mini", "groma-photo"])
def test_every_example_is_called_by_its_picture_and_its_question(model: str) -> None:
    names = findall(r'<img alt="Picture of ([^"]+):" [^>]*><span>([^<]+)</span>', strip_of(model))
    assert len(set(names)) == len(names) == len(examples_of(model))
    for (seen, question), example in zip(names, examples_of(model), strict=True):
        assert seen.partition(",")[0] == example.picture.stem
        assert ("[1] drawn" in seen) == ("[1]" in question)


def test_thumbnails_show_the_box_of_the_question(tmp_path: Path) -> None:
    Image.new("RGB", (100, 200)).save(tmp_path / "tall.png")
    example = Example(tmp_path / "tall.png", "What is [1]?", ((20, 140, 80, 180),))
    (data,) = findall(r"base64,([^\"]+)", render_examples([example]))
    thumbnail = Image.open(BytesIO(b64decode(data))).convert("RGB")
    assert thumbnail.size == (264, 168)
    # 2.64 times as large, and its middle is the box's.
    assert max(thumbnail.getpixel((20 * 2.64 + 3, 84))) > 100
    assert max(thumbnail.getpixel((132, 84))) < 50


@pytest.mark.parametrize("data", [None, {}, {"index": 2}, {"index": -1}, {"index": "0"}, [0]])
def test_browsers_cannot_ask_for_others(folder: Path, data: object) -> None:
    assert pick(read_examples(folder), data) is None


@pytest.mark.parametrize(
    ("model", "folder"), [("groma-mini", SCENES), ("groma-photo", PHOTOGRAPHS), ("7b", PHOTOGRAPHS)]
)
def test_every_model_has_its_own_and_they_exist(model: str, folder: Path) -> None:
    examples = examples_of(model)
    assert examples == read_examples(folder)
    for example in examples:
        assert example.picture.is_file()
        assert example.question
    assert strip_of(model).count("data-example") == len(examples)


@pytest.mark.parametrize("folder", [SCENES, PHOTOGRAPHS], ids=lambda folder: folder.name)
def test_shipped_examples_are_about_their_pictures(folder: Path) -> None:
    examples = read_examples(folder)
    assert len(examples) > 6
    for example in examples:
        assert example.question
        with Image.open(example.picture) as image:
            width, height = image.size
        for x1, y1, x2, y2 in example.boxes:
            assert 0 <= x1 < x2 <= width
            assert 0 <= y1 < y2 <= height
            assert f"[{len(example.boxes)}]" in example.question


def test_photographs_are_small_and_their_origin_is_told() -> None:
    origins = (PHOTOGRAPHS / "README.md").read_text(encoding="utf-8")
    for photograph in PHOTOGRAPHS.glob("*.webp"):
        with Image.open(photograph) as image:
            assert max(image.size) <= 1024
        assert photograph.stat().st_size < 200_000
        assert f"| `{photograph.name}` |" in origins
