"""OpenImages: boxes in a CSV file, classes by code (paper Tab. 1)."""

import csv
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from groma.data.records.index import CsvGroups
from groma.data.sources.items import (
    UNKNOWN_SIZE,
    DetectionSample,
    Items,
    box_from_xyxy,
    read_parts,
    words,
)
from groma.types import Box, GromaError

COLUMNS = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")


def open_images(annotations: Path, cache: Path | None, *, classes: Path | None = None) -> Items:
    """Boxes for detection.

    Args:
        annotations: the `…-annotations-bbox.csv` file.
        cache: folder of indexes.
        classes: `class-descriptions-boxable.csv`: code and name of every class; without it boxes
            are called by their code.

    Raises:
        GromaError: if a column is missing.
    """
    rows = CsvGroups(annotations, cache)
    missing = [column for column in COLUMNS if column not in rows.header]
    if missing or rows.header[0] != COLUMNS[0]:
        raise GromaError(
            f"{annotations} is no OpenImages box file: its first line must name the columns "
            f"{', '.join(COLUMNS)}, ImageID first."
        )
    return Items(rows, partial(parse, names=read_classes(classes)), "detection")


def read_classes(path: Path | None) -> dict[str, str]:
    """Names of classes by their code.

    Raises:
        GromaError: if the file cannot be read.
    """
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {row[0]: row[1] for row in csv.reader(file) if len(row) > 1}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GromaError(f"{path} is no list of classes: {error}.") from error


def parse(rows: Sequence[Mapping[str, str]], names: Mapping[str, str]) -> DetectionSample:
    """One picture's boxes; one that holds a group or is broken is left out.

    Raises:
        BrokenItem: if no box is left.
    """
    single = [row for row in rows if row.get("IsGroupOf") != "1"]
    boxes, classes = zip(*read_parts(single, partial(_read_box, names=names)), strict=True)
    return DetectionSample(f"{single[0]['ImageID']}.jpg", UNKNOWN_SIZE, boxes, classes, "coco")


def _read_box(row: Mapping[str, str], names: Mapping[str, str]) -> tuple[Box, str]:
    """Box and class of one row."""
    edges = [float(row[edge]) for edge in ("XMin", "YMin", "XMax", "YMax")]
    code = row["LabelName"]
    return box_from_xyxy(edges), words(names.get(code, code))
