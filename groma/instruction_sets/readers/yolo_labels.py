"""YOLO: a text file for each picture, with a class and shares of the picture in each line.

supervision reads them as well, but opens every picture for it, wants one folder of each kind, and
gives a whole set up at its first bad line.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from groma.data.geometry import box_around_points
from groma.foreign import decode_text, printable_name, read_text
from groma.instruction_sets.readers.box_values import read_box
from groma.instruction_sets.readers.labelled import (
    LabelledPicture,
    Shape,
    label_picture,
    match_numbers,
)
from groma.instruction_sets.readers.set_items import RawBox
from groma.types import GromaError

_CLASS_FILES = ("classes.txt", "obj.names", "_darknet.labels", "predefined_classes.txt")
"""What files with a class in each line are called."""

_YAML = (".yaml", ".yml")
_MOST_YAML = 1 << 18
_MOST_BYTES = 1 << 20
"""Largest file of labels that is read: thousands of boxes."""


def find_labels(files: Iterable[Path], pictures: Iterable[PurePosixPath]) -> list[Path]:
    """The files that may be labels: called as a picture is, or in a folder of labels."""
    stems = {picture.stem for picture in pictures}
    return [
        file
        for file in files
        if file.suffix.lower() == ".txt" and file.name not in _CLASS_FILES
        if file.stem in stems or "labels" in file.parts
    ]


def read_pictures(
    folder: Path,
    files: Sequence[Path],
    pictures: Sequence[PurePosixPath],
    missed: Counter[str],
) -> Iterator[LabelledPicture]:
    """Read labels of boxes or polygons on pictures.

    `files` below the top folder are all that may belong to the set; `missed` counts what is left
    out or changed, by reason. Raises `GromaError` if nothing names the classes.
    """
    classes, keypoints = _read_classes(files)
    if not classes:
        raise GromaError(
            "This looks like labels of YOLO, but nothing says what their classes are called; add "
            "its data.yaml, or classes.txt with a name in each line."
        )
    by_path = {picture.with_suffix(""): picture for picture in pictures}
    by_stem: dict[str, list[PurePosixPath]] = {}
    for picture in pictures:
        by_stem.setdefault(picture.stem, []).append(picture)
    used = set()
    labels = find_labels(files, pictures)
    rows = {file: _read_rows(file) for file in labels if file.stat().st_size <= _MOST_BYTES}
    numbers = {row[0] for several in rows.values() for row in several if row}
    classes = match_numbers(classes, numbers, missed)
    for file in labels:
        own = PurePosixPath(file.relative_to(folder).as_posix()).with_suffix("")
        moved = PurePosixPath(*("images" if part == "labels" else part for part in own.parts))
        same = by_stem.get(own.name, [])
        found = by_path.get(moved) or by_path.get(own) or (same[0] if len(same) == 1 else None)
        if found is None or file not in rows:
            missed["file" if found else "picture"] += 1
            continue
        used.add(found)
        shapes = [_read_row(row, classes, keypoints) for row in rows[file] if row]
        missed["object"] += rows[file].count(())
        read = label_picture(printable_name(found), None, shapes, missed)
        yield replace(read, are_shares=True)
    missed["bare"] += len(set(pictures) - used)


def _read_rows(file: Path) -> list[RawBox]:
    """A class and at least four numbers of every line; nothing where it is something else."""
    lines = decode_text(file.read_bytes(), "replace").splitlines()
    rows = (read_box(line.split()) for line in lines if line.strip())
    return [row if len(row) > 4 and row[0] % 1 == 0 else () for row in rows]


def _read_row(row: RawBox, classes: Mapping[float, str], keypoints: int) -> Shape:
    """A thing with a box in shares of the picture."""
    number, *sides = row
    label = classes.get(number, "")
    # There may be a score behind a box, and points of a body.
    if len(sides) in (4, 5, 4 + keypoints):
        x, y, width, height = sides[:4]
        return Shape(label, (x - width / 2, y - height / 2, width, height))
    xs, ys = sides[: len(sides) // 2 * 2 : 2], sides[1::2]
    is_oriented = len(xs) == 4 and (len(set(xs)) > 2 or len(set(ys)) > 2)
    return Shape(label, box_around_points(xs, ys) or (), is_oriented)


def _read_classes(files: Sequence[Path]) -> tuple[dict[float, str], int]:
    """Names of classes by number, and how many numbers there are for the points of a body."""
    for file in files:
        if file.suffix.lower() in _YAML and file.stat().st_size <= _MOST_YAML:
            data = _load_yaml(file)
            names = data.get("names") if isinstance(data, Mapping) else None
            if isinstance(names, list):
                names = dict(enumerate(names))
            if isinstance(names, Mapping) and names:
                shape = read_box(data.get("kpt_shape", ()))
                keypoints = int(math.prod(shape)) if 0 < math.prod(shape) < 1000 else 0
                return _number(names.items()), keypoints if len(shape) == 2 else 0
    for name in _CLASS_FILES:
        for file in files:
            if file.name == name and file.stat().st_size <= _MOST_YAML:
                lines = decode_text(file.read_bytes(), "replace").split("\n")
                return _number(enumerate(lines)), 0
    return {}, 0


def _number(names: Iterable[tuple[Any, Any]]) -> dict[float, str]:
    """Names by numbers; whatever has none is left out."""
    read = ((read_box([number]), read_text(name)) for number, name in names)
    return {number[0]: name for number, name in read if number and name}


def _load_yaml(file: Path) -> Any:
    try:
        # It knows texts alone, and merges nothing that could grow without end.
        return yaml.load(decode_text(file.read_bytes(), "replace"), yaml.BaseLoader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError) as error:
        raise GromaError(f"{file.name} is no YAML that can be read.") from error
