"""Masks by colour alone: OpenCV's GrabCut (Rother et al. 2004), rough and at hand everywhere."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from groma.shapes import BoolArray, Box, Mask, Point, box_around
from groma.types import GromaError

_MARGIN = 0.1
"""Of a box's side: how much around it is looked at as background."""
_SIDE = 150
"""Pixels of the longer side at which it is cut: more take longer and are not cut better."""
_ROUNDS = 5


class GrabCut:
    """Parts what is in a box from what is around it by their colours.

    Raises:
        GromaError: if OpenCV is not installed.
    """

    def __init__(self) -> None:
        try:
            import cv2  # noqa: F401
        except ImportError as error:
            raise GromaError(
                "GrabCut needs OpenCV: pip install opencv-python-headless, or name a segmenter."
            ) from error

    def look(self, picture: Image.Image) -> "_GrabCutPicture":
        """See `MaskMaker`; there is nothing to be computed."""
        return _GrabCutPicture(np.asarray(picture))


class _GrabCutPicture:
    """One picture.

    Args:
        pixels: (H, W, 3) RGB, 8 bit.
    """

    maker = "GrabCut (rough)"
    takes_points = False

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels

    @property
    def num_bytes(self) -> int:
        """Memory that it holds."""
        return self._pixels.nbytes

    def masks(self, prompts: Sequence[Box | Point]) -> list[Mask]:
        """See `PictureMasks`; of a point, its pixel."""
        return [Mask.of(self._cut(prompt)) for prompt in prompts]

    def _cut(self, prompt: Box | Point) -> BoolArray:
        height, width = self._pixels.shape[:2]
        inside = prompt.mask((height, width))
        x1, y1, x2, y2 = box_around(inside)
        across, down = _MARGIN * (x2 - x1) + 1, _MARGIN * (y2 - y1) + 1
        rows = slice(max(0, math.floor(y1 - down)), min(height, math.ceil(y2 + down)))
        columns = slice(max(0, math.floor(x1 - across)), min(width, math.ceil(x2 + across)))
        found = np.zeros_like(inside)
        found[rows, columns] = _part(self._pixels[rows, columns], inside[rows, columns])
        found &= inside
        return found if found.any() else inside


def _part(pixels: np.ndarray, inside: BoolArray) -> BoolArray:
    """What of a cutting (h, w, 3) is a thing, if it is one of those pixels (h, w) or none."""
    import cv2

    height, width = inside.shape
    scale = _SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    hoped = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    labels = np.where(hoped, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    if hoped.all():
        # Of a box as large as the picture, the edge must do for background.
        labels[[0, -1]] = labels[:, [0, -1]] = cv2.GC_BGD
    cv2.setRNGSeed(0)  # its clusters begin at random
    try:
        colours = np.zeros((2, 1, 65))
        cv2.grabCut(small, labels, (0, 0, 1, 1), *colours, _ROUNDS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return inside  # too few pixels for its clusters
    is_thing = (labels == cv2.GC_PR_FGD).astype(np.uint8)
    return cv2.resize(is_thing, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
