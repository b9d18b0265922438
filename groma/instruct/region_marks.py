"""Numeric marks on the regions of a picture, for a writer to speak of (paper 4, Set-of-Mark).

A mark stands at its region's centre if it hides little of that region and of every other one;
otherwise at the nearest place where it does, beside a small region with a line that leads to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from groma.drawing.boxes import region_colour, text_colour
from groma.types import Box, Size

_HIDDEN = 0.12  # share of any region that a mark may hide where there is another place for it

_SMALLEST_SIDE = 640  # A picture whose longer side is shorter, in pixels, is enlarged

_HIDING, _CLASHING, _STRANGE, _OUTSIDE = 100.0, 1000.0, 3.0, 2.0
"""What a place costs beside its distance from the centre in heights of a mark."""


@dataclass(frozen=True)
class _Mark:
    """One number on the picture."""

    number: int  # from 1
    box_px: Box  # the mark itself, xyxy in pixels
    # (x, y) where a line from the mark leads to, or None where it stands in its region.
    tip_px: tuple[float, float] | None


def resize_for_marks(image: Image.Image, longest_side: int) -> Image.Image:
    """Bring an RGB picture to a size at which its marks can be read, and hide little.

    Marks drawn before a picture is reduced cannot be read; on a tiny picture they hide it.
    """
    side = min(max(*image.size, _SMALLEST_SIDE), longest_side)
    return ImageOps.contain(image, (side, side), Image.Resampling.LANCZOS)


def draw_marks(image: Image.Image, boxes_px: Sequence[Box]) -> Image.Image:
    """A copy of an RGB picture with outline and number of every region, xyxy in its pixels."""
    marked = image.copy()
    draw = ImageDraw.Draw(marked)
    size = (image.height, image.width)
    height = _mark_height(size)
    line = max(1, round(height / 12))
    for number, (x1, y1, x2, y2) in enumerate(boxes_px, start=1):
        # Around the region, not on it: the outline of a small one would cover it.
        outline = (x1 - line, y1 - line, x2 + line - 1, y2 + line - 1)
        draw.rectangle(outline, outline=region_colour(number - 1), width=line)
    marks = _place_marks(boxes_px, size)
    for mark in marks:
        if mark.tip_px is not None:
            x, y = _centre(mark.box_px)
            draw.line((x, y, *mark.tip_px), fill=region_colour(mark.number - 1), width=line)
    for mark in marks:
        colour = region_colour(mark.number - 1)
        ink = text_colour(colour)
        draw.rounded_rectangle(mark.box_px, height / 5, fill=colour, outline=ink)
        centre = _centre(mark.box_px)
        draw.text(centre, str(mark.number), fill=ink, font=_font(height), anchor="mm")
    return marked


def _place_marks(boxes_px: Sequence[Box], size: Size) -> list[_Mark]:
    """Find a place for every number on a picture of size (H, W); boxes are xyxy in its pixels.

    Returns marks inside the picture, in the order of the boxes. As far as there is room no two
    cover each other, and none hides more than `_HIDDEN` of any region.
    """
    boxes = np.asarray(boxes_px, dtype=float).reshape(-1, 4)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    placed: dict[int, NDArray] = {}
    # Small regions have the least choice, so they choose first.
    for index in np.argsort(areas, kind="stable"):
        places = _candidates(boxes[index], _mark_size(int(index) + 1, size), size)
        costs = _costs(places, int(index), boxes, areas, np.array([*placed.values()]))
        placed[int(index)] = places[costs.argmin()]
    return [_mark(index, placed[index], boxes[index]) for index in range(len(boxes))]


def _mark_height(size: Size) -> int:
    """Height of all marks in pixels of a picture of `size` (H, W)."""
    return int(np.clip(round(min(size) / 24), 14, 48))


def _mark_size(number: int, size: Size) -> tuple[float, float]:
    """Width and height of a mark in pixels of a picture of `size` (H, W)."""
    height = _mark_height(size)
    return max(height, 0.55 * height * len(str(number)) + 0.4 * height), height


def _candidates(box: NDArray, mark: tuple[float, float], size: Size) -> NDArray:
    """(C, 4) places in a region, the centre first, and on rings around it; all in the picture."""
    half = np.array(mark) / 2
    centre, reach = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    room = np.maximum(reach - half, 0)
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 9)] * 2), axis=-1).reshape(-1, 2)
    turns = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    # Around a square rather than a circle: a ring follows the sides of its box.
    ring = np.stack([np.cos(turns), np.sin(turns)], axis=-1)
    ring /= np.abs(ring).max(axis=1, keepdims=True)
    rings = [ring * (reach + half * (1.3 + gap)) for gap in (0, 1, 2, 4, 7, 11)]
    centres = centre + np.concatenate([np.zeros((1, 2)), grid * room, *rings])
    limit = np.array([size[1], size[0]]) - half
    centres = np.clip(centres, np.minimum(half, limit), np.maximum(half, limit))
    return np.concatenate([centres - half, centres + half], axis=1)


def _costs(places: NDArray, index: int, boxes: NDArray, areas: NDArray, marks: NDArray) -> NDArray:
    """(C,) what every place of one region's mark costs."""
    centres = (places[:, :2] + places[:, 2:]) / 2
    target = (boxes[index, :2] + boxes[index, 2:]) / 2
    height = places[0, 3] - places[0, 1]
    distance = np.linalg.norm(centres - target, axis=1) / height
    hidden = _shared(places, boxes) / np.maximum(areas, 1e-9)
    too_much = np.where(hidden > _HIDDEN, 0.2 + hidden - _HIDDEN, 0).sum(axis=1)
    is_inside = np.all((centres[:, None] >= boxes[:, :2]) & (centres[:, None] <= boxes[:, 2:]), -1)
    # On a smaller region a mark would be taken for that one's.
    strange = (is_inside & (areas < areas[index])).sum(axis=1)
    own = _shared(places, boxes[[index]])[:, 0]
    outside = 1 - own / np.prod(places[:, 2:] - places[:, :2], axis=1)
    clashes = (_shared(places, marks) > 0).sum(axis=1) if len(marks) else 0
    return (
        distance
        + _HIDING * too_much
        + _STRANGE * strange
        + _OUTSIDE * (outside > 0.5)
        + _CLASHING * clashes
    )


def _shared(a: NDArray, b: NDArray) -> NDArray:
    """(N, M) areas that boxes (N, 4) and (M, 4) share."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.prod(np.maximum(high - low, 0), axis=2)


def _mark(index: int, place: NDArray, box: NDArray) -> _Mark:
    left, top, right, bottom = (float(value) for value in place)
    x, y = (left + right) / 2, (top + bottom) / 2
    near = (float(np.clip(x, box[0], box[2])), float(np.clip(y, box[1], box[3])))
    return _Mark(index + 1, (left, top, right, bottom), None if near == (x, y) else near)


def _centre(box: Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


@cache
def _font(height: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(0.8 * height)
