"""Visual Genome: descriptions of regions, one or several of a picture (paper Tab. 1)."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

from groma.data.records.index import JsonItems
from groma.data.sample import GroundedSample
from groma.data.sources.coco import RegionTask, region_turn
from groma.data.sources.items import (
    BrokenItem,
    Items,
    box_from_xywh,
    picture_size,
    read_parts,
    refused,
    words,
)
from groma.foreign import load_json, to_identifier
from groma.types import Box, GromaError, Size

Pictures = dict[Any, tuple[str, Size]]


def open_visual_genome(
    annotations: Path,
    cache: Path | None,
    *,
    image_data: Path,
    task: RegionTask = "caption",
    rounds: Literal["single", "multi"] = "single",
    turns: int = 5,
) -> Items:
    """Region descriptions.

    Args:
        annotations: `region_descriptions.json`.
        cache: folder of indexes.
        image_data: `image_data.json`, which knows sizes and folders of the pictures.
        task: say what a region shows, or find it by its description.
        rounds: a sample is one region, or several of a picture.
        turns: how many, in the second case.

    Raises:
        GromaError: if `image_data` is something else.
    """
    records = JsonItems(annotations, cache, "regions" if rounds == "single" else None)
    parse_one = partial(
        parse, pictures=read_pictures(image_data), task=task, single=rounds == "single"
    )
    return Items(records, parse_one, "conversation", turns)


def read_pictures(path: Path) -> Pictures:
    """File name and (H, W) of every picture by its id; entries without one of these are left out.

    Raises:
        GromaError: if the file is something else.
    """
    try:
        with refused():
            return dict(read_parts(load_json(path.read_bytes()), _read_picture))
    except BrokenItem as error:
        raise GromaError(f"{path} is no `image_data.json` of Visual Genome: {error}.") from error


def parse(
    record: tuple[Mapping[str, Any], int], pictures: Pictures, task: RegionTask, single: bool
) -> GroundedSample:
    """One region of a picture, or a round of conversation for each that is not broken."""
    item, part = record
    number = to_identifier(item["id"] if "id" in item else item["image_id"])
    if number not in pictures:
        raise BrokenItem("a picture that image_data does not know")
    picture, size = pictures[number]
    regions = item["regions"][part : part + 1] if single else item["regions"]
    boxes, phrases = zip(*read_parts(regions, partial(_read_region, size=size)), strict=True)
    turns = tuple(region_turn(phrase, i, task) for i, phrase in enumerate(phrases))
    return GroundedSample(picture, size, boxes, phrases, turns)


def _read_picture(item: Mapping[str, Any]) -> tuple[Any, tuple[str, Size]]:
    """Id, file name and size."""
    name = "/".join(PurePosixPath(urlsplit(item["url"]).path).parts[-2:])
    return to_identifier(item["image_id"]), (name, picture_size(item))


def _read_region(region: Mapping[str, Any], size: Size) -> tuple[Box, str]:
    """Box and description."""
    box = box_from_xywh([region[side] for side in ("x", "y", "width", "height")], size)
    return box, words(region["phrase"])
