"""What a user points with: a box, a point, a scribble, a polygon or a mask; frozen data.

All of them are in pixels of the original picture: pixel (x, y) spans x to x + 1 and y to y + 1.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from PIL import Image, ImageDraw

from groma.image import check_box
from groma.limits import LONGEST_MASK, MAX_PIXELS, MAX_SIDE, MOST_POINTS, MOST_STROKES
from groma.types import Box as Corners
from groma.types import GromaError, Size, to_box, to_size

BoolArray = np.ndarray[tuple[int, int], np.dtype[np.bool_]]
"""(H, W), True where a thing is."""

_XY = tuple[float, float]

_WIDTH = 0.02
"""Of a scribble that has none, as a share of the picture's shorter side."""

_LETTERS = re.compile("(?:[P-o]{0,6}[0-O])+")
"""Compressed run lengths: numbers of at most seven letters, the last of each among the second."""


@dataclass(frozen=True)
class Box:
    """Two corners."""

    x1: float
    y1: float
    x2: float
    y2: float

    def to_json(self) -> list[float]:
        """Four numbers; the inverse of `parse_shape`."""
        return [self.x1, self.y1, self.x2, self.y2]

    def box(self, image_size: Size) -> Corners:  # noqa: ARG002
        """The box itself."""
        return self.x1, self.y1, self.x2, self.y2

    def mask(self, image_size: Size) -> BoolArray:
        """Every pixel that it touches, of a picture (H, W)."""
        mask = np.zeros(image_size, dtype=bool)
        rows = slice(math.floor(self.y1), math.ceil(self.y2))
        mask[rows, math.floor(self.x1) : math.ceil(self.x2)] = True
        return mask


@dataclass(frozen=True)
class Point:
    """A place: what it means depends on what is found there."""

    x: float
    y: float

    def to_json(self) -> dict[str, Any]:
        """`{"point": [x, y]}`; the inverse of `parse_shape`."""
        return {"point": [self.x, self.y]}

    def box(self, image_size: Size) -> Corners:
        """The pixel that it lies in, of a picture (H, W)."""
        # A place on the far edge belongs to the last pixel.
        x, y = (
            min(math.floor(at), side - 1)
            for at, side in zip((self.x, self.y), reversed(image_size), strict=True)
        )
        return x, y, x + 1, y + 1

    def mask(self, image_size: Size) -> BoolArray:
        """That pixel."""
        return Box(*self.box(image_size)).mask(image_size)


class _Drawn:
    """What has pixels, and a box around them."""

    def mask(self, image_size: Size) -> BoolArray:
        """Pixels (H, W) of a picture."""
        raise NotImplementedError

    def box(self, image_size: Size) -> Corners:
        """Around its pixels of a picture (H, W)."""
        return box_around(self.mask(image_size))


@dataclass(frozen=True)
class Scribble(_Drawn):
    """Strokes of a pen."""

    strokes: tuple[tuple[_XY, ...], ...]  # each at least one place; lines join neighbours
    width: float | None = None  # in pixels; None is a fiftieth of the picture's shorter side

    def to_json(self) -> dict[str, Any]:
        """`{"scribble": [[[x, y], …], …], "width": w}`; the inverse of `parse_shape`."""
        strokes = [[list(place) for place in stroke] for stroke in self.strokes]
        return {"scribble": strokes} | ({} if self.width is None else {"width": self.width})

    def mask(self, image_size: Size) -> BoolArray:
        """Every pixel that the pen went over, of a picture (H, W)."""
        width = max(1, round(_WIDTH * min(image_size) if self.width is None else self.width))

        def draw(canvas: ImageDraw.ImageDraw) -> None:
            for stroke in self.strokes:
                places = [(math.floor(x), math.floor(y)) for x, y in stroke]
                canvas.point(places, fill=1)
                canvas.line(places, fill=1, width=width)
                # Pillow leaves ends flat and corners open; a pen is round.
                for x, y in places:
                    before, after = (width - 1) // 2, width // 2
                    canvas.ellipse((x - before, y - before, x + after, y + after), fill=1)

        return _drawn(image_size, draw)


@dataclass(frozen=True)
class Polygon(_Drawn):
    """A closed outline; the last place is joined to the first."""

    points: tuple[_XY, ...]

    def to_json(self) -> dict[str, Any]:
        """`{"polygon": [[x, y], …]}`; the inverse of `parse_shape`."""
        return {"polygon": [list(place) for place in self.points]}

    def mask(self, image_size: Size) -> BoolArray:
        """Every pixel inside and below the outline, of a picture (H, W)."""
        places = [(math.floor(x), math.floor(y)) for x, y in self.points]
        return _drawn(image_size, lambda canvas: canvas.polygon(places, fill=1, outline=1))


