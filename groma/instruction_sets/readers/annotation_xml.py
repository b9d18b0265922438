"""XML of Pascal VOC, a file for each picture, and of CVAT, one for all of them."""

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element

from groma.data.geometry import box_around_points, box_around_rotated
from groma.foreign import read_text
from groma.instruction_sets.readers.box_values import read_box, read_size
from groma.instruction_sets.readers.labelled import (
    BoxFormat,
    LabelledPicture,
    Shape,
    beside,
    label_picture,
)
from groma.instruction_sets.readers.set_items import RawBox

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_ROTATED = ("cx", "cy", "w", "h", "angle")
_CVAT_SIDES = {
    "box": ("xtl", "ytl", "xbr", "ybr"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "mask": ("left", "top", "width", "height"),
}
_CVAT_SHAPES = (*_CVAT_SIDES, "polygon", "polyline", "points", "cuboid", "skeleton")


def _is_voc(data: Any) -> bool:
    """Whether it looks like a file of Pascal VOC."""
    return isinstance(data, Element) and data.tag == "annotation"


def _is_cvat(data: Any) -> bool:
    """Whether it looks like an export "CVAT for images"."""
    return (
        isinstance(data, Element) and data.tag == "annotations" and data.find("image") is not None
    )


def _read_voc(
    data: Element, file: PurePosixPath, missed: Counter[str]
) -> Iterator[LabelledPicture]:
    """Read a file of Pascal VOC; see `BoxFormat.read`.

    Its corners are pixels from 1, both of them inside the box.
    """
    shapes = [
        Shape(read_text(thing.findtext("name")), *_read_voc_box(thing))
        for thing in data.iter("object")
    ]
    size = data.find("size")
    known = None if size is None else read_size({e.tag: (e.text or "").strip() for e in size})
    name = read_text(data.findtext("filename")) or f"{file.stem}.jpg"
    parts = ("JPEGImages" if part == "Annotations" else part for part in file.parts)
    yield label_picture(beside(PurePosixPath(*parts), name), known, shapes, missed)


def _read_cvat(data: Element, _: PurePosixPath, missed: Counter[str]) -> Iterator[LabelledPicture]:
    """Read an export "CVAT for images"; see `BoxFormat.read`."""
    for image in data.iter("image"):
        shapes = [_read_cvat_shape(shape) for shape in image if shape.tag in _CVAT_SHAPES]
        yield label_picture(read_text(image.get("name")), read_size(image.attrib), shapes, missed)


def _read_voc_box(thing: Element) -> tuple[RawBox, bool]:
    """The box of a thing, and whether it is around a rotated one."""
    if (rotated := thing.find("robndbox")) is not None:
        values = read_box([_text(rotated, name) for name in _ROTATED])
        if not values:
            return (), False
        x, y, width, height, angle = values
        box = (x - width / 2, y - height / 2, width, height)
        return box_around_rotated(box, math.degrees(angle), (x, y)) or (), True
    values = read_box([_text(thing, f"bndbox/{name}") for name in _CORNERS])
    if not values:
        return (), False
    left, top, right, bottom = values
    return (left - 1, top - 1, right - left + 1, bottom - top + 1), False


def _read_cvat_shape(shape: Element) -> Shape:
    label, fields = read_text(shape.get("label")), shape.attrib
    values = read_box([fields.get(name) for name in _CVAT_SIDES.get(shape.tag, ())])
    box: RawBox = ()
    if shape.tag == "polygon":
        points = read_box(fields.get("points", ""))
        box = box_around_points(points[::2], points[1::2]) or ()
    elif values:
        a, b, c, d = values
        boxes = {"box": (a, b, c - a, d - b), "ellipse": (a - c, b - d, 2 * c, 2 * d)}
        box = boxes.get(shape.tag, values)
    degrees = next(iter(read_box([fields.get("rotation", 0)])), 0.0) % 360
    if not box or not degrees:
        return Shape(label, box)
    x, y, width, height = box
    middle = (x + width / 2, y + height / 2)
    return Shape(label, box_around_rotated(box, degrees, middle) or (), True)


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


VOC = BoxFormat("Pascal VOC", "voc", _is_voc, _read_voc, is_split=True)
CVAT = BoxFormat("CVAT", "cvat", _is_cvat, _read_cvat)
