"""COCO-like files (paper Tab. 1): COCO, Objects365 and V3Det, and what others made of the format.

The released data has expressions (`images[].caption`, RefCOCO/+/g), region captions
(`annotations[].caption`, RefCOCOg and Visual Genome) and grounded captions (`tokens_positive`,
Flickr30k Entities) in it too.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from groma.data.geometry import box_of, is_crowd
from groma.data.records.indexed_files import JsonTables
from groma.data.sample import QA, GroundedSample, Mention, Phrase
from groma.data.sources.items import (
    BrokenItem,
    DetectionSample,
    Head,
    Samples,
    box_from_xywh,
    picture_size,
    read_parts,
    words,
)
from groma.data.sources.spans import grounded_pieces
from groma.foreign import to_identifier
from groma.types import Box, Size

RegionTask = Literal["rec", "caption"]
_Annotation = Mapping[str, Any]
_Record = tuple[Mapping[str, Any], Sequence[_Annotation]]  # an image and its annotations
_Classes = Mapping[int | str, str]  # names by id


def open_coco(
    annotations: Path,
    cache: Path | None,
    *,
    task: Literal["detection", "find"] = "detection",
    head: Head = "coco",
    turns: int = 5,
) -> Samples:
    """Instances with classes: for detection, or to ask where all of a class are.

    From files such as `instances_train2017.json` or `class_agnostic_sa1b_2m.json`. The objectness
    head `sa1b` learns from those that hold any segment; a sample has so many `turns` at most.
    """
    tables = JsonTables(annotations, cache)
    if task == "detection":
        parse = partial(_parse_detection, classes=tables.categories, head=head)
        return Samples(tables, parse, "detection")
    return Samples(
        tables, partial(_parse_classes, classes=tables.categories), "conversation", turns
    )


def open_expressions(annotations: Path, cache: Path | None, *, task: RegionTask = "rec") -> Samples:
    """One expression per entry of `images`: RefCOCO, RefCOCO+ and RefCOCOg as released."""
    parse = partial(_parse_expression, task=task)
    return Samples(JsonTables(annotations, cache), parse, "conversation")


def open_region_captions(
    annotations: Path, cache: Path | None, *, task: RegionTask = "caption", turns: int = 5
) -> Samples:
    """A caption per annotation: RefCOCOg and Visual Genome as released."""
    parse = partial(_parse_region_captions, task=task)
    return Samples(JsonTables(annotations, cache), parse, "conversation", turns)


def open_flickr_json(annotations: Path, cache: Path | None) -> Samples:
    """Captions whose phrases are annotations: Flickr30k Entities as released."""
    return Samples(JsonTables(annotations, cache), _parse_grounded_caption, "conversation")


def region_turn(text: str, region: int, task: RegionTask) -> QA:
    """One round about one region: find what the words mean, or say what is there.

    The question holds only what is asked about; `groma.data.questions` puts words around it.
    """
    if task == "rec":
        return QA((text,), (Phrase(text, (region,)),), "rec")
    return QA((Mention(region),), (text,), "region_caption", grounding=False)


def _parse_detection(
    record: _Record, lost: Counter[str], classes: _Classes, head: Head
) -> DetectionSample:
    """Boxes of whole objects; crowds and broken boxes are left out."""
    image, annotations = record
    size = picture_size(image)
    single = [annotation for annotation in annotations if not is_crowd(annotation)]
    boxes, names = _read_instances(single, size, classes, lost)
    return DetectionSample(words(image["file_name"]), size, boxes, names, head)


def _parse_classes(record: _Record, lost: Counter[str], classes: _Classes) -> GroundedSample:
    """One question per class that is in the picture; the answer points to all of it.

    A class of which there is a crowd is left out, because its truth is incomplete; of the others
    broken boxes are.
    """
    image, annotations = record
    size = picture_size(image)
    crowds = {to_identifier(a.get("category_id")) for a in annotations if is_crowd(a)}
    single = [a for a in annotations if to_identifier(a.get("category_id")) not in crowds]
    boxes, names = _read_instances(single, size, classes, lost)
    regions: dict[str, list[int]] = {}
    for region, name in enumerate(names):
        regions.setdefault(name, []).append(region)
    turns = tuple(QA((name,), (Phrase(name, tuple(of)),), "find") for name, of in regions.items())
    return GroundedSample(words(image["file_name"]), size, boxes, names, turns)


def _parse_expression(record: _Record, _: Counter[str], task: RegionTask) -> GroundedSample:
    """The expression of an image entry and the one thing it means."""
    image, annotations = record
    if not annotations:
        raise BrokenItem("no box")
    size, expression = picture_size(image), words(image["caption"])
    box = box_from_xywh(box_of(annotations[0]), size)
    turn = region_turn(expression, 0, task)
    return GroundedSample(words(image["file_name"]), size, (box,), (expression,), (turn,))


def _parse_region_captions(record: _Record, lost: Counter[str], task: RegionTask) -> GroundedSample:
    """A round of conversation for every captioned box of a picture; broken ones are left out."""
    image, annotations = record
    size = picture_size(image)

    def read(annotation: _Annotation) -> tuple[Box, str]:
        return box_from_xywh(box_of(annotation), size), words(annotation["caption"])

    boxes, captions = zip(*read_parts(annotations, read, lost), strict=True)
    turns = tuple(region_turn(caption, i, task) for i, caption in enumerate(captions))
    return GroundedSample(words(image["file_name"]), size, boxes, captions, turns)


def _parse_grounded_caption(record: _Record, lost: Counter[str]) -> GroundedSample:
    """A caption in which phrases mean boxes; several boxes may share a phrase.

    A phrase whose boxes are all broken stays plain words.
    """
    image, annotations = record
    size, caption = picture_size(image), image["caption"]

    def read(annotation: _Annotation) -> tuple[Box, list[Any]]:
        return box_from_xywh(box_of(annotation), size), list(annotation["tokens_positive"])

    boxes, places = zip(*read_parts(annotations, read, lost), strict=True)
    spans = [
        (int(start), int(stop), region)
        for region, held in enumerate(places)
        for start, stop in held
    ]
    answer, names = grounded_pieces(caption, spans, len(boxes))
    turn = QA((), answer, "grounded_caption")
    return GroundedSample(words(image["file_name"]), size, boxes, names, (turn,))


def _read_instances(
    annotations: Sequence[_Annotation], size: Size, classes: _Classes, lost: Counter[str]
) -> tuple[tuple[Box, ...], tuple[str, ...]]:
    """Boxes and the names of their classes, without what is broken."""

    def read(annotation: _Annotation) -> tuple[Box, str]:
        box = box_from_xywh(box_of(annotation), size)
        category = to_identifier(annotation.get("category_id"))
        if category is None or category not in classes:
            raise BrokenItem("a box of an unknown class")
        return box, classes[category]

    boxes, names = zip(*read_parts(annotations, read, lost), strict=True)
    return boxes, names
