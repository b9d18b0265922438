"""Formats that are not read: by what they are known, and how to come from there to one that is."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any
from xml.etree.ElementTree import Element

_ENDINGS = {
    (".csv", ".tsv"): ("a table", "COCO or YOLO; Roboflow reads such tables"),
    (".tfrecord", ".record"): ("TensorFlow records", "COCO or YOLO; Roboflow reads them"),
    (".parquet", ".arrow"): ("an Arrow table", "JSON lines; `Dataset.to_json` writes them"),
    (".mat",): ("a MATLAB file", "COCO"),
    (".xlsx", ".xls", ".ods"): ("a spreadsheet", "JSON"),
    (".mp4", ".mov", ".avi", ".mkv"): ("a video", "pictures with COCO or YOLO"),
}
_FIELDS = {
    ("image", "annotations"): ("CreateML", "COCO or YOLO; Roboflow reads it"),
    ("data_row", "projects"): ("Labelbox", "COCO; Labelbox has a converter"),
    ("Labeled Data", "Label"): ("Labelbox", "COCO; Labelbox has a converter"),
    ("asset", "regions"): ("VoTT", "Pascal VOC; VoTT writes it as well"),
    ("assets", "tags"): ("VoTT", "Pascal VOC; VoTT writes it as well"),
    ("items", "categories"): ("Datumaro", "COCO; `datum convert` writes it"),
}
"""Fields of an object, or of the first one in a list."""


def name_file(name: str) -> str:
    """What a file is by its ending, as the end of a sentence; nothing where that is not known."""
    ending = PurePath(name).suffix.lower()
    return next((_say(*known) for endings, known in _ENDINGS.items() if ending in endings), "")


def name_content(data: Any) -> str:
    """The same by what a file of JSON or XML holds."""
    if isinstance(data, Element):
        is_video = data.tag == "annotations" and data.find("track") is not None
        return _say("CVAT for videos", '"CVAT for images" or COCO') if is_video else ""
    first = data[0] if isinstance(data, list) and data else data
    keys = {*first} if isinstance(first, Mapping) else set()
    return next((_say(*known) for fields, known in _FIELDS.items() if {*fields} <= keys), "")


def _say(what: str, how: str) -> str:
    return f"looks like {what}, which is not read; please export it as {how}"
