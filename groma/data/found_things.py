"""What a model found in pictures and what it called it, as COCO annotations."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from groma.drawing.outlines import outlines
from groma.shapes import Mask
from groma.text.coco_names import COMPOUNDS
from groma.text.grammar import noun_of
from groma.types import Box, Size


@dataclass(frozen=True)
class FoundThing:
    """A region and its name."""

    phrase: str  # as an answer has it; may be empty
    box: Box  # xyxy in pixels
    score: float  # in [0, 1]
    mask: Mask | None = None


@dataclass(frozen=True)
class FoundIn:
    """A picture and what was found there."""

    file_name: str
    size: Size  # (H, W) in pixels
    things: Sequence[FoundThing]
    caption: str = ""


def to_coco(pictures: Sequence[FoundIn], description: str) -> dict[str, Any]:
    """COCO annotations: boxes x, y, width, height in pixels.

    A phrase's noun is the category ("region" where there is none), the certainty the score. A mask
    is there twice: `segmentation` has its outlines, which know no holes, `mask` its run lengths.
    """
    found = [
        (number, thing, noun_of(thing.phrase, COMPOUNDS) or "region")
        for number, picture in enumerate(pictures, start=1)
        for thing in picture.things
    ]
    names = list(dict.fromkeys(noun for *_, noun in found))
    return {
        # pycocotools before 2.0.11 reads no results without `info`, and shows nothing shapeless.
        "info": {"description": description},
        "images": [_image(number, picture) for number, picture in enumerate(pictures, start=1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        "annotations": [
            {"id": number, "image_id": image, "category_id": 1 + names.index(noun)}
            | _annotation(thing)
            for number, (image, thing, noun) in enumerate(found, start=1)
        ],
    }


def _image(number: int, picture: FoundIn) -> dict[str, Any]:
    height, width = picture.size
    image = {"id": number, "file_name": picture.file_name, "height": height, "width": width}
    return image | ({"caption": picture.caption} if picture.caption else {})


def _annotation(thing: FoundThing) -> dict[str, Any]:
    x1, y1, x2, y2 = thing.box
    width, height = x2 - x1, y2 - y1
    return {
        "phrase": thing.phrase,
        "bbox": [x1, y1, width, height],
        "area": width * height,
        "iscrowd": 0,
        "segmentation": [],
        "score": thing.score,
    } | ({} if thing.mask is None else _segmentation(thing.mask))


def _segmentation(mask: Mask) -> dict[str, Any]:
    polygons = [[at for place in polygon for at in place] for polygon in outlines(mask)]
    area = int(mask.mask(mask.size).sum())
    return {"segmentation": polygons, "area": area, "mask": mask.to_run_lengths()}
