"""The drawn things: sprite atlases read once and kept at a few sizes."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from groma.types import GromaError
from recipes.scenes.nouns import NOUNS
from recipes.scenes.scene import Pixels

ATLAS_FOLDER = Path(__file__).parents[1] / "sprite_atlases"
STYLES: tuple[str, ...] = ("fluent3d", "fluentflat", "noto")
"""Styles to train on."""
UNSEEN_STYLE = "twemoji"
"""Never trained on; shows what carries over to other drawings."""
VISIBLE_ALPHA = 64
"""A pixel belongs to a sprite where its opacity (0..255) is at least this."""
_MARGIN = 2


@dataclass(frozen=True, eq=False)
class Sprite:
    """One noun in one style.

    Attributes:
        size: (h, w) of the drawing at full scale, in pixels.
        scales: straight (not premultiplied) RGBA with an empty margin of 2 px, the largest
            first, each half the one before.
        hue: where most of its saturated pixels lie, 0..179 as OpenCV counts.
        hue_share: share of its pixels that are saturated and within 20 of `hue`.
        parts: outlines (k, 2) of its coloured parts, x and y as shares of width and height.
    """

    size: tuple[int, int]
    scales: tuple[Pixels, ...]
    hue: int
    hue_share: float
    parts: tuple[NDArray[np.float32], ...]

    def at(self, side: float) -> Pixels:
        """The smallest stored scale whose longer side is at least `side` pixels."""
        for pixels in reversed(self.scales):
            if max(pixels.shape[:2]) - 2 * _MARGIN >= side:
                return pixels
        return self.scales[0]


@cache
def load_style(style: str) -> dict[str, Sprite]:
    """Noun -> sprite, of one style.

    Raises:
        GromaError: if there is no atlas of that name.
    """
    index = _read_index()
    if style not in index:
        raise GromaError(f"There is no sprite style {style!r}: take one of {', '.join(index)}.")
    table = index[style]
    cell, columns = table["cell"], table["columns"]
    sheet = np.asarray(Image.open(ATLAS_FOLDER / f"{style}.webp").convert("RGBA"))
    sprites = {}
    for position, noun in enumerate(NOUNS):
        row, column = divmod(position, columns)
        width, height = table["sprites"][noun]["size"]
        top, left = row * cell, column * cell
        pixels = sheet[top : top + height, left : left + width]
        outlines = table["sprites"][noun]["parts"]
        parts = (np.array(outline, np.float32).reshape(-1, 2) for outline in outlines)
        shares = tuple(part / np.array([width, height], np.float32) for part in parts)
        sprites[noun] = _make_sprite(pixels, shares)
    return sprites


@cache
def sprite_shapes(styles: tuple[str, ...]) -> NDArray[np.float64]:
    """Shapes of all sprites without reading the pictures.

    Args:
        styles: S atlases.

    Returns:
        (S, 161, 2) width and height, the longer side 1.
    """
    index = _read_index()
    sizes = [[index[style]["sprites"][noun]["size"] for noun in NOUNS] for style in styles]
    shapes = np.array(sizes, np.float64)
    return shapes / shapes.max(axis=-1, keepdims=True)


@cache
def _read_index() -> dict:
    path = ATLAS_FOLDER / "sprites.json"
    if not path.exists():
        raise GromaError(f"The sprite atlases are missing: {path} is part of the checkout.")
    return json.loads(path.read_text(encoding="utf-8"))


def _make_sprite(pixels: Pixels, parts: tuple[NDArray[np.float32], ...]) -> Sprite:
    scales = [_add_margin(pixels)]
    current = premultiply(pixels)
    while max(current.shape[:2]) > 40:
        height, width = (max(1, round(n / 2)) for n in current.shape[:2])
        current = cv2.resize(current, (width, height), interpolation=cv2.INTER_AREA)
        scales.append(_straighten(_add_margin(current)))
    hue, share = _main_hue(pixels)
    return Sprite(pixels.shape[:2], tuple(scales), hue, share, parts)


def _add_margin(rgba: Pixels) -> Pixels:
    return np.pad(rgba, ((_MARGIN, _MARGIN), (_MARGIN, _MARGIN), (0, 0)))


def premultiply(rgba: Pixels) -> Pixels:
    """Colour times opacity, which is what may be resized and blended."""
    alpha = rgba[..., 3]
    colour = cv2.multiply(rgba[..., :3], cv2.merge([alpha, alpha, alpha]), scale=1 / 255)
    return cv2.merge([*cv2.split(colour), alpha])


def _straighten(rgba: Pixels) -> Pixels:
    alpha = np.maximum(rgba[..., 3:], 1).astype(np.float32)
    colour = (rgba[..., :3] * 255.0 / alpha).clip(0, 255).round().astype(np.uint8)
    return np.concatenate([colour, rgba[..., 3:]], axis=2)


def _main_hue(pixels: Pixels) -> tuple[int, float]:
    """The hue most of a sprite's saturated pixels have, and their share of all its pixels."""
    inside = pixels[..., 3] >= VISIBLE_ALPHA
    hsv = cv2.cvtColor(np.ascontiguousarray(pixels[..., :3]), cv2.COLOR_RGB2HSV)[inside]
    saturated = hsv[(hsv[:, 1] >= 60) & (hsv[:, 2] >= 40)]
    counts = np.bincount(saturated[:, 0], minlength=180).astype(np.float32)
    window = np.ones(41, np.float32)
    smooth = np.convolve(np.concatenate([counts[-20:], counts, counts[:20]]), window, "valid")
    near = np.convolve(np.concatenate([counts[-4:], counts, counts[:4]]), np.ones(9), "valid")
    hue = int(np.argmax(near))
    return hue, float(smooth[hue] / len(hsv))
