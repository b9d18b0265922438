"""SA-1B: one JSON file per picture; of its masks only the boxes are read (paper Tab. 1)."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from groma.data.index import JsonItems, decode, derive_lines
from groma.data.sources.items import (
    BrokenItem,
    DetectionSample,
    Items,
    box_from_xywh,
    picture_size,
    words,
)
from groma.types import GromaError


class AnnotationFolder:
    """The JSON files of a folder and its folders, by index.

    Args:
        folder: with one file per picture.
        cache: folder of indexes.
    """

    def __init__(self, folder: Path, cache: Path | None) -> None:
        if not folder.is_dir():
            raise GromaError(f"There is no folder {folder}; SA-1B has one JSON file per picture.")
        self._folder = folder
        names = derive_lines([folder], "names", cache, lambda: list_names(folder))
        self._names = JsonItems(names, cache)

    def __len__(self) -> int:
        """Number of files."""
        return len(self._names)

    def __getitem__(self, index: int) -> Any:
        """What one file holds."""
        item, _ = self._names[index]
        return decode((self._folder / item["name"]).read_bytes())


def open_sa1b(annotations: Path, cache: Path | None) -> Items:
    """Boxes of segments, without classes, for detection."""
    return Items(AnnotationFolder(annotations, cache), parse, "detection")


def list_names(folder: Path) -> Iterator[dict[str, str]]:
    """Paths of JSON files below a folder, sorted within each folder."""
    for parent, folders, files in os.walk(folder):
        folders.sort()
        below = Path(parent).relative_to(folder)
        for name in sorted(files):
            if name.endswith(".json"):
                yield {"name": (below / name).as_posix()}


def parse(item: Mapping[str, Any]) -> DetectionSample:
    """Boxes of one picture's segments.

    Raises:
        BrokenItem: if there is none or one has no area.
    """
    image = item["image"]
    size = picture_size(image)
    boxes = tuple(box_from_xywh(a["bbox"], size) for a in item["annotations"])
    if not boxes:
        raise BrokenItem("no box")
    return DetectionSample(words(image["file_name"]), size, boxes, (), "sa1b")
