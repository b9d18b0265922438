"""COCO-like files: boxes with classes, captions or expressions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from groma.data.geometry import box_around_rotated, box_of, is_crowd, without_idle_crowds
from groma.data.sample import QA
from groma.data.sources.items import BrokenItem, refused
from groma.data.sources.spans import grounded_pieces
from groma.foreign import read_text, to_identifier
from groma.instruction_sets.readers.box_values import read_box, read_objects, read_size
from groma.instruction_sets.readers.labelled import (
    BoxFormat,
    LabelledPicture,
    has_fields,
    match_numbers,
)
from groma.instruction_sets.readers.set_items import RawBox

_Annotation = Mapping[str, Any]


def _read(
    data: Mapping[str, Any], _: PurePosixPath, missed: Counter[str]
) -> Iterator[LabelledPicture]:
    """Read a COCO-like file.

    A box is called by its own caption, by that of its image if it is the only one there, or by its
    class. See `BoxFormat.read`.
    """
    images = read_objects(data["images"], missed)
    listed = read_objects(data["annotations"], missed)
    classes = _read_classes(data.get("categories"))
    annotations = without_idle_crowds(listed)
    used = {to_identifier(annotation.get("category_id")) for annotation in annotations}
    classes = match_numbers(classes, used, missed)
    missed["all-crowd"] += len(listed) if annotations != listed else 0
    by_image: dict[Any, list[_Annotation]] = {}
    for annotation in annotations:
        by_image.setdefault(to_identifier(annotation.get("image_id")), []).append(annotation)
    for image in images:
        number = to_identifier(image.get("id"))
        found = [] if number is None else by_image.pop(number, [])
        yield _read_picture(image, found, classes, missed)
    missed["stray"] += sum(len(found) for found in by_image.values())


def _read_picture(
    image: _Annotation,
    annotations: Sequence[_Annotation],
    classes: Mapping[Any, str],
    missed: Counter[str],
) -> LabelledPicture:
    crowds = {to_identifier(a.get("category_id")) for a in annotations if is_crowd(a)}
    missed["crowd"] += sum(to_identifier(a.get("category_id")) in crowds for a in annotations)
    kept = [a for a in annotations if to_identifier(a.get("category_id")) not in crowds]
    caption = read_text(image.get("caption"))
    spans = [span for i, a in enumerate(kept) for span in _spans(a, i)]
    flaws: list[str] = []
    captions = []
    if caption and spans:
        try:
            answer, _ = grounded_pieces(image["caption"], spans, len(kept))
            captions.append(QA((), answer, "grounded_caption"))
        except BrokenItem as error:
            flaws.append(f"its caption has {error}")
    shared = caption if len(kept) == 1 and not spans else ""
    labels = [_label(a, shared, classes) for a in kept]
    if not captions:
        missed["label"] += sum(not label for label in labels)
    missed["rotated"] += sum(bool(_rotation(a)) for a in kept)
    return LabelledPicture(
        read_text(image.get("file_name")),
        read_size(image),
        tuple(_read_box(a) for a in kept),
        tuple(labels) if not captions else ("",) * len(kept),
        tuple(captions),
        tuple(flaws),
        is_stated=False,
    )


def _label(annotation: _Annotation, shared: str, classes: Mapping[Any, str]) -> str:
    own = read_text(annotation.get("caption")) or shared
    return own or classes.get(to_identifier(annotation.get("category_id")), "")


def _spans(annotation: _Annotation, box: int) -> list[tuple[int, int, int]]:
    """Characters of the caption that mean a box; none where they are no numbers."""
    try:
        with refused():
            return [(int(a), int(b), box) for a, b in annotation.get("tokens_positive") or ()]
    except BrokenItem:
        return []


def _read_box(annotation: _Annotation) -> RawBox:
    """Its box, upright: CVAT writes how far one is rotated beside it."""
    box = read_box(box_of(annotation))
    if len(box) != 4 or not (degrees := _rotation(annotation)):
        return box
    x, y, width, height = box
    return box_around_rotated(box, degrees, (x + width / 2, y + height / 2)) or ()


def _rotation(annotation: _Annotation) -> float:
    """Degrees that a box is rotated by; CVAT gives polygons none."""
    attributes = annotation.get("attributes")
    turned = attributes.get("rotation") if isinstance(attributes, Mapping) else None
    return next(iter(read_box([turned])), 0.0) % 360


def _read_classes(value: Any) -> dict[Any, str]:
    entries = read_objects(value, Counter())
    named = {to_identifier(entry.get("id")): read_text(entry.get("name")) for entry in entries}
    return {number: name for number, name in named.items() if number is not None}


COCO = BoxFormat("COCO-like", "coco", has_fields("images", "annotations"), _read)
