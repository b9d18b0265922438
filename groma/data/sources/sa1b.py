"""SA-1B: one JSON file per picture; of its masks only the boxes are read (paper Tab. 1)."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from groma.data.geometry import box_of
from groma.data.records.derived_files import derive_lines
from groma.data.records.indexed_files import JsonItems
from groma.data.records.json_stream import decode
from groma.data.sources.items import (
    BrokenItem,
    DetectionSample,
    Samples,
    box_from_xywh,
    picture_size,
    read_parts,
    words,
)
from groma.types import GromaError

_Record = tuple[str, Mapping[str, Any]]
"""Folder of a file, below the folder of all, and what the file holds."""


class _AnnotationFolder:
    """The JSON files of a folder and its folders, one per picture, by index."""

    def __init__(self, folder: Path, cache: Path | None) -> None:
        if not folder.is_dir():
            raise GromaError(f"There is no folder {folder}; SA-1B has one JSON file per picture.")
        self._folder = folder
        names = derive_lines([folder], "names", cache, lambda: _list_names(folder))
        self._names = JsonItems(names, cache)

    def __len__(self) -> int:
        """Number of files."""
        return len(self._names)

    def __getitem__(self, index: int) -> _Record:
        """One file, which lies beside its picture; raises `BrokenItem` if it is gone or no JSON."""
        name = self._names[index]["name"]
        try:
            text = (self._folder / name).read_bytes()
        except OSError as error:
            raise BrokenItem("a file that cannot be read") from error
        return PurePosixPath(name).parent.as_posix(), decode(text)


def open_sa1b(annotations: Path, cache: Path | None) -> Samples:
    """Boxes of segments, without classes, for detection."""
    return Samples(_AnnotationFolder(annotations, cache), _parse, "detection")


def _list_names(folder: Path) -> Iterator[dict[str, str]]:
    """Paths of JSON files below a folder, sorted within each folder."""
    for parent, folders, files in os.walk(folder):
        folders.sort()
        below = Path(parent).relative_to(folder)
        for name in sorted(files):
            if name.endswith(".json"):
                yield {"name": (below / name).as_posix()}


def _parse(record: _Record, lost: Counter[str]) -> DetectionSample:
    """Boxes of one picture's segments; broken ones are left out."""
    folder, item = record
    image = item["image"]
    size = picture_size(image)
    boxes = tuple(read_parts(item["annotations"], lambda a: box_from_xywh(box_of(a), size), lost))
    picture = PurePosixPath(folder, words(image["file_name"])).as_posix()
    return DetectionSample(picture, size, boxes, (), "sa1b")
