"""Boxes of things that other programs draw as polygons, masks or rotated rectangles."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pycocotools import mask as coco_mask

from groma.data.sources.items import BrokenItem
from groma.foreign import to_identifier
from groma.types import Size

_XYWH = tuple[float, float, float, float]


def box_around(segmentation: Any) -> _XYWH | None:
    """Left, top, width and height in pixels of what a COCO annotation's `segmentation` covers.

    None where it covers nothing, or is neither polygons x1, y1, x2, y2, … nor `counts` and `size`.
    """
    try:
        if isinstance(segmentation, Mapping):
            return _around_runs(segmentation["counts"], segmentation["size"])
        return _around_polygons(segmentation)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def box_around_points(xs: Sequence[float], ys: Sequence[float]) -> _XYWH | None:
    """Left, top, width and height of what encloses points, or None where there are none."""
    if not xs or not ys:
        return None
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def box_around_rotated(
    box: Sequence[float], degrees: float, pivot: tuple[float, float]
) -> _XYWH | None:
    """The upright box around a box (left, top, width, height) that is rotated.

    The pivot, in pixels too, stays where it is; degrees are clockwise, as it is seen.
    """
    left, top, width, height = box
    # Of endless degrees, NaN.
    angle = math.radians(degrees % 360)
    cosine, sine = math.cos(angle), math.sin(angle)
    corners = [
        (x - pivot[0], y - pivot[1]) for x in (left, left + width) for y in (top, top + height)
    ]
    return box_around_points(
        [pivot[0] + x * cosine - y * sine for x, y in corners],
        [pivot[1] + x * sine + y * cosine for x, y in corners],
    )


def box_of(annotation: Mapping[str, Any]) -> Any:
    """The `bbox` of a COCO annotation, or the box around its `segmentation` where it has none."""
    return annotation.get("bbox") or box_around(annotation.get("segmentation"))


def area_of(annotation: Mapping[str, Any]) -> float:
    """The `area` of a COCO annotation in square pixels, or that of its box where it has none.

    Raises `BrokenItem` if it has neither.
    """
    area = annotation.get("area")
    if isinstance(area, int | float) and not isinstance(area, bool):
        return float(area)
    try:
        _, _, width, height = box_of(annotation)
        return float(width) * float(height)
    except (TypeError, ValueError) as error:
        raise BrokenItem("an annotation has neither an area nor a box") from error


def is_same_shape(one: Size, other: Size) -> bool:
    """Whether two sizes (H, W) differ in scale alone, give or take a pixel in thirty."""
    return abs(one[0] * other[1] / (one[1] * other[0]) - 1) < 1 / 30


def is_crowd(annotation: Mapping[str, Any]) -> bool:
    """Whether a COCO annotation is of many things at once; some tools write its 0 or 1 as text."""
    value = annotation.get("iscrowd")
    return value is True or to_identifier(value) == 1


def without_idle_crowds(annotations: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Annotations without `iscrowd` where all have it: some mask tools set it everywhere."""
    if annotations and all(map(is_crowd, annotations)):
        return [{**annotation, "iscrowd": 0} for annotation in annotations]
    return list(annotations)


def _around_polygons(polygons: Sequence[Any]) -> _XYWH | None:
    """Polygons of at least three points, or one that is in no list."""
    if polygons and not isinstance(polygons[0], Sequence):
        polygons = [polygons]
    xs = [float(x) for polygon in polygons if len(polygon) >= 6 for x in polygon[::2]]
    ys = [float(y) for polygon in polygons if len(polygon) >= 6 for y in polygon[1::2]]
    return box_around_points(xs, ys)


def _around_runs(counts: Any, size: Any) -> _XYWH | None:
    """Run lengths down the columns, from the first pixel that is not covered."""
    height, width = (int(side) for side in size)
    if not (0 < height < 1 << 16 and 0 < width < 1 << 16):
        return None
    if isinstance(counts, Sequence) and not isinstance(counts, str):
        runs = coco_mask.frPyObjects(
            {"counts": list(counts), "size": [height, width]}, height, width
        )
    else:
        # A string that breaks off within a number would be read beyond its end.
        letters = counts.encode("ascii")
        if not letters or (letters[-1] - 48) & 0x20:
            return None
        runs = {"counts": letters, "size": [height, width]}
    left, top, across, down = coco_mask.toBbox(runs).tolist()
    return (left, top, across, down) if across > 0 and down > 0 else None
