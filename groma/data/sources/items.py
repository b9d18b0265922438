"""What parsers make of an item of a public data set, and how they refuse one."""

import csv
import math
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal, Protocol, TypeVar

from groma.data.sample import GroundedSample
from groma.foreign import read_text
from groma.types import Box, GromaError, Size

Head = Literal["coco", "sa1b"]
Kind = Literal["detection", "conversation"]

UNKNOWN_SIZE: Size = (0, 0)
"""Size of a picture where the annotations do not say; whoever opens the picture knows it."""


@dataclass(frozen=True, slots=True)
class DetectionSample:
    """A picture's boxes for detection pretraining (paper 3.3)."""

    picture: str  # file name, below the folder of the source's pictures
    size: Size  # (H, W) in pixels, or `UNKNOWN_SIZE`
    boxes: tuple[Box, ...]  # xyxy in [0, 1], at least one
    names: tuple[str, ...]  # what each box holds; empty where the data has no classes
    head: Head  # which objectness head they train: `coco` for whole objects, `sa1b` for any segment


Sample = GroundedSample | DetectionSample
_Parser = Callable[[Any, Counter[str]], Sample]
"""Makes a sample of a raw item, and counts the reasons for which parts of it are left out."""
_Part = TypeVar("_Part")

_ENDING = re.compile(r"\.(jpe?g|png|webp|gif|bmp|tiff?|avif|jp2|ppm)$", re.IGNORECASE)
_OLD_COCO_NAME = re.compile(r"COCO_[a-z]+\d{4}_(\d{12})(_\d+)?")
_MALFORMED = (
    *(TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError),
    csv.Error,
)


class BrokenItem(GromaError):  # noqa: N818
    """An item that cannot be used; the message is a reason without particulars, to be counted."""


class LeftOut(BrokenItem):
    """An item that could be used, but whose picture is in a list of those to be left out."""


class _Records(Protocol):
    """Raw items by index."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int) -> Any:
        """One of them; raises `BrokenItem` where it cannot be decoded."""
        ...


@dataclass(frozen=True)
class Samples:
    """The samples of one source by index."""

    records: _Records  # where raw items come from
    parse: _Parser  # makes a sample of one; picklable
    kind: Kind  # what the samples are for
    # Most questions about one picture that one sample keeps; None keeps all.
    turns: int | None = None
    # Keys of pictures that are left out, as `picture_key` makes them.
    without: frozenset[str] = frozenset()

    def __len__(self) -> int:
        """How many items there are, broken ones and those to be left out included."""
        return len(self.records)

    def __getitem__(self, index: int) -> Sample:
        """Parse one item; see `read`."""
        return self.read(index, Counter())

    def read(self, index: int, lost: Counter[str]) -> Sample:
        """Parse one item; `lost` counts, by reason, the parts that are left out of it.

        Raises `LeftOut` if its picture is to be left out, `BrokenItem`, with the reason, whatever
        is wrong with it, and `IndexError` beyond the end.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        with refused():
            sample = self.parse(self.records[index], lost)
        if self.without and picture_key(sample.picture) in self.without:
            raise LeftOut("a picture that is to be left out")
        return sample


def picture_key(name: str) -> str:
    """What a picture is called in every data set that holds it: its name without folder and ending.

    COCO's pictures are called by their twelve digits, as since 2017.
    """
    stem = _ENDING.sub("", PurePosixPath(name.replace("\\", "/")).name)
    old = _OLD_COCO_NAME.fullmatch(stem)
    return old[1] if old else stem


@contextmanager
def refused() -> Generator[None]:
    """Turn what a parser raises over malformed data into `BrokenItem`."""
    try:
        yield
    except BrokenItem:
        raise
    except GromaError as error:
        raise BrokenItem(str(error)) from error
    except KeyError as error:
        raise BrokenItem(f"no field {error}") from error
    except _MALFORMED as error:
        raise BrokenItem("a field of the wrong type") from error


def read_parts(
    entries: Iterable[Any], read: Callable[[Any], _Part], lost: Counter[str], needed: bool = True
) -> list[_Part]:
    """Read the boxes of an item, or other parts of it, without those that are broken.

    What `read` raises over malformed data leaves a part out, which `lost` counts by reason. The
    others stay in their order; if none is left of those needed, `BrokenItem` is raised for the
    reason of the first one.
    """
    parts: list[_Part] = []
    reasons: list[str] = []
    for entry in entries:
        try:
            with refused():
                parts.append(read(entry))
        except BrokenItem as error:
            reasons.append(str(error))
    if needed and not parts:
        raise BrokenItem(reasons[0] if reasons else "no box")
    lost.update(reasons)
    return parts


def picture_size(fields: Any) -> Size:
    """(H, W) of `height` and `width`, or `UNKNOWN_SIZE` where there is neither.

    Raises `BrokenItem` if they are no positive numbers.
    """
    if "height" not in fields and "width" not in fields:
        return UNKNOWN_SIZE
    height, width = int(fields["height"]), int(fields["width"])
    if height <= 0 or width <= 0:
        raise BrokenItem("a picture without size")
    return height, width


def box_from_xywh(values: Sequence[float], size: Size) -> Box:
    """Turn left, top, width and height in pixels into xyxy in [0, 1]; see `box_from_xyxy`."""
    left, top, width, height = (float(value) for value in values)
    return box_from_xyxy((left, top, left + width, top + height), size)


def box_from_xyxy(values: Sequence[float], size: Size = (1, 1)) -> Box:
    """Scale a box, in the unit of the size (H, W), to [0, 1], and cut what hangs over the edge.

    Raises `BrokenItem` if it is not finite, has no area, or lies outside the picture.
    """
    height, width = size
    if not (height and width):
        raise BrokenItem("boxes in pixels, but no size of the picture")
    left, top, right, bottom = (float(value) for value in values)
    if not all(map(math.isfinite, (left, top, right, bottom))):
        raise BrokenItem("a box that is not finite")
    if right <= left or bottom <= top:
        raise BrokenItem("a box without area")
    left, right = max(0.0, left / width), min(1.0, right / width)
    top, bottom = max(0.0, top / height), min(1.0, bottom / height)
    if right <= left or bottom <= top:
        raise BrokenItem("a box outside the picture")
    return left, top, right, bottom


def words(value: Any) -> str:
    """Text with single spaces, or a number as text; raises `BrokenItem` if there is none."""
    if not (text := read_text(value)):
        raise BrokenItem("an empty text")
    return text
