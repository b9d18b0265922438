"""Sets as people and their tools make them are read, or the reason is said in a sentence."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from groma.instruction_sets.readers.reading import read_set
from groma.instruction_sets.readers.set_items import InstructionSet, to_samples
from groma.instruction_sets.readers.set_search import _read_json
from groma.types import GromaError

Case = Callable[[str], Path]

RED, GREEN = (40, 60, 160, 200), (350, 150, 170, 180)
"""The things on the picture of every case: x, y, width, height."""


def _answers(found: InstructionSet) -> str:
    samples = to_samples(found)
    assert len(samples) == len(found) > 0
    return str([turn.answer for sample in samples for turn in sample.turns])


@pytest.mark.parametrize("name", ["set.jsonl", "second.jsonl"])
def test_a_line_ends_at_a_line_feed_alone(case: Case, name: str) -> None:
    found = read_set(case("u2028-jsonl") / name)
    assert len(found) == 2
    assert r"on the left.\u2028It is tall." in _answers(found)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_encodings_of_json(tmp_path: Path, encoding: str, ends: str) -> None:
    items = [{"text": f"drei Stühle {letter}"} for letter in "\u2028\u2029\x85\x0b"]
    lines = ends.join(json.dumps(item, ensure_ascii=False) for item in items) + ends
    path = tmp_path / "set.json"
    path.write_bytes(lines.encode(encoding))
    assert _read_json(path) == items
    path.write_bytes(json.dumps(items).encode(encoding))
    assert _read_json(path) == items


def test_half_a_character_is_replaced(case: Case) -> None:
    found = read_set(case("half-emoji") / "coco.json")
    answers = _answers(found)
    assert "red box \ufffd" in answers
    answers.encode()


def test_whole_characters_in_two_escapes_stay(tmp_path: Path) -> None:
    path = tmp_path / "set.json"
    path.write_text(r'["\ud83d\ude00", "\ud83d", "\\ud83d", "a\u0000b", "\ude00\ud83d"]')
    assert _read_json(path) == ["😀", "\ufffd", r"\ud83d", "a\ufffdb", "\ufffd\ufffd"]


@pytest.mark.parametrize("name", ["flag-nfd", "mac-noflag-nfd", "noflag-nfc", "windows-gbk"])
def test_names_in_zips_of_other_systems(case: Case, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    found = read_set(case("unicode-names") / f"{name}.zip", folder=folder)
    (picture,) = found.pictures.values()
    assert picture.path is not None
    assert picture.path.is_relative_to(folder)
    _answers(found)


def test_masks_have_a_box_around_them(case: Case) -> None:
    found = read_set(case("masks") / "set.json")
    _answers(found)
    assert {box for item in found.items for box in item.boxes} == {RED, (350, 150, 170, 180)}


def test_run_lengths_have_a_box_around_them(case: Case) -> None:
    from pycocotools import mask as coco_mask

    path = case("masks") / "set.json"
    data = json.loads(path.read_text())
    packed = coco_mask.frPyObjects([[40, 60, 200, 60, 200, 260, 40, 260]], 480, 640)[0]
    plain = {"size": [480, 640], "counts": [40 * 480 + 60, *[200, 280] * 159, 200]}
    for runs in (packed | {"counts": packed["counts"].decode()}, plain):
        data["annotations"][0] |= {"segmentation": runs}
        path.write_text(json.dumps(data))
        found = read_set(path)
        assert RED in {box for item in found.items for box in item.boxes}


def test_a_tool_that_marks_everything_as_a_crowd_marks_nothing(case: Case) -> None:
    found = read_set(case("masks") / "crowd.json")
    _answers(found)
    assert {box for item in found.items for box in item.boxes} == {RED, GREEN}
    assert "coco-all-crowd" in {note.code for note in found.notes}


def test_a_number_is_a_name_as_well(case: Case) -> None:
    answers = _answers(read_set(case("int-class-names") / "set.json"))
    assert "'3'" in answers
    assert "'7'" in answers


@pytest.mark.parametrize("name", ["set.json", "url.json"])
def test_pictures_among_the_parts_of_a_message(case: Case, name: str) -> None:
    found = read_set(case("picture-in-content") / name)
    _answers(found)
    files = [found.picture(item).path for item in found.items]
    assert [path and path.name for path in files] == ["a.png", "b.png"]


def test_a_method_of_compression_is_named(case: Case) -> None:
    with pytest.raises(GromaError, match=r"Deflate64.*\"Deflate\".*\.$"):
        read_set(case("deflate64") / "set.zip")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("a.png", r"C:\Users\me\pics\a.png"),
        ("a.png", r"..pics\a.png"),
        ("a.png", "/data/pics/a.png"),
        ("a.png", "https://example.org/pics/a.png?size=1#top"),
        ("red box.png", "file:///data/red%20box.png"),
        ("red%20box.png", "red%20box.png"),
        ("caf\u00e9.png", "cafe\u0301.png"),
        ("cafe\u0301.png", "pics/caf\u00e9.png"),
        ("deep/er/a.png", "a.png"),
        (b"ros\xe9.png".decode("utf-8", "surrogateescape"), r"ros\xe9.png"),
    ],
)
def test_ways_to_write_the_name_of_a_picture(tmp_path: Path, file: str, name: str) -> None:
    picture = tmp_path / "set" / file
    picture.parent.mkdir(parents=True)
    shutil.copy("tests/data/cases/picture.png", picture)
    found = read_set(_one_item(tmp_path / "set", name))
    assert found.picture(found.items[0]).path == picture


@pytest.mark.parametrize(
    "name",
    ["../a.png", "%2e%2e/a.png", r"..\a.png", "file:///../a.png", "a\0.png", "x" * 5000, "é" * 300],
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    shutil.copy("tests/data/cases/picture.png", tmp_path / "a.png")
    (tmp_path / "set").mkdir()
    found = read_set(_one_item(tmp_path / "set", name))
    picture = found.picture(found.items[0])
    assert picture.path is None
    assert picture.problem in ("missing", "outside")


def _one_item(folder: Path, name: str) -> Path:
    said = [{"from": "human", "value": "What?"}, {"from": "gpt", "value": "A box."}]
    path = folder / "set.json"
    path.write_text(json.dumps([{"image": name, "conversations": said}]))
    return path
