"""Exports of Label Studio as JSON and JSON-MIN: shapes in percent of their picture."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from groma.data.geometry import box_around_points, box_around_rotated
from groma.foreign import read_text
from groma.image import PICTURE_ENDINGS
from groma.instruction_sets.readers.box_values import read_box, read_objects, read_size
from groma.instruction_sets.readers.labelled import BoxFormat, LabelledPicture, Shape, label_picture
from groma.instruction_sets.readers.set_items import RawBox
from groma.types import Size

_DONE = ("annotations", "completions")
"""What people did, in exports as JSON; what programs proposed is not read."""
_SIZE = ("original_height", "original_width")
_SHAPES = {"x", "points", "rle"}
"""A region has one of these."""
_WORDS = {"choices", "text", "rating", "taxonomy", "number", "datetime", "ranker", "pairwise"}
"""What is said of a picture or a region besides."""


def _is_label_studio(data: Any) -> bool:
    """Whether it looks like one of the two exports."""
    return isinstance(data, list) and any(_is_task(item) or _is_short_task(item) for item in data)


def _read(data: Sequence[Any], _: PurePosixPath, missed: Counter[str]) -> Iterator[LabelledPicture]:
    """Read an export; see `BoxFormat.read`."""
    for item in read_objects(data, missed):
        fields, listed = item, [] if _is_task(item) else list(_lists(item, missed))
        if _is_task(item):
            fields, listed = item["data"], _read_results(item, missed)
        regions = [region for region in listed if _SHAPES & region.keys()]
        missed["object"] += sum(not (_SHAPES | _WORDS) & region.keys() for region in listed)
        size = next((size for region in regions if (size := read_size(region, _SIZE))), None)
        shapes = [_read_shape(region, size) for region in regions]
        picture = label_picture(_read_name(fields), size, shapes, missed)
        yield picture if size else replace(picture, are_shares=True)


def _is_task(item: Any) -> bool:
    """Whether it is a task of an export as JSON."""
    return (
        isinstance(item, Mapping)
        and isinstance(item.get("data"), Mapping)
        and any(isinstance(item.get(field), list) for field in _DONE)
    )


def _is_short_task(item: Any) -> bool:
    """Whether it is a task of an export as JSON-MIN."""
    return isinstance(item, Mapping) and any(
        _SHAPES & region.keys() and any(str(name).endswith("labels") for name in region)
        for region in _lists(item, Counter())
    )


def _lists(item: Mapping[str, Any], missed: Counter[str]) -> Iterator[Mapping[str, Any]]:
    """The objects in all its lists; what else is in a list of objects is counted."""
    for value in item.values():
        if isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value):
            yield from read_objects(value, missed)


def _read_results(task: Mapping[str, Any], missed: Counter[str]) -> list[Mapping[str, Any]]:
    """Regions of the first annotation that nobody cancelled; results of one have its id."""
    listed = next(task[field] for field in _DONE if isinstance(task.get(field), list))
    done = [
        one
        for one in read_objects(listed, missed)
        if one.get("was_cancelled") not in (True, "true")
    ]
    missed["others"] += len(done[1:])
    regions: dict[str, dict[str, Any]] = {}
    for number, result in enumerate(read_objects(done[0].get("result") if done else [], missed)):
        if isinstance(value := result.get("value"), Mapping):
            region = regions.setdefault(str(result.get("id") or number), {})
            region |= {**value, **{name: result.get(name) for name in _SIZE}}
        elif result.get("type") != "relation":  # which joins regions, and has no value
            missed["object"] += 1
    return list(regions.values())


def _read_name(fields: Mapping[str, Any]) -> str:
    """Name of the picture: `image`, or what else looks like one; of local storage, its `d`."""
    texts = [value for value in fields.values() if isinstance(value, str)]
    pictures = (
        t for t in texts if PurePosixPath(t.split("?")[0]).suffix.lower() in PICTURE_ENDINGS
    )
    name = read_text(fields.get("image")) or next(pictures, "")
    return name.partition("?d=")[2] or name


def _read_shape(region: Mapping[str, Any], size: Size | None) -> Shape:
    """A region with its box in pixels of a picture of size (H, W), or in shares of it."""
    names = [region[name] for name in region if name.endswith("labels") and region[name]]
    label = read_text(names[0][0] if names and isinstance(names[0], list) else region.get("text"))
    degrees = next(iter(read_box([region.get("rotation", 0)])), 0.0) % 360
    if degrees and size is None:
        # Shares of width and height do not rotate.
        return Shape(label, ())
    height, width = size or (1, 1)
    return Shape(label, _read_box(region, degrees, width / 100, height / 100), bool(degrees))


def _read_box(region: Mapping[str, Any], degrees: float, across: float, down: float) -> RawBox:
    """The upright box around a region, given the size of a percent; nothing where it is none."""
    if isinstance(points := region.get("points"), list):
        corners = [read_box(point) for point in points]
        if len(corners) < 3 or any(len(corner) != 2 for corner in corners):
            return ()
        xs, ys = [x * across for x, _ in corners], [y * down for _, y in corners]
        return box_around_points(xs, ys) or ()
    sides = ("radiusX", "radiusY") if "radiusX" in region else ("width", "height")
    values = read_box([region.get(name) for name in ("x", "y", *sides)])
    if not values:
        return ()
    x, y, width, height = (v * by for v, by in zip(values, (across, down) * 2, strict=True))
    # A rectangle is turned around its corner, an ellipse around its middle.
    box = (x, y, width, height)
    if "radiusX" in region:
        box = (x - width, y - height, 2 * width, 2 * height)
    return box_around_rotated(box, degrees, (x, y)) or ()


LABEL_STUDIO = BoxFormat("Label Studio", "label-studio", _is_label_studio, _read)
