"""Visual Genome: descriptions of regions, one or several of a picture (paper Tab. 1)."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import urlsplit

from groma.data.records.indexed_files import JsonItems
from groma.data.sample import GroundedSample
from groma.data.sources.coco import RegionTask, region_turn
from groma.data.sources.items import (
    BrokenItem,
    Samples,
    box_from_xywh,
    picture_size,
    read_parts,
    refused,
    words,
)
from groma.foreign import load_json, to_identifier
from groma.types import Box, GromaError, Size

_Pictures = dict[Any, tuple[str, Size]]


def open_visual_genome(
    annotations: Path,
    cache: Path | None,
    *,
    image_data: Path,
    task: RegionTask = "caption",
    rounds: Literal["single", "multi"] = "single",
    turns: int = 5,
) -> Samples:
    """Region descriptions, to say what a region shows, or to find it by its description.

    From `region_descriptions.json` and `image_data.json`, which knows sizes and folders of the
    pictures. A sample is one region, or several, so many `turns` at most, of a picture. Raises
    `GromaError` if `image_data` is something else.
    """
    records = JsonItems(annotations, cache, "regions" if rounds == "single" else None)
    parse = partial(_parse, pictures=read_pictures(image_data), task=task)
    return Samples(records, parse, "conversation", turns)


def read_pictures(path: Path) -> _Pictures:
    """File name and (H, W) of every picture by its id; entries without one of these are left out.

    Raises `GromaError` if the file is something else.
    """
    try:
        with refused():
            return dict(read_parts(load_json(path.read_bytes()), _read_picture, Counter()))
    except BrokenItem as error:
        raise GromaError(f"{path} is no `image_data.json` of Visual Genome: {error}.") from error


def _parse(
    item: Mapping[str, Any], lost: Counter[str], pictures: _Pictures, task: RegionTask
) -> GroundedSample:
    """A round of conversation for each region of a picture that is not broken."""
    number = to_identifier(item["id"] if "id" in item else item["image_id"])
    if number not in pictures:
        raise BrokenItem("a picture that image_data does not know")
    picture, size = pictures[number]

    def read(region: Mapping[str, Any]) -> tuple[Box, str]:
        box = box_from_xywh([region[side] for side in ("x", "y", "width", "height")], size)
        return box, words(region["phrase"])

    boxes, phrases = zip(*read_parts(item["regions"], read, lost), strict=True)
    turns = tuple(region_turn(phrase, i, task) for i, phrase in enumerate(phrases))
    return GroundedSample(picture, size, boxes, phrases, turns)


def _read_picture(item: Mapping[str, Any]) -> tuple[Any, tuple[str, Size]]:
    """Id, file name and size."""
    name = "/".join(PurePosixPath(urlsplit(item["url"]).path).parts[-2:])
    return to_identifier(item["image_id"]), (name, picture_size(item))
