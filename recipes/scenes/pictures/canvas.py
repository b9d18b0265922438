"""A picture in the making: pastes patches and keeps the books on who is seen where."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from groma.types import Box, Size
from recipes.scenes.pictures.patch import Patch
from recipes.scenes.scene import Pixels

MIN_VISIBLE = 0.6
"""Share of each thing that must stay in sight."""
MAX_OVERLAP = 0.35
"""Most intersection over union that two things' whole boxes may have."""
MIN_CONTRAST = 10.0
"""Least mean change (0..255) that a thing must make to what it is painted on."""


@dataclass(eq=False)
class Placed:
    """A pasted patch: where its top left lies, whole and visible pixel counts."""

    patch: Patch
    left: int
    top: int
    total: int
    seen: int
    box: Box


class Canvas:
    """Pixels, the owner of every pixel, and what has been placed so far.

    Attributes:
        pixels: (H, W, 3) uint8 RGB, painted in place.
        owner: (H, W) uint8, 1 + index of the thing seen there, 0 for background.
        placed: in painting order.
    """

    def __init__(self, pixels: Pixels):
        self.pixels = pixels
        self.owner = np.zeros(pixels.shape[:2], np.uint8)
        self.placed: list[Placed] = []

    @property
    def size(self) -> Size:
        """(H, W)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def paste(self, patch: Patch, left: int, top: int) -> bool:
        """Paint a patch with its top left at (left, top), unless that would hide too much.

        Returns:
            False, with nothing changed, if it would leave too little of itself or another thing
            visible, overlap another box too much, or not stand out from what is behind it.
        """
        height, width = self.size
        x0, y0 = max(0, left), max(0, top)
        x1 = min(width, left + patch.alpha.shape[1])
        y1 = min(height, top + patch.alpha.shape[0])
        box = (float(x0), float(y0), float(x1), float(y1))
        if x1 - x0 < 4 or y1 - y0 < 4:
            return False
        if any(box_iou(box, other.box) > MAX_OVERLAP for other in self.placed):
            return False
        window = (slice(y0, y1), slice(x0, x1))
        inside = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        mask, total = patch.visible[inside], patch.area
        seen = int(np.count_nonzero(mask))
        if seen < MIN_VISIBLE * total or not self._leaves_others(window, mask):
            return False
        painted = _blend(self.pixels[window], patch.colour[inside], patch.alpha[inside])
        if _contrast(painted, self.pixels[window], mask) < MIN_CONTRAST:
            return False
        self.pixels[window] = painted
        self.owner[window][mask] = len(self.placed) + 1
        self.placed.append(Placed(patch, left, top, total, seen, box))
        return True

    def _leaves_others(self, window: tuple[slice, slice], mask: NDArray[np.bool_]) -> bool:
        """Whether all earlier things stay visible; then takes the newly hidden off their count."""
        if not self.placed:
            return True
        hidden = np.bincount(self.owner[window][mask], minlength=len(self.placed) + 1)
        for thing, count in zip(self.placed, hidden[1:], strict=False):
            if thing.seen - count < MIN_VISIBLE * thing.total:
                return False
        for thing, count in zip(self.placed, hidden[1:], strict=False):
            thing.seen -= int(count)
        return True

    def visible_box(self, index: int) -> Box:
        """Tight box of the visible pixels of one thing, xyxy in pixels."""
        x0, y0, x1, y1 = (int(edge) for edge in self.placed[index].box)
        mine = self.owner[y0:y1, x0:x1] == index + 1
        rows, columns = np.flatnonzero(mine.any(axis=1)), np.flatnonzero(mine.any(axis=0))
        return (
            float(x0 + columns[0]),
            float(y0 + rows[0]),
            float(x0 + columns[-1] + 1),
            float(y0 + rows[-1] + 1),
        )

    def part_boxes(self, index: int, smallest: float) -> list[Box]:
        """Boxes of a thing's coloured parts that are wholly in view and not too small.

        Args:
            index: of the thing.
            smallest: least length of a side, in pixels.
        """
        thing = self.placed[index]
        frame = self.visible_box(index)
        corner = np.array([thing.left, thing.top], np.float32)
        boxes = []
        for outline in thing.patch.parts:
            placed = outline + corner
            low, high = placed.min(axis=0), placed.max(axis=0)
            box = (float(low[0]), float(low[1]), float(high[0]), float(high[1]))
            inside = low[0] >= frame[0] - 1 and low[1] >= frame[1] - 1
            inside &= high[0] <= frame[2] + 1 and high[1] <= frame[3] + 1
            large = (high - low).min() >= smallest
            if inside and large and self._owns(index, box) and box_iou(box, frame) < 0.7:
                boxes.append(_clip(box, frame))
        return boxes

    def _owns(self, index: int, box: Box) -> bool:
        """Whether nothing else is seen inside a box but this thing and background."""
        x0, y0, x1, y1 = (int(edge) for edge in box)
        window = self.owner[max(0, y0) : y1, max(0, x0) : x1]
        return bool(((window == index + 1) | (window == 0)).all())


def box_iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, without the cost of tensors."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    area_a, area_b = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return shared / (area_a + area_b - shared)


def _clip(box: Box, frame: Box) -> Box:
    return (
        max(box[0], frame[0]),
        max(box[1], frame[1]),
        min(box[2], frame[2]),
        min(box[3], frame[3]),
    )


def _blend(under: Pixels, colour: Pixels, alpha: Pixels) -> Pixels:
    rest = cv2.bitwise_not(alpha)
    return cv2.add(colour, cv2.multiply(under, cv2.merge([rest, rest, rest]), scale=1 / 255))


def _contrast(new: Pixels, old: Pixels, mask: NDArray[np.bool_]) -> float:
    changed = cv2.mean(cv2.absdiff(new, old), mask.astype(np.uint8))
    return sum(changed[:3]) / 3
