"""When two identifiers are the same, and what is a name: in every reader alike."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groma.data.sources import coco
from groma.eval.benchmarks.coco_file import CocoFile
from groma.foreign import clean_text, load_json, read_text, to_identifier
from groma.instruction_sets.readers.reading import read_set
from groma.instruction_sets.readers.set_items import to_samples

SPELT: list[tuple[Any, Any]] = [(7, "7"), ("7", 7), (7.0, 7), (7, " 7 "), ("img_7", "img_7")]
"""An identifier where it is given, and where it is named."""


def _table(given: Any, named: Any, name: Any = "thing") -> dict[str, Any]:
    return {
        "images": [{"id": given, "file_name": "a.png", "width": 640, "height": 480}],
        "annotations": [{"image_id": named, "category_id": named, "bbox": [40, 60, 160, 200]}],
        "categories": [{"id": given, "name": name}],
    }


@pytest.mark.parametrize(("given", "named"), SPELT)
def test_readers_agree_on_identifiers(tmp_path: Path, given: Any, named: Any) -> None:
    path = tmp_path / "set.json"
    path.write_text(json.dumps(_table(given, named)))
    find, *_ = read_set(path).items
    assert find.boxes == ((40, 60, 160, 200),)
    (sample,) = coco.open_coco(path, tmp_path / "index")
    assert sample.names == ("thing",)
    file = CocoFile.read(path)
    (annotation,) = file.annotations[file.images[0]["id"]]
    assert annotation["category_id"] == file.categories[0]["id"]


@pytest.mark.parametrize("given", [None, True, [7], {"a": 7}, float("nan")])
def test_what_is_no_identifier_joins_nothing(tmp_path: Path, given: Any) -> None:
    path = tmp_path / "set.json"
    path.write_text(json.dumps(_table(given, given)))
    assert to_samples(read_set(path)) == []


@pytest.mark.parametrize(("name", "read"), [(3, "3"), (3.0, "3"), (" red  box\n", "red box")])
def test_names_in_readers(tmp_path: Path, name: Any, read: str) -> None:
    path = tmp_path / "set.json"
    path.write_text(json.dumps(_table(1, 1, name)))
    find, *_ = read_set(path).items
    assert f"<p>{read}</p>" in find.messages[1].text
    (sample,) = coco.open_coco(path, tmp_path / "index")
    assert sample.names == (read,)


@given(st.integers(-(10**18), 10**18))
def test_a_whole_number_is_itself_in_any_spelling(number: int) -> None:
    assert to_identifier(number) == to_identifier(str(number)) == to_identifier(f" {number}\n")


@given(st.text(st.characters(), max_size=20))
def test_texts_can_always_be_written(text: str) -> None:
    clean = clean_text(text)
    assert "\0" not in clean
    assert clean_text(clean) == clean
    clean.encode()
    read_text(text).encode()
    assert load_json(json.dumps(text)) == load_json(json.dumps(text, ensure_ascii=False)) == clean


@pytest.mark.parametrize(
    ("named", "used", "read"),
    [
        ((0, 1), (1, 2), ["a", "b"]),
        ((1, 2), (0, 1), ["a", "b"]),
        ((0,), (1,), ["a"]),
        ((1, 2), (1, 2), ["a", "b"]),
        ((0, 1, 2), (1, 2), ["b", "c"]),
        ((0, 1), (1, 3), ["b"]),
    ],
)
def test_classes_that_count_from_elsewhere(
    tmp_path: Path, named: tuple[int, ...], used: tuple[int, ...], read: list[str]
) -> None:
    """All of them one off is a mistake of a program; some of them may be another's classes."""
    data = _table(1, 1) | {
        "annotations": [
            {"id": 1 + i, "image_id": 1, "category_id": number, "bbox": [40 * i, 0, 30, 30]}
            for i, number in enumerate(used)
        ],
        "categories": [{"id": n, "name": name} for n, name in zip(named, "abc", strict=False)],
    }
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/set.json").write_text(json.dumps(data))
    shutil.copytree("tests/data/sets/yolo-flat", tmp_path / "yolo")
    shutil.copy("tests/data/cases/picture.png", tmp_path / "yolo/a.png")
    lines = [f"{number} 0.{1 + 2 * i} 0.5 0.1 0.1\n" for i, number in enumerate(used)]
    (tmp_path / "yolo/a.txt").write_text("".join(lines))
    names = {"names": dict(zip(named, "abc", strict=False))}
    (tmp_path / "yolo/data.yaml").write_text(json.dumps(names))
    for path in (tmp_path / "coco", tmp_path / "yolo"):
        found = read_set(path)
        assert [name for name in "abc" if f"<p>{name}</p>" in str(found.items)] == read
        is_shifted = any(note.code.endswith("-shifted") for note in found.notes)
        assert is_shifted == (
            sorted(named) != sorted(used) and len(named) == len(used) == len(read)
        )
