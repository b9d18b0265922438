"""What lies behind the things: patterns without a name, and landscapes and rooms with stuff."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from groma.dice import Dice
from groma.types import Size
from recipes.scenes.nouns import STUFF
from recipes.scenes.pictures import textures
from recipes.scenes.pictures.textures import Field, blend, cloudy_noise, hsv_colour, shade
from recipes.scenes.scene import Pixels, Stuff


@dataclass(frozen=True, eq=False)
class Backdrop:
    """A background.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        stuff: its named stretches.
        horizon: row where the ground begins, in pixels, or None.
    """

    pixels: Pixels
    stuff: tuple[Stuff, ...] = ()
    horizon: float | None = None


GROUNDS: dict[str, float] = {"grass": 3.0, "sand": 1.5, "sea": 1.5, "snow": 1.5, "road": 1.5}
"""What can lie below a sky."""
_ALONE = tuple(name for name in STUFF if name not in ("wall", "floor"))
MIDDLES: dict[str, tuple[str, ...]] = {
    "grass": ("road", "sea"),
    "sand": ("sea", "grass"),
    "sea": ("sand", "grass"),
    "snow": ("road", "grass"),
    "road": ("grass", "snow"),
}
"""What can lie between a sky and each ground."""


@dataclass(frozen=True)
class Layout:
    """Which stuff lies behind a scene.

    Attributes:
        layers: names of stuff from top to bottom; none for a mere pattern.
        edges: where each layer but the first begins, in shares of the height.
        indoors: whether the edges are straight.
    """

    layers: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()
    indoors: bool = False


def draw_layout(dice: Dice) -> Layout:
    """A pattern, sky over ground, a wall over a floor, or one stuff alone."""
    kind = dice.pick({"pattern": 0.46, "outdoors": 0.3, "room": 0.17, "one stuff": 0.07})
    if kind == "pattern":
        return Layout()
    if kind == "room":
        return Layout(("wall", "floor"), (dice.uniform(0.45, 0.78),), indoors=True)
    if kind == "one stuff":
        return Layout((dice.choice(_ALONE),))
    ground, horizon = dice.pick(GROUNDS), dice.uniform(0.3, 0.65)
    if dice.maybe(0.35):
        middle = dice.choice(MIDDLES[ground])
        return Layout(("sky", middle, ground), (horizon, horizon + dice.uniform(0.14, 0.24)))
    return Layout(("sky", ground), (horizon,))


def make_backdrop(size: Size, dice: Dice) -> Backdrop:
    """Any background: about half have stuff.

    Args:
        size: (H, W) in pixels.
        dice: where it comes from.
    """
    layout = draw_layout(dice)
    if layout.layers:
        return stack(size, layout, dice)
    pixels = dice.pick(textures.TEXTURES)(size, dice)
    if dice.maybe(0.25):
        pixels = textures.grain(pixels, dice.uniform(3, 22), dice)
    return Backdrop(pixels)


def stack(size: Size, layout: Layout, dice: Dice) -> Backdrop:
    """Paint stuff in layers from top to bottom.

    Args:
        size: (H, W) in pixels.
        layout: at least one layer.
        dice: where looks come from.
    """
    height, width = size
    pixels = PAINTERS[layout.layers[0]](size, dice)
    tops, bottoms = [0], []
    for name, edge in zip(layout.layers[1:], layout.edges, strict=True):
        flat = layout.indoors or name in ("sea", "road")
        line = _edge_line(size, edge, 0.0 if flat else dice.choice([0.0, 0.02, 0.06]), dice)
        top = int(line.min())
        painted = PAINTERS[name]((height - top, width), dice)
        below = np.arange(top, height)[:, None] >= line[None]
        part = pixels[top:]
        cv2.copyTo(painted, below.astype(np.uint8), part)
        bottoms.append(int(line.max()))
        tops.append(top)
        if layout.indoors and dice.maybe(0.6):
            _draw_skirting(pixels, top, dice)
    bottoms.append(height)
    stuff = tuple(
        Stuff(name, (0, top, width, bottom))
        for name, top, bottom in zip(layout.layers, tops, bottoms, strict=True)
    )
    return Backdrop(pixels, stuff, float(tops[1]) if len(tops) > 1 else None)


def _edge_line(size: Size, edge: float, waviness: float, dice: Dice) -> np.ndarray:
    """Row of the edge at each column (w,): a horizon, or hills."""
    height, width = size
    if not waviness:
        return np.full(width, round(edge * height))
    bumps = dice.arrays.random((1, 3 + dice.below(5)), np.float32) * 2 - 1
    hills = cv2.resize(bumps, (width, 1), interpolation=cv2.INTER_CUBIC)[0]
    return np.clip((edge + hills * waviness) * height, 4, height - 8).round().astype(int)


def _draw_skirting(pixels: Pixels, row: int, dice: Dice) -> None:
    thickness = max(1, int(pixels.shape[0] * dice.uniform(0.01, 0.04)))
    pixels[max(0, row - thickness) : row] = hsv_colour(20, 40, dice.uniform(60, 250), dice, 20)


def paint_sky(size: Size, dice: Dice) -> Pixels:
    """Blue, overcast, evening or night, with or without clouds of mist."""
    kind = dice.pick({"day": 5.0, "evening": 1.5, "night": 1.0, "overcast": 1.0})
    high, low = {
        "day": ((105, 150, 225), (100, 60, 248)),
        "evening": ((140, 110, 170), (12, 140, 250)),
        "night": ((118, 180, 50), (115, 130, 100)),
        "overcast": ((105, 30, 170), (105, 15, 225)),
    }[kind]
    rows, columns = textures.coordinates(size)
    ramp = np.broadcast_to(rows / rows.max() + columns * 0, size).astype(np.float32)
    pixels = blend(ramp, hsv_colour(*high, dice, 25), hsv_colour(*low, dice, 25))
    if kind != "night" and dice.maybe(0.4):
        mist = np.clip(cloudy_noise(size, dice) * 2 - 1, 0, 1) * dice.uniform(0.3, 0.8)
        pixels = _lighten(pixels, mist)
    return pixels


def paint_grass(size: Size, dice: Dice) -> Pixels:
    """A meadow: green of many shades, with blades."""
    green = hsv_colour(dice.uniform(36, 58), 160, dice.uniform(110, 205), dice, 35)
    pixels = _mottled(size, green, dice, 0.75)
    _sprinkle(pixels, shade(green, dice.choice([0.7, 1.25])), dice, (1, 4))
    return pixels


def paint_sand(size: Size, dice: Dice) -> Pixels:
    """A beach or a desert: beige to ochre, with grains."""
    sand = hsv_colour(dice.uniform(13, 22), 95, 222, dice, 25)
    pixels = _mottled(size, sand, dice, 0.88)
    return textures.grain(pixels, dice.uniform(4, 16), dice)


def paint_sea(size: Size, dice: Dice) -> Pixels:
    """Water: blue to teal with waves."""
    sea = hsv_colour(dice.uniform(92, 112), 185, dice.uniform(110, 210), dice, 30)
    rows, _ = textures.coordinates(size)
    swell = textures.smooth_noise(size, 14, dice, stretch=0.4)
    waves = np.sin(rows * dice.uniform(40, 110) + swell * dice.uniform(2, 9)) * 0.5 + 0.5
    field = (waves * swell).astype(np.float32)
    return blend(field, sea, shade(sea, dice.uniform(1.2, 1.6)))


def paint_snow(size: Size, dice: Dice) -> Pixels:
    """White with bluish hollows."""
    snow = hsv_colour(105, dice.uniform(2, 22), 246, dice, 8)
    pixels = blend(cloudy_noise(size, dice), snow, hsv_colour(108, 38, 225, dice, 12))
    if dice.maybe(0.4):
        _sprinkle(pixels, (255, 255, 255), dice, (1, 2))
    return pixels


def paint_road(size: Size, dice: Dice) -> Pixels:
    """Asphalt, mostly with markings."""
    grey = hsv_colour(115, 12, dice.uniform(65, 135), dice, 12)
    pixels = textures.grain(_mottled(size, grey, dice, 0.85), dice.uniform(3, 12), dice)
    if dice.maybe(0.75):
        _draw_lane(pixels, dice)
    return pixels


def paint_wall(size: Size, dice: Dice) -> Pixels:
    """Paint, wallpaper or bricks."""
    colour = hsv_colour(dice.below(180), dice.uniform(8, 110), dice.uniform(130, 250), dice, 10)
    kind = dice.pick({"paint": 3.0, "stripes": 1.5, "bricks": 1.0, "panels": 1.0})
    if kind == "bricks":
        return textures.tiles(size, dice, colour)
    if kind == "paint":
        return _mottled(size, colour, dice, dice.uniform(0.85, 0.98))
    _, columns = textures.coordinates(size)
    bands = (columns * dice.uniform(6, 24)) % 1 < (0.5 if kind == "stripes" else 0.06)
    field = np.broadcast_to(bands, size).astype(np.float32)
    return blend(field, colour, shade(colour, dice.choice([0.85, 0.92, 1.12])))


def paint_floor(size: Size, dice: Dice) -> Pixels:
    """Planks, tiles or carpet."""
    kind = dice.pick({"planks": 2.0, "tiles": 1.5, "carpet": 1.5})
    if kind == "planks":
        wood = hsv_colour(dice.uniform(8, 16), 130, dice.uniform(90, 200), dice, 30)
        return _planks(size, wood, dice)
    colour = hsv_colour(dice.below(180), dice.uniform(10, 130), dice.uniform(70, 200), dice, 20)
    if kind == "tiles":
        return textures.tiles(size, dice, colour)
    return textures.grain(_mottled(size, colour, dice, 0.9), dice.uniform(4, 18), dice)


PAINTERS: dict[str, Callable[[Size, Dice], Pixels]] = {
    "sky": paint_sky,
    "grass": paint_grass,
    "sand": paint_sand,
    "sea": paint_sea,
    "snow": paint_snow,
    "road": paint_road,
    "wall": paint_wall,
    "floor": paint_floor,
}


def _mottled(size: Size, colour: tuple[int, int, int], dice: Dice, darkest: float) -> Pixels:
    if dice.maybe(0.25):
        return textures.plain(size, colour)
    field = textures.smooth_noise(size, dice.choice([3, 7, 18, 40]), dice)
    return blend(field, colour, shade(colour, darkest))


def _lighten(pixels: Pixels, share: Field) -> Pixels:
    cover = cv2.merge([cv2.convertScaleAbs(share, alpha=255)] * 3)
    return cv2.add(pixels, cv2.multiply(cv2.bitwise_not(pixels), cover, scale=1 / 255))


def _sprinkle(
    pixels: Pixels, colour: tuple[int, int, int], dice: Dice, lengths: tuple[int, int]
) -> None:
    """Draw short upright strokes, the larger the further down."""
    height, width = pixels.shape[:2]
    unit = min(width, 4 * height) / 224
    for _ in range(10 + dice.below(60)):
        x, y = dice.below(width), dice.below(height)
        length = max(1, int(unit * dice.uniform(*lengths) * (0.5 + 1.5 * y / height)))
        cv2.line(pixels, (x, y), (x + dice.below(3) - 1, max(0, y - length)), colour, 1)


def _draw_lane(pixels: Pixels, dice: Dice) -> None:
    """A dashed line across, or one running towards the horizon."""
    height, width = pixels.shape[:2]
    ink = dice.choice([(240, 240, 240), (235, 200, 60)])
    thick = max(2, min(width, 3 * height) // 60)
    if dice.maybe(0.5):
        y = int(height * dice.uniform(0.3, 0.7))
        dash = max(8, int(width * dice.uniform(0.06, 0.14)))
        for x in range(-dice.below(dash), width, dash * 2):
            cv2.line(pixels, (x, y), (x + dash, y), ink, thick)
    else:
        foot, tip = int(width * dice.uniform(0.2, 0.8)), width // 2
        ends = [[tip - 1, 0], [tip + 1, 0], [foot + thick, height], [foot - thick, height]]
        cv2.fillConvexPoly(pixels, np.array(ends), ink, cv2.LINE_AA)


def _planks(size: Size, wood: tuple[int, int, int], dice: Dice) -> Pixels:
    rows, columns = textures.coordinates(size)
    across = columns if dice.maybe(0.4) else rows
    along = across * dice.uniform(6, 18)
    shades = dice.arrays.random(int(along.max()) + 2, np.float32) * dice.uniform(0.2, 0.7)
    field = np.where(along % 1 < 0.08, 1.0, shades[along.astype(np.int32)])
    return blend(np.broadcast_to(field, size).astype(np.float32), wood, shade(wood, 0.65))
