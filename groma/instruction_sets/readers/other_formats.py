"""Formats that are not read: by what they are known, and how to come from there to one that is."""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any
from xml.etree.ElementTree import Element

_ENDINGS = {
    (".csv", ".tsv"): "a table, which Roboflow turns into COCO or YOLO",
    (".tfrecord", ".record"): "TensorFlow records, which Roboflow turns into COCO or YOLO",
    (".parquet", ".arrow"): "an Arrow table, which `Dataset.to_json` writes as JSON lines",
    (".mat",): "a MATLAB file, which must be written as COCO first",
    (".xlsx", ".xls", ".ods"): "a spreadsheet, which must be written as JSON first",
    (".mp4", ".mov", ".avi", ".mkv"): "a video, of which single pictures must be taken first",
}
_FIELDS = {
    ("image", "annotations"): "CreateML, which Roboflow turns into COCO or YOLO",
    ("data_row", "projects"): "Labelbox, whose converter writes COCO",
    ("Labeled Data", "Label"): "Labelbox, whose converter writes COCO",
    ("asset", "regions"): "VoTT, which exports Pascal VOC as well",
    ("assets", "tags"): "VoTT, which exports Pascal VOC as well",
    ("items", "categories"): "Datumaro, which `datum convert` turns into COCO",
}
"""Fields of an object, or of the first one in a list."""
_VIDEO = 'CVAT for videos, which CVAT exports as "CVAT for images" or COCO as well'


def name_file(name: str) -> str:
    """What a file is by its ending, and what becomes of it; nothing where that is not known."""
    ending = PurePath(name).suffix.lower()
    return next((known for endings, known in _ENDINGS.items() if ending in endings), "")


def name_content(data: Any) -> str:
    """The same by what a file of JSON or XML holds."""
    if isinstance(data, Element):
        return _VIDEO if data.tag == "annotations" and data.find("track") is not None else ""
    first = data[0] if isinstance(data, list) and data else data
    keys = {*first} if isinstance(first, Mapping) else set()
    return next((known for fields, known in _FIELDS.items() if {*fields} <= keys), "")
