"""Labels of other tools are read with their right values, and what is left out is said."""

import shutil
import zipfile
from pathlib import Path

import pytest

from groma.data.sample import Phrase
from groma.instruction_sets.doctor.checking import check
from groma.instruction_sets.doctor.layout_check import read_as
from groma.instruction_sets.readers.reading import read_set
from groma.instruction_sets.readers.set_items import InstructionSet, to_samples
from groma.types import GromaError

SETS, PICTURE = Path("tests/data/sets"), Path("tests/data/cases/picture.png")
SIZE = (480, 640)
RED, GREEN = (40, 60, 160, 200), (350, 150, 170, 180)
"""What is on the picture: x, y, width, height in pixels."""
BOTH = {("red box", RED), ("green box", GREEN)}

FORMATS = {
    "yolo": ("YOLO", ("train/images/a.png", "valid/images/b.png"), {"object", "label"}),
    "yolo-flat": ("YOLO", ("a.png", "extra.png"), {"bare"}),
    "voc": ("Pascal VOC", ("JPEGImages/a.png",), {"rotated", "shape"}),
    "cvat": ("CVAT", ("images/a.png", "images/b.png"), {"rotated", "shape"}),
    "cvat-coco": ("COCO-like", ("images/a.png",), {"rotated"}),
    "label-studio": ("Label Studio", ("a.png", "pictures/b.png"), {"rotated", "shape", "others"}),
    "label-studio-min": ("Label Studio", ("a.png",), {"rotated"}),
    "labelme": ("LabelMe", ("pictures/a.png", "pictures/b.png"), {"shape"}),
    "supervisely": ("Supervisely", ("day/img/a.png",), {"shape"}),
    "via": ("VGG Image Annotator", ("a.png",), set()),
    "roboflow": ("COCO-like", ("train/a.png", "valid/a.png"), {"together"}),
}
"""Format, pictures, and what is said about it."""


def _copy(name: str, folder: Path) -> Path:
    shutil.copytree(SETS / name, folder)
    for picture in FORMATS[name][1]:
        (folder / picture).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PICTURE, folder / picture)
    return folder


def _boxes(found: InstructionSet) -> set[tuple[str, tuple[int, ...]]]:
    """Labels, and the boxes in pixels that they mean."""
    height, width = SIZE
    return {
        (phrase.text, (round(x1), round(y1), round(x2 - x1), round(y2 - y1)))
        for sample in to_samples(found)
        for turn in sample.turns
        for phrase in turn.answer
        if isinstance(phrase, Phrase)
        for region in phrase.regions
        for x1, y1, x2, y2 in [
            tuple(a * b for a, b in zip(sample.boxes[region], (width, height) * 2, strict=True))
        ]
    }


def _check(name: str, found: InstructionSet) -> None:
    layout, _, said = FORMATS[name]
    code = {"Pascal VOC": "voc", "COCO-like": "coco"}.get(layout, layout.lower().replace(" ", "-"))
    assert found.layout == layout
    circle = {("green box", (350, 155, 170, 170))} if name == "labelme" else set()
    assert _boxes(found) == BOTH | circle
    findings = check(found)
    assert all(finding.severity != "error" for finding in findings)
    assert {finding.code for finding in findings} == {f"{code}-{reason}" for reason in said}


@pytest.mark.parametrize("name", FORMATS)
def test_folders_are_read(name: str, tmp_path: Path) -> None:
    _check(name, read_set(_copy(name, tmp_path / "set")))


@pytest.mark.parametrize("name", FORMATS)
def test_zips_are_read(name: str, tmp_path: Path) -> None:
    folder = _copy(name, tmp_path / "set")
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, folder.name)
    _check(name, read_set(packed, folder=_new(tmp_path / "unpacked")))


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("yolo", "data.yaml"),
        ("yolo-flat", "a.txt"),
        ("yolo-flat", "classes.txt"),
        ("cvat", "annotations.xml"),
        ("label-studio-min", "min.json"),
    ],
)
def test_loose_files_are_read(name: str, file: str, tmp_path: Path) -> None:
    _check(name, read_set(_copy(name, tmp_path / "set") / file))


