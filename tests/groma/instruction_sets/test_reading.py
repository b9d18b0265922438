"""Sets of every format and packing are read, and files that cannot be trusted are not."""

import json
import stat
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from groma.data.sample import GroundedSample, Mention, Phrase
from groma.instruction_sets.doctor.checking import check, repair
from groma.instruction_sets.readers.reading import read_set
from groma.instruction_sets.readers.set_items import to_samples
from groma.instruction_sets.readers.unpacking import Limits, unpack
from groma.instruction_sets.readers.writing import write_set
from groma.types import GromaError
from tests.groma.instruction_sets import make


def _write(folder: Path, data: Any, name: str = "set.json") -> Path:
    """A set with its pictures beside it."""
    make.write_pictures(folder)
    (folder / name).write_text(data if isinstance(data, str) else json.dumps(data))
    return folder / name


def _samples(path: Path) -> list[GroundedSample]:
    found = read_set(path)
    assert not [finding for finding in check(found) if finding.severity == "error"]
    return to_samples(found)


def _zip(path: Path, files: dict[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


COCO = {
    "images": [
        {"id": 1, "file_name": "0.png", "height": 100, "width": 200},
        {"id": "2", "file_name": "1.png", "height": 100, "width": 200},
        {"id": 3, "file_name": "2.png"},
    ],
    "categories": [{"id": 7, "name": "blicket"}, {"id": 8, "name": "dog"}],
    "annotations": [
        {"image_id": 1, "category_id": 7, "bbox": [20, 10, 40, 30]},
        {"image_id": 1, "category_id": 8, "bbox": [100, 10, 40, 30]},
        {"image_id": 1, "category_id": 8, "bbox": [150, 50, 40, 30]},
        {"image_id": 2, "category_id": 8, "bbox": [0, 0, 100, 50], "caption": "a  sleeping dog"},
        {"image_id": 2, "category_id": 9, "bbox": [0, 0, 50, 50]},
        {"image_id": 5, "category_id": 8, "bbox": [0, 0, 50, 50]},
        {"image_id": 1, "category_id": 9, "bbox": [0, 0, 50, 50], "iscrowd": 1},
        "nothing",
    ],
}


def test_coco_boxes_become_questions(tmp_path: Path) -> None:
    found = read_set(_write(tmp_path, COCO))
    assert found.layout == "COCO-like"
    codes = {finding.code for finding in check(found)}
    assert codes == {"coco-empty", "coco-stray", "coco-label", "coco-crowd", "coco-object"}
    find, name, find_one, name_one = to_samples(found)
    assert [phrase for turn in find.turns for phrase in turn.answer] == [
        Phrase("blicket", (0,)),
        Phrase("dog", (1, 2)),
    ]
    assert find.boxes[0] == (0.1, 0.1, 0.3, 0.4)
    assert all("blicket" in str(turn.question) for turn in find.turns[:1])
    assert all(turn.grounding for turn in find.turns)
    # A box is not named in the item in which it was asked for by name.
    assert [turn.answer for turn in name.turns] == [("blicket",), ("dog",)]
    assert all(any(isinstance(p, Mention) for p in turn.question) for turn in name.turns)
    assert not any(turn.grounding for turn in name.turns)
    assert find_one.turns[0].answer == (Phrase("a sleeping dog", (0,)),)
    assert name_one.turns[0].answer == ("a sleeping dog",)
    assert read_set(tmp_path / "set.json") == found


def test_expressions_and_grounded_captions(tmp_path: Path) -> None:
    caption = {"caption": "A man and <p>dogs</p>"}
    data = {
        "images": [
            {"id": 1, "file_name": "0.png", "caption": "the left one"},
            {"id": 2, "file_name": "1.png", **caption},
            {"id": 3, "file_name": "1.png", **caption},
        ],
        "annotations": [
            {"image_id": 1, "bbox": [20, 10, 40, 30]},
            {"image_id": 2, "bbox": [20, 10, 40, 30], "tokens_positive": [[0, 5]]},
            {"image_id": 2, "bbox": [50, 10, 40, 30], "tokens_positive": [[10, 21]]},
            {"image_id": 3, "bbox": [50, 10, 40, 30], "tokens_positive": [[10, 99]]},
        ],
    }
    found = read_set(_write(tmp_path, data))
    expression, _, grounded = to_samples(found)
    assert expression.turns[0].answer == (Phrase("the left one", (0,)),)
    assert grounded.turns[0].answer == (
        *(Phrase("A man", (0,)), " and ", Phrase("<p>dogs</p>", (1,))),
    )
    assert "item-unreadable" in {finding.code for finding in check(found)}


def test_annotator_projects(tmp_path: Path) -> None:
    shapes = [
        {"name": "rect", "x": 20, "y": 10, "width": 40, "height": 30},
        {"name": "polygon", "all_points_x": [20, 60, 30], "all_points_y": [10, 20, 40]},
        {"name": "ellipse", "cx": 40, "cy": 25, "rx": 20, "ry": 15},
        {"name": "circle", "cx": 100, "cy": 50, "r": 20},
        {"name": "point", "cx": 100, "cy": 50},
    ]
    labels = [{"name": "blicket"}, {"id": 4, "kind": {"blicket": True, "dog": False}}]
    labels += [{"Label": "blicket"}, {"caption": "a dax", "type": "toy"}, {"name": ""}]
    regions = [
        {"shape_attributes": shape, "region_attributes": label}
        for shape, label in zip(shapes, labels, strict=True)
    ]
    files = {
        "0.png123": {"filename": "0.png", "size": 123, "regions": regions},
        "1.png123": {"filename": "1.png", "size": 1, "regions": {"0": regions[0]}},
        "2.png123": {"filename": "2.png", "size": 1, "regions": []},
    }
    for data in (files, {"_via_settings": {}, "_via_img_metadata": files}):
        found = read_set(_write(tmp_path, data))
        assert found.layout == "VGG Image Annotator"
        codes = {finding.code for finding in check(found)}
        assert codes == {"via-label", "via-empty", "box-twice"}
        find, *_ = to_samples(found)
        assert find.turns[0].answer == (Phrase("blicket", (0, 1, 2)),)
        assert find.turns[1].answer == (Phrase("a dax", (3,)),)
        assert find.boxes == (((0.1, 0.1, 0.3, 0.4),) * 3 + ((0.4, 0.3, 0.6, 0.7),))


def test_conversations_of_chat_models(tmp_path: Path) -> None:
    parts = [{"type": "image"}, {"type": "text", "text": "What is this?"}]
    item = {
        "images": ["0.png"],
        "messages": [
            {"role": "user", "content": parts},
            {"role": "assistant", "content": "A dog."},
        ],
    }
    (sample,) = _samples(_write(tmp_path, [item]))
    assert sample.turns[0].question == ("What is this?",)
    assert sample.turns[0].answer == ("A dog.",)
    assert not sample.turns[0].grounding


@pytest.mark.parametrize("mark", ["<image>\n{}", "{}\n<image>", "{}"])
def test_the_mark_of_the_picture_is_no_text(mark: str, tmp_path: Path) -> None:
    items = make.good_llava()[:1]
    items[0]["conversations"][0]["value"] = mark.format("Hi?")
    (sample,) = _samples(_write(tmp_path, items))
    assert sample.turns[0].question == ("Hi?",)


def test_lines_and_byte_order_marks(tmp_path: Path) -> None:
    items = make.good_items()
    lines = "\ufeff" + "\n".join(json.dumps(item) for item in items)
    assert len(_samples(_write(tmp_path, lines, "set.jsonl"))) == 6
    found = read_set(_write(tmp_path, lines + "\n{broken", "set.jsonl"))
    assert len(found) == 7
    assert [f.code for f in check(found)] == ["item-unreadable"]
    assert len(_samples(_write(tmp_path, items[0], "one.json"))) == 1


def test_folders_and_zips_hold_one_set_and_its_pictures(tmp_path: Path) -> None:
    path = _write(tmp_path / "set", make.good_items())
    (tmp_path / "set" / "notes.json").write_text('{"by": "me"}')
    expected = _samples(path)
    assert _samples(tmp_path / "set") == expected
    content = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    packed = {f"my set/images\\deep/{name}": data for name, data in content.items()}
    packed |= {"__MACOSX/._set.json": b"{}", "my set/run.exe": b"MZ", "my set/": b""}
    packed["my set/set.json"] = packed.pop("my set/images\\deep/set.json")
    target = tmp_path / "out"
    target.mkdir()
    found = read_set(_zip(tmp_path / "set.zip", packed), folder=target)
    assert [s.turns for s in to_samples(found)] == [s.turns for s in expected]
    assert all(Path(sample.picture).is_relative_to(target) for sample in to_samples(found))
    assert not [*target.rglob("*.exe"), *target.rglob("__MACOSX")]
    # And a zip that is written is read.
    write_set(found, tmp_path / "again.zip")
    assert [s.turns for s in _samples(tmp_path / "again.zip")] == [s.turns for s in expected]
    (tmp_path / "set" / "other.json").write_bytes(path.read_bytes())
    with pytest.raises(GromaError, match="2 instruction sets"):
        read_set(tmp_path / "set")


def test_pictures_are_found_by_the_end_of_their_names(tmp_path: Path) -> None:
    make.write_pictures(tmp_path / "photos" / "2024")
    items = make.good_items()
    items[0]["file_name"] = "C:\\data\\0.png"
    items[1]["file_name"] = "/home/me/photos/1.png"
    items[2]["file_name"] = "photos/2024/2.png"
    (tmp_path / "set.json").write_text(json.dumps(items))
    found = [Path(sample.picture) for sample in _samples(tmp_path / "set.json")]
    assert found == [tmp_path / "photos" / "2024" / name for name in make.PICTURES]
    make.write_pictures(tmp_path / "photos" / "2025")
    doubtful = {finding.code for finding in check(read_set(tmp_path / "set.json"))}
    assert doubtful == {"picture-missing"}
    (tmp_path / "outside.png").write_bytes((tmp_path / "photos/2024/0.png").read_bytes())
    items[0]["file_name"] = "../../outside.png"
    (tmp_path / "photos" / "set.json").write_text(json.dumps(items[:1]))
    inside = read_set(tmp_path / "photos" / "set.json", tmp_path / "photos" / "2024")
    assert [finding.code for finding in check(inside)] == ["picture-outside"]
    assert not repair(inside).items


def test_folders_that_are_not_there_do_not_mix_pictures_up(tmp_path: Path) -> None:
    """One file for two names, and two files for one name, are both said."""
    make.write_pictures(tmp_path)
    items = make.good_items()[:3]
    for item, name in zip(items, ("a/0.png", "b/0.png", "b/1.png"), strict=True):
        item["file_name"] = name
    (tmp_path / "set.json").write_text(json.dumps(items))
    found = read_set(tmp_path / "set.json")
    shared = [finding for finding in check(found) if finding.code == "picture-shared"]
    assert [finding.item for finding in shared] == [0, 1]
    assert "'a/0.png' and 'b/0.png'" in shared[0].sentence
    assert [item.number for item in repair(found).items] == [2]
    items[1]["file_name"] = "0.png"
    (tmp_path / "set.json").write_text(json.dumps(items))
    assert not check(read_set(tmp_path / "set.json"))
    make.write_pictures(tmp_path / "c")
    findings = check(read_set(tmp_path / "set.json"))
    assert {(f.item, f.code) for f in findings} == {(0, "picture-missing"), (2, "picture-missing")}
    assert "2 pictures called '0.png'" in findings[0].sentence


def _as_llava(items: make.Items) -> make.Items:
    """Groma-Instruct under the names of LLaVA."""
    for item in items:
        said = item.pop("conversation")
        said[0]["value"] = f"<image>\n[grounding] {said[0]['value']}"
        item |= {"conversations": said, "image": item.pop("file_name")}
    return items


def test_boxes_beside_llava_conversations_are_read(tmp_path: Path) -> None:
    expected = _samples(_write(tmp_path / "groma", make.good_items()))
    found = read_set(_write(tmp_path / "llava", _as_llava(make.good_items())))
    assert found.layout == "Grounded LLaVA"
    assert check(found) == ()
    samples = to_samples(found)
    assert [(s.boxes, s.turns) for s in samples] == [(s.boxes, s.turns) for s in expected]


def test_boxes_that_no_text_means_do_not_ask_for_boxes(tmp_path: Path) -> None:
    items = make.good_llava()
    items[0]["bbox"] = [20, 10, 40, 30]
    found = read_set(_write(tmp_path, items))
    assert {f.code: f.severity for f in check(found)} == {
        "field-bbox": "note",
        "box-unused": "note",
    }
    assert not to_samples(found)[0].turns[0].grounding


def test_boxes_by_another_name_are_read(tmp_path: Path) -> None:
    items = make.good_items()
    for item in items:
        item["bboxes"] = item.pop("boxes")
    found = read_set(_write(tmp_path, items))
    (finding,) = check(found)
    assert (finding.code, finding.severity) == ("field-bboxes", "note")
    assert found.items == read_set(_write(tmp_path, make.good_items())).items


@pytest.mark.parametrize("name", ["labels.csv", "labels.xml", "labels.xlsx"])
def test_other_files_are_told_what_can_be_read(name: str, tmp_path: Path) -> None:
    content = {"labels.csv": b"image,x\n0.png,1", "labels.xml": b"<a/>", "labels.xlsx": b"PK\xff"}
    (tmp_path / name).write_bytes(content[name])
    with pytest.raises(GromaError, match=r"what can be read is .*COCO.*VGG") as error:
        read_set(tmp_path / name)
    assert "char" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("   ", "is empty"),
        ("[]", "set is empty"),
        ("{", "no JSON"),
        ("\\xff", "no JSON"),
        ("[1, 2", "no JSON"),
        ("[" * 50_000, "nested too deeply|no JSON"),
        ("3", "no instruction set"),
        ("null", "no instruction set"),
        ('"text"', "no instruction set"),
        ("{}", "no instruction set"),
        ("[[[]]]", "no instruction set"),
        ('[{"a": 1}]', "no instruction set"),
        ('{"images": 3}', "no instruction set"),
        (f"[{'9' * 5000}]", "no JSON"),
    ],
)
def test_what_is_no_set_is_said_in_one_sentence(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text(text)
    with pytest.raises(GromaError, match=reason) as error:
        read_set(tmp_path / "set.json")
    assert str(error.value).endswith(".")


def test_files_that_are_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(GromaError, match="no file"):
        read_set(tmp_path / "set.json")
    (tmp_path / "set.json").write_bytes(b"\xff\x81\x82\x83")
    with pytest.raises(GromaError, match="UTF-8"):
        read_set(tmp_path / "set.json")
    with pytest.raises(GromaError, match="UTF-8"):
        read_set(tmp_path)
    with pytest.raises(GromaError, match="no folder"):
        read_set(tmp_path / "set.json", tmp_path / "nowhere")
    (tmp_path / "set.json").unlink()
    with pytest.raises(GromaError, match="holds no instruction set"):
        read_set(tmp_path)


def _entry(name: str, kind: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (kind | 0o644) << 16
    return entry


EVIL = {
    "../up.png": "leads out",
    "a/../../up.json": "leads out",
    "..\\up.png": "leads out",
    "/etc/a.png": "absolute",
    "\\\\server\\a.png": "absolute",
    "C:\\a.png": "absolute",
    "c:a.png": "absolute",
    "a\nb.png": "no name",
    "a\x1b[2J.png": "no name",
}


@pytest.mark.parametrize("name", EVIL)
def test_names_that_lead_elsewhere_are_refused(name: str, tmp_path: Path) -> None:
    _refuse(_zip(tmp_path / "evil.zip", {"set.json": b"[]", name: b"x"}), EVIL[name])


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFSOCK])
def test_links_and_devices_are_refused(kind: int, tmp_path: Path) -> None:
    files: dict = {"set.json": b"[]", _entry("a.png", kind): b"/etc/passwd"}
    _refuse(_zip(tmp_path / "evil.zip", files), "link or a device")