@dataclass(frozen=True)
class Mask(_Drawn):
    """Pixels, as COCO's run lengths down the columns.

    Raises `GromaError` if the run lengths are damaged, do not fill the size, or cover nothing.
    """

    size: Size  # (H, W) of the picture
    counts: str  # compressed, as pycocotools writes them

    def __post_init__(self) -> None:
        _read_runs(self.size, self.counts)

    @classmethod
    def of(cls, pixels: np.ndarray) -> Self:
        """A mask of (H, W) pixels, not 0 where the thing is; raises `GromaError` if all are."""
        from supervision import mask_to_rle  # late: it takes a second, and most need no mask

        height, width = pixels.shape
        counts = mask_to_rle(pixels.astype(bool), compressed=True)
        assert isinstance(counts, str)
        return cls((height, width), counts)

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read `{"size": [h, w], "counts": …}`, compressed or a list of numbers.

        Raises `GromaError` if it is something else, or as the class says.
        """
        try:
            size, counts = to_size(data["size"]), data["counts"]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise GromaError('The mask must be {"size": [h, w], "counts": …}.') from None
        if isinstance(counts, list):
            return cls.of(_fill(size, _read_runs(size, counts)))
        return cls(size, counts)

    def to_run_lengths(self) -> dict[str, Any]:
        """`{"size": [h, w], "counts": "…"}`; the inverse of `from_json`."""
        return {"size": list(self.size), "counts": self.counts}

    def to_json(self) -> dict[str, Any]:
        """`{"mask": {"size": [h, w], "counts": "…"}}`; the inverse of `parse_shape`."""
        return {"mask": self.to_run_lengths()}

    def mask(self, image_size: Size) -> BoolArray:
        """Its pixels; raises `GromaError` if the picture (H, W) has another size."""
        self.check_size(image_size)
        return _fill(self.size, _read_runs(self.size, self.counts))

    def check_size(self, image_size: Size) -> None:
        """Refuse, by `GromaError`, a picture (H, W) of another size."""
        if image_size != self.size:
            (height, width), (theirs, across) = self.size, image_size
            raise GromaError(
                f"The mask is of a picture of {width} x {height} pixels, but this one has "
                f"{across} x {theirs}."
            )


Shape = Box | Point | Scribble | Polygon | Mask


def parse_shape(value: Any) -> Shape:
    """Read a shape from JSON: the inverse of `to_json`.

    It is `[x1, y1, x2, y2]`, `{"point": [x, y]}`, `{"polygon": [[x, y], …]}`,
    `{"scribble": [[[x, y], …], …], "width": w}`, or `{"mask": {"size": [h, w], "counts": …}}` with
    COCO's run lengths, compressed or not. Raises `GromaError` if it is nothing of that, or out of
    bounds.
    """
    if isinstance(value, Mapping):
        kinds = [kind for kind in _PARSERS if kind in value]
        if len(kinds) == 1:
            return _PARSERS[kinds[0]](value)
    else:
        with suppress(TypeError, ValueError, OverflowError):
            return Box(*to_box(value))
    raise GromaError(
        f"A region must be a box of four numbers x1, y1, x2, y2, or a {', '.join(_PARSERS)}."
    )


def read_shape(value: Any, image_size: Size, number: int = 1) -> Shape:
    """Read a region of a picture (H, W) as a program, a page or a file gives it.

    It is a shape, or one as JSON, see `parse_shape`. What hangs over the picture's edge is cut, of
    a box; of the others it does not count. Raises `GromaError`, naming the region by its number, if
    it is no shape, or outside the picture.
    """
    if isinstance(value, Shape):
        value = value.to_json()
    if not isinstance(value, Mapping):
        return Box(*check_box(value, image_size, number))
    try:
        shape = parse_shape(value)
        if not _is_inside(shape, image_size):
            raise GromaError("It lies outside the picture.")
    except GromaError as error:
        raise GromaError(f"Region {number}: {error}") from error
    return shape


def read_shapes(values: Sequence[Any], image_size: Size, limit: int) -> list[Shape]:
    """Read all regions of a question about a picture (H, W); see `read_shape`.

    Raises `GromaError`, naming the first that is wrong; or if there are more than `limit`.
    """
    if len(values) > limit:
        raise GromaError(f"{len(values)} regions are too many: at most {limit} can be given.")
    return [read_shape(value, image_size, number) for number, value in enumerate(values, start=1)]


def box_around(mask: BoolArray) -> Corners:
    """The box xyxy in pixels of a mask (H, W) that is not empty."""
    (top, bottom), (left, right) = (np.flatnonzero(mask.any(axis=axis))[[0, -1]] for axis in (1, 0))
    return float(left), float(top), float(right + 1), float(bottom + 1)


def _drawn(image_size: Size, draw: Callable[[ImageDraw.ImageDraw], None]) -> BoolArray:
    """What a drawing covers of a picture (H, W)."""
    height, width = image_size
    canvas = Image.new("L", (width, height))
    draw(ImageDraw.Draw(canvas))
    return np.asarray(canvas).astype(bool)


def _read_runs(size: Size, counts: Any) -> np.ndarray:
    """Run lengths, of pixels outside and inside in turn, that a stranger may have written.

    Raises `GromaError` if they are too many, damaged, of another size (H, W), or cover nothing.
    """
    height, width = size
    if height * width > MAX_PIXELS:
        raise GromaError(f"The mask is too large: at most {MAX_PIXELS:,} pixels can be read.")
    if not isinstance(counts, str | list) or len(counts) > LONGEST_MASK:
        raise GromaError(
            f"The mask's counts must be text or a list, at most {LONGEST_MASK:,} long."
        )
    try:
        runs = _uncompress(counts) if isinstance(counts, str) else np.array(counts, dtype=np.int64)
        is_whole = runs.ndim == 1 and (runs >= 0).all() and runs.sum() == height * width
    except (ValueError, TypeError, OverflowError):
        is_whole = False
    if not is_whole:
        raise GromaError(f"The mask's counts are damaged, or no mask of {width} x {height} pixels.")
    if not runs[1::2].any():
        raise GromaError("The mask is empty: it covers no pixel.")
    return runs


def _uncompress(counts: str) -> np.ndarray:
    """Run lengths of what pycocotools writes: five bits a letter, the last tells the sign."""
    if not _LETTERS.fullmatch(counts):
        raise ValueError("a letter that is none of theirs, or a number that breaks off")
    bits = np.frombuffer(counts.encode(), dtype=np.uint8).astype(np.int64) - ord("0")
    last = np.flatnonzero(bits < 32)
    first = np.append(0, last[:-1] + 1)
    place = 5 * (np.arange(len(bits)) - np.repeat(first, last - first + 1))
    runs = np.add.reduceat((bits & 31) << place, first)
    runs -= ((bits[last] & 16) << 1) << place[last]
    # From the fourth on, what is written is the difference to the last but one.
    runs[1::2], runs[2::2] = runs[1::2].cumsum(), runs[2::2].cumsum()
    return runs


def _fill(size: Size, runs: np.ndarray) -> BoolArray:
    """Pixels (H, W), column by column."""
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(size, order="F")


def _is_inside(shape: Shape, image_size: Size) -> bool:
    """Whether a shape has a pixel in a picture (H, W)."""
    if isinstance(shape, Mask):
        shape.check_size(image_size)
        return True
    if isinstance(shape, Point):  # which has one wherever it lies
        return 0 <= shape.x <= image_size[1] and 0 <= shape.y <= image_size[0]
    return bool(shape.mask(image_size).any())


def _read_places(values: Any, least: int) -> tuple[_XY, ...]:
    """Places x, y, at least as many as told.

    Raises `GromaError` if they are something else, too many, or too far away.
    """
    if isinstance(values, Sequence) and len(values) > MOST_POINTS:
        raise GromaError(f"It has more than {MOST_POINTS:,} points.")
    try:
        places = tuple((float(x), float(y)) for x, y in values)
    except (TypeError, ValueError, OverflowError):
        raise GromaError("A point must be two numbers x, y in pixels.") from None
    if len(places) < least:
        raise GromaError(f"There must be at least {least} points in a line.")
    if not all(abs(at) <= MAX_SIDE for place in places for at in place):
        raise GromaError("A point lies far outside the picture.")
    return places


def _parse_scribble(value: Mapping[str, Any]) -> Scribble:
    strokes, width = value["scribble"], value.get("width")
    if not isinstance(strokes, Sequence) or not 1 <= len(strokes) <= MOST_STROKES:
        raise GromaError(f"A scribble must be a list of 1 to {MOST_STROKES} strokes.")
    read = tuple(_read_places(stroke, 1) for stroke in strokes)
    if sum(map(len, read)) > MOST_POINTS:
        raise GromaError(f"It has more than {MOST_POINTS:,} points.")
    if width is not None:
        try:
            width = float(width)
        except (TypeError, ValueError, OverflowError):
            width = math.nan
        if not 0 < width <= MAX_SIDE:
            raise GromaError(f"The width must be above 0 and at most {MAX_SIDE:,} pixels.")
    return Scribble(read, width)


_PARSERS: Mapping[str, Callable[[Mapping[str, Any]], Shape]] = {
    "point": lambda value: Point(*_read_places([value["point"]], 1)[0]),
    "scribble": _parse_scribble,
    "polygon": lambda value: Polygon(_read_places(value["polygon"], 3)),
    "mask": lambda value: Mask.from_json(value["mask"]),
}
