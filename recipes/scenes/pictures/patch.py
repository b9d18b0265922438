"""One sprite turned, scaled and filtered: what is pasted into a picture."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from groma.dice import Dice
from recipes.scenes.pictures.filters import Filter
from recipes.scenes.pictures.sprites import VISIBLE_ALPHA, Sprite, premultiply
from recipes.scenes.scene import Pixels

_MARGIN = 2
MAX_TURN = math.radians(20)


@dataclass(frozen=True, eq=False)
class Patch:
    """A drawn thing, cut out.

    Attributes:
        colour: (h, w, 3) uint8, premultiplied with the opacity.
        alpha: (h, w) uint8 opacity.
        visible: (h, w) bool, where the thing counts as seen.
        parts: outlines (k, 2) of coloured parts, x and y in pixels of the patch.
    """

    colour: Pixels
    alpha: Pixels
    visible: NDArray[np.bool_]
    parts: tuple[NDArray[np.float32], ...]

    @property
    def area(self) -> int:
        """Pixels that count as seen."""
        return int(np.count_nonzero(self.visible))


def draw_patch(sprite: Sprite, side: float, filters: list[Filter], dice: Dice, warp: bool) -> Patch:
    """Filter a sprite, flip, turn and scale it.

    Args:
        sprite: what to draw.
        side: length of its longer side before turning, in pixels.
        filters: applied in order at about the drawn size.
        dice: where flip, angle and shear come from.
        warp: also shear and stretch by up to 15 %.
    """
    pixels = sprite.at(side)
    for change in filters:
        pixels = change(pixels, dice)
    height, width = (n - 2 * _MARGIN for n in pixels.shape[:2])
    matrix = _draw_matrix(side / max(height, width), dice, warp)
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32) * pixels.shape[1::-1]
    placed = corners @ matrix.T
    low = placed.min(axis=0)
    out_width, out_height = np.ceil(placed.max(axis=0) - low).astype(int).tolist()
    affine = np.column_stack([matrix, -low])
    drawn = cv2.warpAffine(
        premultiply(pixels), affine, (out_width, out_height), flags=cv2.INTER_LINEAR
    )
    parts = tuple(
        (part * (width, height) + _MARGIN).astype(np.float32) @ matrix.T - low
        for part in sprite.parts
    )
    return _trim(drawn, parts)


def _draw_matrix(scale: float, dice: Dice, warp: bool) -> NDArray[np.float32]:
    """(2, 2): flip, shear and stretch, then turn by at most 20 degrees, then scale."""
    angle = dice.uniform(-MAX_TURN, MAX_TURN) if dice.maybe(0.6) else 0.0
    across, down, shear = 1.0, 1.0, 0.0
    if warp:
        across, down = dice.uniform(0.87, 1.0), dice.uniform(0.87, 1.0)
        shear = dice.uniform(-0.15, 0.15)
    if dice.maybe(0.5):
        across = -across
    cosine, sine = math.cos(angle) * scale, math.sin(angle) * scale
    turn = np.array([[cosine, -sine], [sine, cosine]], np.float32)
    return turn @ np.array([[across, shear], [0.0, down]], np.float32)


def _trim(rgba: Pixels, parts: tuple[NDArray[np.float32], ...]) -> Patch:
    """Cut the patch down to what counts as seen; faint fringes beyond it go."""
    visible = rgba[..., 3] >= VISIBLE_ALPHA
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    if not rows.size:
        return Patch(rgba[:0, :0, :3], rgba[:0, :0, 3], visible[:0, :0], ())
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    rgba, visible = rgba[top:bottom, left:right], visible[top:bottom, left:right]
    corner = np.array([left, top], np.float32)
    return Patch(
        np.ascontiguousarray(rgba[..., :3]),
        np.ascontiguousarray(rgba[..., 3]),
        visible,
        tuple(part - corner for part in parts),
    )
