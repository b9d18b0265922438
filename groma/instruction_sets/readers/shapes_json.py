"""A JSON file for each picture, with shapes on it: LabelMe and Supervisely."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from groma.data.geometry import box_around_points
from groma.foreign import read_text
from groma.instruction_sets.readers.box_values import read_box, read_objects, read_size
from groma.instruction_sets.readers.labelled import (
    BoxFormat,
    LabelledPicture,
    Shape,
    beside,
    has_fields,
    label_picture,
)
from groma.instruction_sets.readers.set_items import RawBox

_LEAST_POINTS = {"rectangle": 2, "mask": 2, "circle": 2, "polygon": 3, "rotation": 4}
"""Shapes with an area, and how many points they have at least."""


def _read_labelme(
    data: Mapping[str, Any], file: PurePosixPath, missed: Counter[str]
) -> Iterator[LabelledPicture]:
    """Read a file of LabelMe; see `BoxFormat.read`."""
    shapes = [
        Shape(
            read_text(shape.get("label")),
            _around(shape.get("shape_type", "polygon"), shape.get("points")),
            shape.get("shape_type") == "rotation",
        )
        for shape in read_objects(data["shapes"], missed)
    ]
    name, size = read_text(data["imagePath"]), read_size(data, ("imageHeight", "imageWidth"))
    yield label_picture(beside(file, name), size, shapes, missed)


def _read_supervisely(
    data: Mapping[str, Any], file: PurePosixPath, missed: Counter[str]
) -> Iterator[LabelledPicture]:
    """Read an annotation of Supervisely; see `BoxFormat.read`.

    It lies in `ann`, and is called as its picture in `img` is, with `.json` at the end.
    """
    shapes = []
    for thing in read_objects(data["objects"], missed):
        points = thing.get("points")
        exterior = points.get("exterior") if isinstance(points, Mapping) else None
        box = _around(thing.get("geometryType"), exterior)
        shapes.append(Shape(read_text(thing.get("classTitle")), box))
    size = read_size(data["size"]) if isinstance(data["size"], Mapping) else None
    folder = file.parent.with_name("img") if file.parent.name == "ann" else file.parent
    yield label_picture(str(folder / file.stem), size, shapes, missed)


def _around(kind: Any, points: Any) -> RawBox:
    """The box around a shape in pixels, or nothing where it has no area."""
    corners = [read_box(point) for point in points] if isinstance(points, list) else []
    least = _LEAST_POINTS.get(kind) if isinstance(kind, str) else None
    if not least or len(corners) < least or any(len(corner) != 2 for corner in corners):
        return ()
    if kind == "circle":
        # Its middle, and a point on it.
        (x, y), (rim_x, rim_y) = corners[:2]
        radius = math.hypot(rim_x - x, rim_y - y)
        return (x - radius, y - radius, 2 * radius, 2 * radius)
    return box_around_points([x for x, _ in corners], [y for _, y in corners]) or ()


LABELME = BoxFormat(
    "LabelMe", "labelme", has_fields("shapes", "imagePath"), _read_labelme, is_split=True
)
SUPERVISELY = BoxFormat(
    "Supervisely", "supervisely", has_fields("size", "objects"), _read_supervisely, is_split=True
)
