"""Pictures with questions to try."""

import json
from pathlib import Path

import pytest

from app.examples import pick, read_examples, render_examples
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


def test_strip_is_self_contained_and_escaped(folder: Path) -> None:
    html = render_examples(read_examples(folder))
    assert html.count("data:image/webp;base64,") == 2
    assert "&lt;it&gt;" in html


@pytest.mark.parametrize("data", [None, {}, {"index": 2}, {"index": -1}, {"index": "0"}, [0]])
def test_browsers_cannot_ask_for_others(folder: Path, data: object) -> None:
    assert pick(read_examples(folder), data) is None


def test_embedded_examples_exist() -> None:
    for example in read_examples():
        assert example.picture.is_file()
        assert example.question
