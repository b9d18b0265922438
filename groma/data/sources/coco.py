"""COCO-like files (paper Tab. 1): COCO, Objects365 and V3Det, and what others made of the format.

The released data has expressions (`images[].caption`, RefCOCO/+/g), region captions
(`annotations[].caption`, RefCOCOg and Visual Genome) and grounded captions (`tokens_positive`,
Flickr30k Entities) in it too.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from groma.data.geometry import box_of
from groma.data.records.index import JsonTables
from groma.data.sample import QA, GroundedSample, Mention, Phrase
from groma.data.sources.items import (
    BrokenItem,
    DetectionSample,
    Head,
    Items,
    box_from_xywh,
    picture_size,
    read_parts,
    words,
)
from groma.data.sources.spans import grounded_pieces
from groma.foreign import to_identifier
from groma.types import Box, Size

Image = Mapping[str, Any]
Annotations = Sequence[Mapping[str, Any]]
Record = tuple[Image, Annotations]
RegionTask = Literal["rec", "caption"]


def open_coco(
    annotations: Path,
    cache: Path | None,
    *,
    task: Literal["detection", "find"] = "detection",
    head: Head = "coco",
    turns: int = 5,
) -> Items:
    """Instances with classes: for detection, or to ask where all of a class are.

    Args:
        annotations: such as `instances_train2017.json` or `class_agnostic_sa1b_2m.json`.
        cache: folder of indexes.
        task: what it is for.
        head: which objectness head learns from it: `sa1b` if it holds any segment.
        turns: most questions of a sample.
    """
    tables = JsonTables(annotations, cache)
    if task == "detection":
        parse = partial(parse_detection, names=tables.categories, head=head)
        return Items(tables, parse, "detection")
    return Items(tables, partial(parse_classes, names=tables.categories), "conversation", turns)


def open_expressions(annotations: Path, cache: Path | None, *, task: RegionTask = "rec") -> Items:
    """One expression per entry of `images`: RefCOCO, RefCOCO+ and RefCOCOg as released."""
    parse = partial(parse_expression, task=task)
    return Items(JsonTables(annotations, cache), parse, "conversation")


def open_region_captions(
    annotations: Path, cache: Path | None, *, task: RegionTask = "caption", turns: int = 5
) -> Items:
    """A caption per annotation: RefCOCOg and Visual Genome as released."""
    parse = partial(parse_region_captions, task=task)
    return Items(JsonTables(annotations, cache), parse, "conversation", turns)


def open_flickr_json(annotations: Path, cache: Path | None) -> Items:
    """Captions whose phrases are annotations: Flickr30k Entities as released."""
    return Items(JsonTables(annotations, cache), parse_grounded_caption, "conversation")


def parse_detection(record: Record, names: Mapping[int | str, str], head: Head) -> DetectionSample:
    """Boxes of whole objects; crowds and broken boxes are left out.

    Args:
        record: an image and its annotations.
        names: of the classes, by id.
        head: which objectness head learns from it.

    Raises:
        BrokenItem: if no box is left.
    """
    image, annotations = record
    size = picture_size(image)
    single = [annotation for annotation in annotations if not annotation.get("iscrowd")]
    found = read_parts(single, partial(_read_instance, size=size, names=names))
    boxes, classes = zip(*found, strict=True)
    return DetectionSample(words(image["file_name"]), size, boxes, classes, head)


def parse_classes(record: Record, names: Mapping[int | str, str]) -> GroundedSample:
    """One question per class that is in the picture; the answer points to all of it.

    A class of which there is a crowd is left out, because its truth is incomplete; of the others
    broken boxes are.
    """
    image, annotations = record
    size = picture_size(image)
    crowds = {to_identifier(a.get("category_id")) for a in annotations if a.get("iscrowd")}
    single = [a for a in annotations if to_identifier(a.get("category_id")) not in crowds]
    found = read_parts(single, partial(_read_instance, size=size, names=names))
    classes: dict[str, list[int]] = {}
    for region, (_, name) in enumerate(found):
        classes.setdefault(name, []).append(region)
    turns = tuple(
        QA((name,), (Phrase(name, tuple(regions)),), "find") for name, regions in classes.items()
    )
    boxes, held = zip(*found, strict=True)
    return GroundedSample(words(image["file_name"]), size, boxes, held, turns)


def parse_expression(record: Record, task: RegionTask) -> GroundedSample:
    """The expression of an image entry and the one thing it means."""
    image, annotations = record
    if not annotations:
        raise BrokenItem("no box")
    size, expression = picture_size(image), words(image["caption"])
    box = box_from_xywh(box_of(annotations[0]), size)
    turn = region_turn(expression, 0, task)
    return GroundedSample(words(image["file_name"]), size, (box,), (expression,), (turn,))


def parse_region_captions(record: Record, task: RegionTask) -> GroundedSample:
    """A round of conversation for every captioned box of a picture; broken ones are left out."""
    image, annotations = record
    size = picture_size(image)
    found = read_parts(annotations, lambda a: (box_from_xywh(box_of(a), size), words(a["caption"])))
    boxes, captions = zip(*found, strict=True)
    turns = tuple(region_turn(caption, i, task) for i, caption in enumerate(captions))
    return GroundedSample(words(image["file_name"]), size, boxes, captions, turns)


def parse_grounded_caption(record: Record) -> GroundedSample:
    """A caption in which phrases mean boxes; several boxes may share a phrase.

    A phrase whose boxes are all broken stays plain words.
    """
    image, annotations = record
    size, caption = picture_size(image), image["caption"]
    found = read_parts(
        annotations, lambda a: (box_from_xywh(box_of(a), size), list(a["tokens_positive"]))
    )
    boxes = tuple(box for box, _ in found)
    spans = [
        (int(start), int(stop), region)
        for region, (_, places) in enumerate(found)
        for start, stop in places
    ]
    answer, names = grounded_pieces(caption, spans, len(boxes))
    turn = QA((), answer, "grounded_caption")
    return GroundedSample(words(image["file_name"]), size, boxes, names, (turn,))


def region_turn(text: str, region: int, task: RegionTask) -> QA:
    """One round about one region: find what the words mean, or say what is there.

    The question holds only what is asked about; `groma.data.templates` puts words around it.
    """
    if task == "rec":
        return QA((text,), (Phrase(text, (region,)),), "rec")
    return QA((Mention(region),), (text,), "region_caption", grounding=False)


def _read_instance(
    annotation: Mapping[str, Any], size: Size, names: Mapping[int | str, str]
) -> tuple[Box, str]:
    """Box and class."""
    box = box_from_xywh(box_of(annotation), size)
    category = to_identifier(annotation.get("category_id"))
    if category is None or category not in names:
        raise BrokenItem("a box of an unknown class")
    return box, names[category]
