"""Changes to one sprite's looks: the asked colours, and hard augmentation for unseen styles.

Every function takes and returns a straight (not premultiplied) RGBA array (h, w, 4) uint8.
"""

from collections.abc import Callable

import cv2
import numpy as np

from groma.dice import Dice
from recipes.scenes.nouns import TINT_HUES
from recipes.scenes.pictures.sprites import Sprite
from recipes.scenes.scene import Pixels

_SATURATED = 60
_FAR = 24
"""Hues (of 180) further than this from a sprite's main hue are another colour."""
Filter = Callable[[Pixels, Dice], Pixels]


def tint(rgba: Pixels, dice: Dice, sprite: Sprite, colour: str) -> Pixels:
    """Make a thing unmistakably `colour` by turning the hue of its saturated pixels.

    Shades around the main hue stay apart, only closer; a second colour is sometimes left alone. A
    grey or black thing is coloured as a whole.
    """
    hue, saturation, value = cv2.split(cv2.cvtColor(_rgb(rgba), cv2.COLOR_RGB2HSV))
    offset = (hue.astype(np.int16) - sprite.hue + 90) % 180 - 90
    chosen = saturation >= _SATURATED
    if sprite.hue_share > 0.6 and dice.maybe(0.5):
        chosen &= np.abs(offset) <= _FAR
    elif sprite.hue_share < 0.45:
        chosen |= (value >= 30) & (value <= 235)
    light = colour == "yellow"
    target = TINT_HUES[colour] * 180 / 255 + (dice.uniform(0, 3) if light else dice.uniform(-4, 4))
    spread = np.clip(offset * 0.25, -1.5, 3) if light else np.clip(offset * 0.25, -7, 7)
    turned = ((target + spread) % 180).astype(np.uint8)
    lighter = _lift(value, chosen, dice.uniform(205, 235) if light else dice.uniform(130, 170))
    hue = np.where(chosen, turned, hue)
    saturation = np.where(chosen, np.maximum(saturation, 170 if light else 140), saturation)
    value = np.where(chosen, np.maximum(lighter, 140 if light else 80), value)
    return _with_rgb(rgba, cv2.cvtColor(cv2.merge([hue, saturation, value]), cv2.COLOR_HSV2RGB))


def _lift(value: Pixels, chosen: Pixels, least: float) -> Pixels:
    """Brighten so that the chosen pixels' mean is at least `least`: a dark yellow is a brown."""
    mean = cv2.mean(value, chosen.astype(np.uint8))[0]
    if not 0 < mean < least:
        return value
    exponent = np.log(least / 255) / np.log(mean / 255)
    return cv2.LUT(value, (255 * (np.arange(256) / 255) ** exponent).astype(np.uint8))


def turn_hue(rgba: Pixels, dice: Dice) -> Pixels:
    """Shift every hue by one random amount, saturation and brightness a little."""
    hsv = cv2.cvtColor(_rgb(rgba), cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int16) + dice.below(180)) % 180
    return jitter_tone(_with_rgb(rgba, cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)), dice)


def jitter_tone(rgba: Pixels, dice: Dice) -> Pixels:
    """Change contrast and brightness a little; colours keep their names."""
    gain, shift = dice.uniform(0.8, 1.15), dice.uniform(-12, 18)
    return _with_rgb(rgba, cv2.convertScaleAbs(_rgb(rgba), alpha=gain, beta=shift))


def posterise(rgba: Pixels, dice: Dice) -> Pixels:
    """Keep only six to nine levels of each channel."""
    levels = 6 + dice.below(4)
    table = (np.round(np.arange(256) / 255 * (levels - 1)) * 255 / (levels - 1)).astype(np.uint8)
    return _with_rgb(rgba, cv2.LUT(_rgb(rgba), table))


def flatten(rgba: Pixels, dice: Dice) -> Pixels:
    """Melt shading and fine detail into flat areas."""
    size = 5 if dice.maybe(0.7) else 7
    return _with_rgb(rgba, cv2.medianBlur(_rgb(rgba), size))


def outline(rgba: Pixels, dice: Dice) -> Pixels:
    """Draw a dark, white or coloured line around the thing, which belongs to it."""
    alpha = rgba[..., 3]
    wide = cv2.dilate(alpha, np.ones((3, 3), np.uint8), iterations=1 + dice.below(2))
    ink = dice.choice([(20, 20, 20), (60, 40, 30), (255, 255, 255), (40, 40, 90)])
    keep = (alpha.astype(np.float32) / 255)[..., None]
    colour = rgba[..., :3] * keep + np.array(ink, np.float32) * (1 - keep)
    return np.dstack([colour.astype(np.uint8), wide])


def draw_lines(rgba: Pixels, dice: Dice) -> Pixels:
    """A drawing: dark lines at the edges, over paler colours or paper."""
    grey = cv2.cvtColor(_rgb(rgba), cv2.COLOR_RGB2GRAY)
    edges = cv2.morphologyEx(grey, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    rim = cv2.morphologyEx(rgba[..., 3], cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    ink = np.maximum(cv2.convertScaleAbs(edges, alpha=3.0), rim).astype(np.float32)[..., None] / 255
    paper = 255 - (255 - rgba[..., :3].astype(np.float32)) * dice.choice([0.0, 0.4, 0.7])
    return _with_rgb(rgba, (paper * (1 - ink) + 30 * ink).astype(np.uint8))


def turn_grey(rgba: Pixels, dice: Dice) -> Pixels:
    """Black and white, sometimes with a tone of old photographs."""
    grey = cv2.cvtColor(_rgb(rgba), cv2.COLOR_RGB2GRAY)
    if dice.maybe(0.5):
        return _with_rgb(rgba, cv2.merge([grey, grey, grey]))
    tone = cv2.merge([grey, *(cv2.convertScaleAbs(grey, alpha=gain) for gain in (0.85, 0.65))])
    return _with_rgb(rgba, tone)


def wobble(rgba: Pixels, dice: Dice) -> Pixels:
    """Bend the shape by a smooth random field of a few percent."""
    height, width = rgba.shape[:2]
    coarse = dice.arrays.standard_normal((4, 4, 2), np.float32) * (0.03 * max(height, width))
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    columns, rows = np.meshgrid(
        np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    )
    return cv2.remap(rgba, columns + field[..., 0], rows + field[..., 1], cv2.INTER_LINEAR)


_HARMLESS: dict[Filter, float] = {posterise: 1.0, flatten: 1.0, outline: 2.0, wobble: 1.5}
_DISCOLOURING: dict[Filter, float] = {turn_hue: 4.0, draw_lines: 1.0, turn_grey: 1.0}


def draw_filters(dice: Dice, keep_colour: bool) -> tuple[list[Filter], bool]:
    """Choose up to three augmentations.

    Args:
        dice: where they come from.
        keep_colour: leave those out after which the thing's colour would have another name.

    Returns:
        The filters in order, and whether colours still have their names after them.
    """
    filters: list[Filter] = [jitter_tone] if dice.maybe(0.5) else []
    if dice.maybe(0.5):
        filters.append(dice.pick(_HARMLESS))
    if keep_colour or dice.maybe(0.6):
        return filters, True
    return [*filters, dice.pick(_DISCOLOURING)], False


def _rgb(rgba: Pixels) -> Pixels:
    return np.ascontiguousarray(rgba[..., :3])


def _with_rgb(rgba: Pixels, rgb: Pixels) -> Pixels:
    return cv2.merge([*cv2.split(rgb), rgba[..., 3]])
