"""COCO-like files: boxes with classes, captions or expressions."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from groma.data.geometry import box_of, without_idle_crowds
from groma.data.sample import QA
from groma.data.sources.items import BrokenItem, refused
from groma.data.sources.spans import grounded_pieces
from groma.foreign import read_text, to_identifier
from groma.instruction_sets.readers.labelled import LabelledPicture
from groma.instruction_sets.readers.set_items import Note
from groma.instruction_sets.readers.values import read_box, read_size

Annotation = Mapping[str, Any]


def is_coco(data: Any) -> bool:
    """Whether it looks like a COCO-like file."""
    return isinstance(data, Mapping) and {"images", "annotations"} <= data.keys()


def read_pictures(data: Mapping[str, Any]) -> tuple[list[LabelledPicture], list[Note]]:
    """Read a COCO-like file.

    A box is called by its own caption, by that of its image if it is the only one there, or by its
    class.

    Returns:
        Pictures with something to learn, and notes on what was left out.
    """
    images, strays = _objects(data["images"])
    annotations, others = _objects(data["annotations"])
    classes = _read_classes(data.get("categories"))
    missed: Counter[str] = Counter()
    read = without_idle_crowds(annotations)
    missed["all-crowd"] = len(read) if read != annotations else 0
    annotations = read
    by_image: dict[Any, list[Annotation]] = {}
    for annotation in annotations:
        by_image.setdefault(to_identifier(annotation.get("image_id")), []).append(annotation)
    pictures = []
    for image in images:
        number = to_identifier(image.get("id"))
        found = [] if number is None else by_image.pop(number, [])
        picture = _read_picture(image, found, classes, missed)
        if any(picture.labels) or picture.captions or picture.flaws:
            pictures.append(picture)
        else:
            missed["empty"] += 1
    missed["stray"] = sum(len(found) for found in by_image.values())
    missed["object"] = strays + others
    return pictures, list(_explain(missed))


def _read_picture(
    image: Annotation,
    annotations: Sequence[Annotation],
    classes: Mapping[Any, str],
    missed: Counter[str],
) -> LabelledPicture:
    crowds = {to_identifier(a.get("category_id")) for a in annotations if a.get("iscrowd")}
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
    return LabelledPicture(
        read_text(image.get("file_name")),
        read_size(image),
        tuple(read_box(box_of(a)) for a in kept),
        tuple(labels) if not captions else ("",) * len(kept),
        tuple(captions),
        tuple(flaws),
    )


def _label(annotation: Annotation, shared: str, classes: Mapping[Any, str]) -> str:
    own = read_text(annotation.get("caption")) or shared
    return own or classes.get(to_identifier(annotation.get("category_id")), "")


def _spans(annotation: Annotation, box: int) -> list[tuple[int, int, int]]:
    """Characters of the caption that mean a box; none where they are no numbers."""
    try:
        with refused():
            return [(int(a), int(b), box) for a, b in annotation.get("tokens_positive") or ()]
    except BrokenItem:
        return []


def _read_classes(value: Any) -> dict[Any, str]:
    entries, _ = _objects(value)
    named = {to_identifier(entry.get("id")): read_text(entry.get("name")) for entry in entries}
    return {number: name for number, name in named.items() if number is not None}


def _objects(value: Any) -> tuple[list[Annotation], int]:
    """The objects of a list, and how many other things are in it."""
    listed = value if isinstance(value, list) else []
    objects = [entry for entry in listed if isinstance(entry, Mapping)]
    return objects, len(listed) - len(objects)


def _explain(missed: Counter[str]) -> Iterator[Note]:
    sentences = {
        "empty": "{} pictures have no box with a caption or class; they are left out.",
        "stray": "{} boxes belong to no picture of the file; they are left out.",
        "label": "{} boxes have neither a caption nor a class; nothing is asked about them.",
        "crowd": "{} boxes of classes with a crowd are left out, for not all of them are marked.",
        "all-crowd": "All {} boxes are marked as crowds, as by mask tools, and read as things.",
        "object": "{} entries are no JSON objects; they are left out.",
    }
    for reason, sentence in sentences.items():
        if missed[reason]:
            yield Note(f"coco-{reason}", sentence.format(f"{missed[reason]:,}"))
