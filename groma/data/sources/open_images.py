"""OpenImages: boxes in a CSV file, classes by code (paper Tab. 1)."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from groma.data.records.indexed_files import CsvGroups
from groma.data.sources.items import (
    UNKNOWN_SIZE,
    DetectionSample,
    Samples,
    box_from_xyxy,
    read_parts,
    words,
)
from groma.types import Box, GromaError

_COLUMNS = ("ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax")


def open_images(annotations: Path, cache: Path | None, *, classes: Path | None = None) -> Samples:
    """Boxes of a `…-annotations-bbox.csv` file for detection; raises `GromaError` otherwise.

    `classes` is `class-descriptions-boxable.csv`, code and name of every class; without it boxes
    are called by their code.
    """
    rows = CsvGroups(annotations, cache)
    if rows.header[:1] != [_COLUMNS[0]] or not {*_COLUMNS} <= {*rows.header}:
        raise GromaError(
            f"{annotations} is no OpenImages box file: its first line must name the columns "
            f"{', '.join(_COLUMNS)}, ImageID first."
        )
    return Samples(rows, partial(_parse, names=_read_classes(classes)), "detection")


def _read_classes(path: Path | None) -> dict[str, str]:
    """Names of classes by their code; raises `GromaError` if the file cannot be read."""
    if path is None:
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return {row[0]: row[1] for row in csv.reader(file) if len(row) > 1}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise GromaError(f"{path} is no list of classes: {error}.") from error


def _parse(
    rows: Sequence[Mapping[str, str]], lost: Counter[str], names: Mapping[str, str]
) -> DetectionSample:
    """One picture's boxes; one that holds a group or is broken is left out."""

    def read(row: Mapping[str, str]) -> tuple[Box, str]:
        box = box_from_xyxy([float(row[edge]) for edge in ("XMin", "YMin", "XMax", "YMax")])
        code = row["LabelName"]
        return box, words(names.get(code, code))

    single = [row for row in rows if row.get("IsGroupOf") != "1"]
    boxes, classes = zip(*read_parts(single, read, lost), strict=True)
    return DetectionSample(f"{single[0]['ImageID']}.jpg", UNKNOWN_SIZE, boxes, classes, "coco")
