"""Files of the VGG Image Annotator: regions of any shape, with a label among their attributes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from groma.foreign import read_text
from groma.instruction_sets.readers.labelled import LabelledPicture
from groma.instruction_sets.readers.set_items import Note, RawBox
from groma.instruction_sets.readers.values import read_box

_PROJECT = "_via_img_metadata"
_LABELS = (
    *("caption", "description", "phrase", "expression", "label", "name", "class", "category"),
    "type",
)
"""What people call the attribute that holds the label, the most telling first."""


def is_via(data: Any) -> bool:
    """Whether it looks like a project or an export of the annotator."""
    if not isinstance(data, Mapping):
        return False
    files = data.get(_PROJECT, data)
    if not isinstance(files, Mapping) or not files:
        return False
    return all(
        isinstance(f, Mapping) and {"filename", "regions"} <= f.keys() for f in files.values()
    )


def read_pictures(data: Mapping[str, Any]) -> tuple[list[LabelledPicture], list[Note]]:
    """Read a project or an export.

    Returns:
        Pictures with something to learn, and notes on what was left out.
    """
    missed: Counter[str] = Counter()
    pictures = [_read_picture(file, missed) for file in data.get(_PROJECT, data).values()]
    kept = [picture for picture in pictures if any(picture.labels)]
    notes = []
    if missed["label"]:
        sentence = f"{missed['label']:,} boxes have no label; nothing is asked about them."
        notes.append(Note("via-label", sentence))
    if len(kept) < len(pictures):
        empty = len(pictures) - len(kept)
        notes.append(
            Note("via-empty", f"{empty:,} pictures have no labelled box; they are left out.")
        )
    return kept, notes


def _read_picture(file: Mapping[str, Any], missed: Counter[str]) -> LabelledPicture:
    regions = file["regions"]
    if isinstance(regions, Mapping):
        regions = list(regions.values())
    found = [r for r in regions if isinstance(r, Mapping)] if isinstance(regions, list) else []
    labels = tuple(_read_label(region.get("region_attributes")) for region in found)
    boxes = tuple(_read_shape(region.get("shape_attributes")) for region in found)
    missed["label"] += sum(not label for label in labels)
    return LabelledPicture(read_text(file["filename"]), None, boxes, labels)


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
        return _around(read_box(shape["all_points_x"]), read_box(shape.get("all_points_y")))
    if "cx" in shape:
        rx, ry = shape.get("rx", shape.get("r")), shape.get("ry", shape.get("r"))
        ellipse = read_box([shape["cx"], shape.get("cy"), rx, ry])
        if not ellipse:
            return ()
        x, y, across, down = ellipse
        return (x - across, y - down, 2 * across, 2 * down)
    return read_box(shape)


def _around(xs: Sequence[float], ys: Sequence[float]) -> RawBox:
    if not xs or not ys:
        return ()
    return (min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
