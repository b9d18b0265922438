"""COCO-like files (paper Tab. 1): COCO, Objects365 and V3Det, and what others made of the format.

The released data has expressions (`images[].caption`, RefCOCO/+/g), region captions
(`annotations[].caption`, RefCOCOg and Visual Genome) and grounded captions (`tokens_positive`,
Flickr30k Entities) in it too.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from groma.data.index import JsonTables
from groma.data.sample import QA, GroundedSample, Mention, Phrase
from groma.data.sources.items import (
    BrokenItem,
    DetectionSample,
    Items,
    box_from_xywh,
    picture_size,
    words,
)
from groma.data.sources.spans import grounded_pieces
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
    turns: int = 5,
) -> Items:
    """Instances with classes: for detection, or to ask where all of a class are."""
    tables = JsonTables(annotations, cache)
    if task == "detection":
        return Items(tables, partial(parse_detection, names=tables.categories), "detection")
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


def parse_detection(record: Record, names: Mapping[int, str]) -> DetectionSample:
    """Boxes of whole objects; crowds and boxes without area are left out.

    Args:
        record: an image and its annotations.
        names: of the classes, by id.

    Raises:
        BrokenItem: if no box is left.
    """
    image, annotations = record
    size = picture_size(image)
    found = []
    for annotation in annotations:
        if not annotation.get("iscrowd") and (box := _box_or_none(annotation, size)):
            found.append((box, _class(annotation, names)))
    if not found:
        raise BrokenItem("no box")
    boxes, classes = zip(*found, strict=True)
    return DetectionSample(words(image["file_name"]), size, boxes, classes, "coco")


def parse_classes(record: Record, names: Mapping[int, str]) -> GroundedSample:
    """One question per class that is in the picture; the answer points to all of it.

    A class of which there is a crowd is left out, because its truth is incomplete.
    """
    image, annotations = record
    size = picture_size(image)
    crowds = {a["category_id"] for a in annotations if a.get("iscrowd")}
    boxes: list[Box] = []
    classes: dict[str, list[int]] = {}
    for annotation in annotations:
        box = None if annotation["category_id"] in crowds else _box_or_none(annotation, size)
        if box:
            classes.setdefault(_class(annotation, names), []).append(len(boxes))
            boxes.append(box)
    if not classes:
        raise BrokenItem("no box")
    held = {region: name for name, regions in classes.items() for region in regions}
    turns = tuple(
        QA((name,), (Phrase(name, tuple(regions)),), "find") for name, regions in classes.items()
    )
    picture = words(image["file_name"])
    return GroundedSample(
        picture, size, tuple(boxes), tuple(held[i] for i in range(len(boxes))), turns
    )


def parse_expression(record: Record, task: RegionTask) -> GroundedSample:
    """The expression of an image entry and the one thing it means."""
    image, annotations = record
    if not annotations:
        raise BrokenItem("no box")
    size, expression = picture_size(image), words(image["caption"])
    box = box_from_xywh(annotations[0]["bbox"], size)
    turn = region_turn(expression, 0, task)
    return GroundedSample(words(image["file_name"]), size, (box,), (expression,), (turn,))


def parse_region_captions(record: Record, task: RegionTask) -> GroundedSample:
    """A round of conversation for every captioned box of a picture."""
    image, annotations = record
    if not annotations:
        raise BrokenItem("no box")
    size = picture_size(image)
    boxes = tuple(box_from_xywh(annotation["bbox"], size) for annotation in annotations)
    captions = tuple(words(annotation["caption"]) for annotation in annotations)
    turns = tuple(region_turn(caption, i, task) for i, caption in enumerate(captions))
    return GroundedSample(words(image["file_name"]), size, boxes, captions, turns)


def parse_grounded_caption(record: Record) -> GroundedSample:
    """A caption in which phrases mean boxes; several boxes may share a phrase."""
    image, annotations = record
    size, caption = picture_size(image), image["caption"]
    boxes = tuple(box_from_xywh(annotation["bbox"], size) for annotation in annotations)
    spans = [
        (int(start), int(stop), region)
        for region, annotation in enumerate(annotations)
        for start, stop in annotation["tokens_positive"]
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


def _box_or_none(annotation: Mapping[str, Any], size: Size) -> Box | None:
    try:
        return box_from_xywh(annotation["bbox"], size)
    except BrokenItem:
        return None


def _class(annotation: Mapping[str, Any], names: Mapping[int, str]) -> str:
    try:
        return names[annotation["category_id"]]
    except KeyError as error:
        raise BrokenItem("a box of an unknown class") from error