@pytest.mark.parametrize("name", ["voc", "labelme"])
def test_a_loose_file_of_one_picture_is_read(name: str, tmp_path: Path) -> None:
    folder = _copy(name, tmp_path / "set")
    file = next(path for path in folder.rglob("a.*") if path.suffix != ".png")
    assert _boxes(read_set(file, (folder / FORMATS[name][1][0]).parent)) == BOTH


def test_labels_and_pictures_may_lie_side_by_side(tmp_path: Path) -> None:
    """As a page sends them that takes files without their folders."""
    for name in ("voc", "labelme", "supervisely"):
        folder = _new(tmp_path / name)
        for file in (SETS / name).rglob("a.*"):
            shutil.copy(file, folder)
        shutil.copy(PICTURE, folder / "a.png")
        assert _boxes(read_set(folder)) == BOTH


def test_pictures_elsewhere_are_named(tmp_path: Path) -> None:
    shutil.copytree(SETS / "yolo-flat", tmp_path / "set")
    shutil.copy(PICTURE, _new(tmp_path / "pictures") / "a.png")
    assert _boxes(read_set(tmp_path / "set", tmp_path / "pictures")) == BOTH


def test_nobody_says_what_a_format_says(tmp_path: Path) -> None:
    with pytest.raises(GromaError, match=r"YOLO says what.*--boxes out"):
        read_as(read_set(_copy("yolo", tmp_path / "set")), "cxcywh-fractions")


def test_labels_without_names_of_classes_are_refused(tmp_path: Path) -> None:
    folder = _copy("yolo-flat", tmp_path / "set")
    (folder / "classes.txt").unlink()
    with pytest.raises(GromaError, match=r"YOLO.*data\.yaml, or classes\.txt.*\.$"):
        read_set(folder)


def test_points_of_bodies_are_no_polygon(tmp_path: Path) -> None:
    folder = _copy("yolo-flat", tmp_path / "set")
    (folder / "data.yaml").write_text("names: {0: red box, 1: green box}\nkpt_shape: [2, 3]\n")
    lines = (folder / "a.txt").read_text().splitlines()
    (folder / "a.txt").write_text("\n".join(f"{line} 0.9 0.9 2 0.1 0.1 1" for line in lines))
    assert _boxes(read_set(folder)) == BOTH


def test_files_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    folder = _copy("labelme", tmp_path / "set")
    (folder / "labels" / "c.json").write_text("{")
    (note,) = [note for note in read_set(folder).notes if note.code == "labelme-file"]
    assert note.sentence.startswith("1 files")


@pytest.mark.parametrize(
    ("file", "content", "what"),
    [
        ("set.json", '[{"image": "a.png", "annotations": [{"label": "x"}]}]', "CreateML.*Roboflow"),
        ("set.json", '[{"data_row": {}, "projects": {}}]', "Labelbox"),
        ("set.xml", "<annotations><track/></annotations>", "CVAT for videos"),
        ("set.csv", "file,x", "a table.*Roboflow"),
        ("set.tfrecord", "x", "TensorFlow"),
    ],
)
def test_what_is_not_read_is_named(file: str, content: str, what: str, tmp_path: Path) -> None:
    folder = _new(tmp_path / "set")
    (folder / file).write_text(content)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as packed:
        packed.write(folder / file, file)
    for path in (folder / file, folder, tmp_path / "set.zip"):
        with pytest.raises(GromaError, match=rf"looks like {what}.*\.$") as error:
            read_set(path)
        assert "\n" not in str(error.value)
        # Files have the names that people gave them.
        assert "/tmp" not in str(error.value)


def test_a_bomb_of_entities_is_refused(tmp_path: Path) -> None:
    names = "".join(f'<!ENTITY a{i + 1} "{f"&a{i};" * 10}">' for i in range(12))
    named = "<annotation><filename>&a12;</filename></annotation>"
    bomb = f'<!DOCTYPE x [<!ENTITY a0 "lol">{names}]>{named}'
    (tmp_path / "a.xml").write_text(bomb)
    with pytest.raises(GromaError, match="no XML"):
        read_set(tmp_path / "a.xml")
