"""Sixteen pictures shown twenty times each: small changes that leave true what is said about them.

A language model learns sixteen pictures by heart and a new thing in them only as it looks there;
what differs every time is not worth remembering.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from PIL import Image, ImageEnhance, ImageFilter
from torch import Tensor

from groma.data.augment import View
from groma.dice import Dice

_MOST_CUT = 0.15
"""Share of a side that is cut off at each edge; words about places stay true."""
_LIGHT = 0.25
_BLURRED = 0.3
_MOST_BLUR = 0.005
"""Radius as a share of the picture's side."""
_ENHANCERS: tuple[Callable, ...] = (
    ImageEnhance.Brightness,
    ImageEnhance.Contrast,
    ImageEnhance.Color,
)


@dataclass(frozen=True)
class _Varied:
    """A picture that was changed.

    Attributes:
        picture: a square.
        view: what is left of it.
    """

    picture: Image.Image
    view: View


def vary(image: Image.Image, boxes: Tensor, side: int, dice: Dice) -> _Varied:
    """Cut a little off the edges, and change light and sharpness.

    Args:
        image: an RGB picture.
        boxes: (N, 4) xyxy in [0, 1] that stay whole.
        side: of the square in pixels.
        dice: what to draw from.
    """
    view = View(_draw_window(boxes, dice))
    picture = view.picture(image, side)
    for enhancer in _ENHANCERS:
        picture = enhancer(picture).enhance(dice.uniform(1 - _LIGHT, 1 + _LIGHT))
    if dice.maybe(_BLURRED):
        picture = picture.filter(ImageFilter.GaussianBlur(dice.uniform(0, _MOST_BLUR) * side))
    return _Varied(picture, view)


def move_boxes(boxes: Tensor, view: View) -> Tensor:
    """Where (N, 4) boxes are in a view, xyxy in [0, 1]."""
    moved = [view.box((x1, y1, x2, y2)) for x1, y1, x2, y2 in boxes.tolist()]
    return torch.tensor(moved, dtype=torch.float32).reshape(-1, 4)


def _draw_window(boxes: Tensor, dice: Dice) -> tuple[float, float, float, float]:
    """What is left of the picture, xyxy in [0, 1], all boxes included."""
    left, top, right, bottom = (dice.uniform(0, _MOST_CUT) for _ in range(4))
    window = torch.tensor([left, top, 1 - right, 1 - bottom])
    if len(boxes):
        window[:2] = window[:2].minimum(boxes[:, :2].amin(dim=0))
        window[2:] = window[2:].maximum(boxes[:, 2:].amax(dim=0))
    x1, y1, x2, y2 = window.tolist()
    return x1, y1, x2, y2
