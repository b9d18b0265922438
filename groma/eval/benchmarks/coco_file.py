"""COCO-like annotation files, read whole: those of benchmarks are small."""

import math
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from groma.data.geometry import area_of, box_of, without_idle_crowds
from groma.data.sources.items import BrokenItem
from groma.foreign import load_json, to_identifier
from groma.types import Box, GromaError, Size, to_size

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class CocoFile:
    """What a COCO-like file holds."""

    # Entries, each with an `id`; here and below as `to_identifier` makes them.
    images: tuple[Entry, ...]
    # By the id of their image, in the order of the file; what has a shape has `bbox` and `area`.
    annotations: Mapping[Any, Sequence[Entry]]
    categories: tuple[Entry, ...]  # entries with `id` and `name`; empty where there are none

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; within `reading`, which explains what is wrong with one."""
        data = load_json(path.read_bytes())
        annotations = defaultdict(list)
        for annotation in map(_complete, without_idle_crowds(data["annotations"])):
            annotations[annotation["image_id"]].append(annotation)
        images = tuple(_with_identifier(image, "id") for image in data["images"])
        categories = tuple(_with_identifier(c, "id") for c in data.get("categories") or ())
        return cls(images, dict(annotations), categories)


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Explain, as `GromaError`, what is wrong with a file that is no JSON, or lacks a field."""
    try:
        yield
    except BrokenItem as error:
        raise GromaError(f"{path} is no file of this benchmark: {error}.") from error
    except GromaError:
        raise
    except KeyError as error:
        raise GromaError(f"{path} is no file of this benchmark: {error} is missing.") from error
    except (ValueError, TypeError, AttributeError, IndexError, OverflowError) as error:
        raise GromaError(f"{path} is no file of this benchmark: {error}.") from error


def _complete(annotation: Entry) -> Entry:
    """An annotation with a box and an area, if it has a shape; its identifiers in one form."""
    for field in ("image_id", "category_id"):
        if field in annotation or field == "image_id":
            annotation = _with_identifier(annotation, field)
    if annotation.get("bbox") or annotation.get("segmentation"):
        box = box_of(annotation)
        if box is None or len(box) != 4 or not all(math.isfinite(side) for side in box):
            raise BrokenItem("an annotation has a shape that is none")
        annotation = {**annotation, "bbox": box, "area": area_of(annotation)}
    return annotation


def _with_identifier(entry: Entry, field: str) -> Entry:
    number = to_identifier(entry[field])
    if number is None:
        raise BrokenItem(f"{field!r} is no number and no text")
    return {**entry, field: number}


def size_of(image: Entry) -> Size:
    """(H, W) of an entry of `images`."""
    return to_size((image["height"], image["width"]))


def to_xywh(box: Box) -> list[float]:
    """Corners to left, top, width and height."""
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]