def test_bombs_are_refused(tmp_path: Path) -> None:
    zeros = _zip(tmp_path / "zeros.zip", {"a.png": bytes(30 << 20)})
    assert zeros.stat().st_size < 100_000
    _refuse(zeros, "grows more than")
    _refuse(_zip(tmp_path / "large.zip", {"a.png": bytes(9000)}), "GB", Limits(size=8000))
    # A size that is a lie: nothing beyond it is ever written.
    lie = _zip(tmp_path / "lie.zip", {"a.png": bytes(3 << 20)})
    data = lie.read_bytes()
    lie.write_bytes(data.replace((3 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    _refuse(lie, "damaged")


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    _refuse(_write_many(tmp_path / "many.zip", 100_000), "more than 20,000 files")
    with zipfile.ZipFile(_write_many(tmp_path / "real.zip", 50)) as file:
        assert len(file.infolist()) == 50
        assert file.testzip() is None
    few = _zip(tmp_path / "few.zip", {f"{i}.png": b"" for i in range(11)})
    _refuse(few, "more than 10 files", Limits(files=10))
    # A directory that says it is small is not believed.
    data = bytearray(few.read_bytes())
    data[-14:-10] = (1).to_bytes(2, "little") * 2
    few.write_bytes(data)
    _refuse(few, "more than 10 files", Limits(files=10))


def _write_many(path: Path, count: int) -> Path:
    """A zip of so many empty files; made by hand, because `zipfile` takes its time."""
    files, directory = bytearray(), bytearray()
    common = struct.pack("<5H3L2H", 20, 0, 0, 0, 33, 0, 0, 0, 10, 0)
    for i in range(count):
        name = f"{i:06}.png".encode()
        directory += b"PK\1\2" + struct.pack("<H", 20) + common
        directory += struct.pack("<3H2L", 0, 0, 0, 0, len(files)) + name
        files += b"PK\3\4" + common + name
    listed = min(count, 0xFFFF)
    sizes = struct.pack("<4H2LH", 0, 0, listed, listed, len(directory), len(files), 0)
    path.write_bytes(files + directory + b"PK\5\6" + sizes)
    return path


def test_damaged_and_encrypted_zips_are_refused(tmp_path: Path) -> None:
    good = _zip(tmp_path / "good.zip", {"a.png": b"picture" * 99, "b.png": b""})
    data = good.read_bytes()
    for number, broken in enumerate((b"", b"PK", data[:60], data[30:], data.replace(b"PK", b"XX"))):
        (tmp_path / f"{number}.zip").write_bytes(broken)
        _refuse(tmp_path / f"{number}.zip", "no zip file|cannot be unpacked")
    at = data.index(b"PK\1\2")
    (tmp_path / "locked.zip").write_bytes(data[: at + 8] + b"\1" + data[at + 9 :])
    _refuse(tmp_path / "locked.zip", "encrypted")
    with pytest.warns(UserWarning), zipfile.ZipFile(tmp_path / "twice.zip", "w") as file:
        file.writestr("a.png", b"1")
        file.writestr("a.png", b"2")
    _refuse(tmp_path / "twice.zip", "twice")
    _refuse(_zip(tmp_path / "both.zip", {"a.png": b"1", "a.png/b.png": b"2"}), "unpacked")


def _refuse(path: Path, reason: str, limits: Limits | None = None) -> None:
    """Refused in one sentence, and not even partly unpacked to where it must not."""
    folder = path.parent / "deep" / f"{path.stem}-out"
    folder.mkdir(parents=True, exist_ok=True)
    before = {file for file in path.parent.rglob("*") if folder not in file.parents}
    with pytest.raises(GromaError, match=reason) as error:
        unpack(path, folder, limits)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)
    assert {file for file in path.parent.rglob("*") if folder not in file.parents} == before
    with pytest.raises(GromaError):
        read_set(path, folder=folder if limits else None)
