"""Files of the VGG Image Annotator: regions of any shape, with a label among their attributes."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from groma.data.geometry import box_around_points
from groma.foreign import read_text
from groma.instruction_sets.readers.box_values import read_box, read_objects
from groma.instruction_sets.readers.labelled import BoxFormat, LabelledPicture
from groma.instruction_sets.readers.set_items import RawBox

_PROJECT = "_via_img_metadata"
_LABELS = (
    *("caption", "description", "phrase", "expression", "label", "name", "class", "category"),
    "type",
)
"""What people call the attribute that holds the label, the most telling first."""


def _is_via(data: Any) -> bool:
    """Whether it looks like a project or an export of the annotator."""
    if not isinstance(data, Mapping):
        return False
    files = data.get(_PROJECT, data)
    if not isinstance(files, Mapping) or not files:
        return False
    return all(
        isinstance(f, Mapping) and {"filename", "regions"} <= f.keys() for f in files.values()
    )


def _read(
    data: Mapping[str, Any], _: PurePosixPath, missed: Counter[str]
) -> Iterator[LabelledPicture]:
    """Read a project or an export; see `BoxFormat.read`."""
    for picture in data.get(_PROJECT, data).values():
        regions = picture["regions"]
        if isinstance(regions, Mapping):
            regions = list(regions.values())
        found = read_objects(regions, missed)
        labels = tuple(_read_label(region.get("region_attributes")) for region in found)
        boxes = tuple(_read_shape(region.get("shape_attributes")) for region in found)
        missed["label"] += sum(not label for label in labels)
        yield LabelledPicture(read_text(picture["filename"]), None, boxes, labels)


def _read_label(attributes: Any) -> str:
    if not isinstance(attributes, Mapping):
        return ""
    texts = {str(name).lower(): _read_attribute(value) for name, value in attributes.items()}
    known = [texts[name] for name in _LABELS if texts.get(name)]
    # A number may be a name, but not under any heading.
    words = (text for text in texts.values() if text and not text.isdecimal())
    return next(iter(known or words), "")


def _read_attribute(value: Any) -> str:
    """Text, or the names of the boxes that were ticked."""
    if isinstance(value, Mapping):
        return read_text(" ".join(str(name) for name, is_set in value.items() if is_set))
    return read_text(value)


def _read_shape(shape: Any) -> RawBox:
    """The box around a shape: x, y, width, height in pixels."""
    if not isinstance(shape, Mapping):
        return ()
    if "all_points_x" in shape:
        xs, ys = read_box(shape["all_points_x"]), read_box(shape.get("all_points_y"))
        return box_around_points(xs, ys) or ()
    if "cx" in shape:
        rx, ry = shape.get("rx", shape.get("r")), shape.get("ry", shape.get("r"))
        ellipse = read_box([shape["cx"], shape.get("cy"), rx, ry])
        if not ellipse:
            return ()
        x, y, across, down = ellipse
        return (x - across, y - down, 2 * across, 2 * down)
    return read_box(shape)


VIA = BoxFormat("VGG Image Annotator", "via", _is_via, _read)
