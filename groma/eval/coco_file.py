"""COCO-like annotation files, read whole: those of benchmarks are small."""

import json
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from groma.types import Box, GromaError, Size, to_size

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class CocoFile:
    """What a COCO-like file holds.

    Attributes:
        images: entries, each with an `id`.
        annotations: by the id of their image, in the order of the file.
        categories: entries with `id` and `name`; empty where there are none.
    """

    images: tuple[Entry, ...]
    annotations: Mapping[Any, Sequence[Entry]]
    categories: tuple[Entry, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; within `reading`, which explains what is wrong with one."""
        data = json.loads(path.read_bytes())
        annotations = defaultdict(list)
        for annotation in data["annotations"]:
            annotations[annotation["image_id"]].append(annotation)
        return cls(tuple(data["images"]), dict(annotations), tuple(data.get("categories", ())))


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Explain what is wrong with a file that is no JSON, or lacks a field.

    Raises:
        GromaError: naming the file.
    """
    try:
        yield
    except GromaError:
        raise
    except KeyError as error:
        raise GromaError(f"{path} is no file of this benchmark: {error} is missing.") from error
    except (ValueError, TypeError, AttributeError, IndexError) as error:
        raise GromaError(f"{path} is no file of this benchmark: {error}.") from error


def size_of(image: Entry) -> Size:
    """(H, W) of an entry of `images`."""
    return to_size((image["height"], image["width"]))


def to_xywh(box: Box) -> list[float]:
    """Corners to left, top, width and height."""
    return [box[0], box[1], box[2] - box[0], box[3] - box[1]]
