"""Fills for backgrounds: each makes an (h, w, 3) uint8 picture of any size.

Lengths are shares of the shorter side `min(h, w)`, so that a scene looks alike at any resolution.
"""

from collections.abc import Callable

import cv2
import numpy as np

from groma.dice import Dice
from groma.types import Size
from recipes.scenes.scene import Pixels

Colour = tuple[int, int, int]
Field = np.ndarray
"""An array of float32."""
Texture = Callable[[Size, Dice], Pixels]


def any_colour(dice: Dice) -> Colour:
    """A random colour: vivid, pastel, dark or nearly grey."""
    kind = dice.below(4)
    saturation, value = [(200, 220), (70, 240), (120, 70), (25, dice.uniform(30, 240))][kind]
    return hsv_colour(dice.below(180), saturation, value, dice, spread=30)


def hsv_colour(hue: float, saturation: float, value: float, dice: Dice, spread: float) -> Colour:
    """A colour near the given one (OpenCV's ranges: 180, 255, 255)."""
    near = (
        (hue + dice.uniform(-spread, spread) / 5) % 180,
        min(255.0, max(0.0, saturation + dice.uniform(-spread, spread))),
        min(255.0, max(0.0, value + dice.uniform(-spread, spread))),
    )
    pixel = cv2.cvtColor(np.array([[near]], np.float32).astype(np.uint8), cv2.COLOR_HSV2RGB)
    red, green, blue = pixel[0, 0].tolist()
    return red, green, blue


def shade(colour: Colour, factor: float) -> Colour:
    """The same colour lighter (> 1) or darker (< 1)."""
    red, green, blue = (int(min(255, channel * factor)) for channel in colour)
    return red, green, blue


def plain(size: Size, colour: Colour) -> Pixels:
    """One colour everywhere."""
    return np.full((*size, 3), colour, np.uint8)


def blend(field: Field, first: Colour, second: Colour) -> Pixels:
    """Mix two colours by a field (h, w) in [0, 1]."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    table = np.array(first, np.float32) * (1 - ramp) + np.array(second, np.float32) * ramp
    index = cv2.convertScaleAbs(field, alpha=255)
    return cv2.merge(
        [cv2.LUT(index, np.ascontiguousarray(table[:, c].astype(np.uint8))) for c in range(3)]
    )


def coordinates(size: Size) -> tuple[Field, Field]:
    """Rows (h, 1) and columns (1, w), in shares of the shorter side."""
    height, width = size
    side = min(size)
    rows = np.arange(height, dtype=np.float32)[:, None] / side
    return rows, np.arange(width, dtype=np.float32)[None] / side


def smooth_noise(size: Size, cells: int, dice: Dice, stretch: float = 1.0) -> Field:
    """A smooth random field (h, w) in [0, 1] with about `cells` bumps per side."""
    height, width = size
    grid = (max(2, int(cells)), max(2, int(cells * stretch)))
    coarse = dice.arrays.random(grid, np.float32)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def cloudy_noise(size: Size, dice: Dice) -> Field:
    """Several octaves of smooth noise in [0, 1]: clouds, marble, out-of-focus foliage."""
    field = smooth_noise(size, 3, dice) * 0.5
    for cells, weight in ((6, 0.27), (13, 0.15), (29, 0.08)):
        field += smooth_noise(size, cells, dice) * weight
    return np.clip((field - 0.5) * 1.6 + 0.5, 0, 1)


def grain(pixels: Pixels, strength: float, dice: Dice) -> Pixels:
    """Add fine noise, the same to all channels, by tiling one small random patch."""
    height, width = pixels.shape[:2]
    patch = dice.arrays.integers(0, max(2, int(strength * 2)), (64, 64), np.uint8)
    tiled = np.tile(patch, (-(-height // 64), -(-width // 64)))[:height, :width]
    change = tiled.astype(np.int16) - int(strength)
    return cv2.add(pixels, cv2.merge([change] * 3), dtype=cv2.CV_8U)


def gradient(size: Size, dice: Dice) -> Pixels:
    """Two colours along any direction, or from a centre outwards."""
    rows, columns = coordinates(size)
    if dice.maybe(0.3):
        y, x = dice.uniform(0.1, 0.9), dice.uniform(0.1, 0.9)
        field = np.sqrt((rows - y) ** 2 + (columns - x) ** 2)
    else:
        angle = dice.uniform(0, 2 * np.pi)
        field = rows * np.sin(angle) + columns * np.cos(angle)
    field = (field - field.min()) / max(1e-6, float(np.ptp(field)))
    return blend(field, any_colour(dice), any_colour(dice))


def stripes(size: Size, dice: Dice) -> Pixels:
    """Parallel bands of two colours, sharp or soft, at any angle."""
    rows, columns = coordinates(size)
    angle = dice.choice([0.0, np.pi / 2, dice.uniform(0, np.pi)])
    phase = (rows * np.sin(angle) + columns * np.cos(angle)) * dice.uniform(8, 60)
    sharpness = dice.choice([0.6, 2.0, 30.0])
    field = np.clip(np.sin(phase) * sharpness * 0.5 + 0.5, 0, 1).astype(np.float32)
    field = np.broadcast_to(field, size)
    first = any_colour(dice)
    second = shade(first, dice.uniform(0.7, 1.3)) if dice.maybe(0.5) else any_colour(dice)
    return blend(field, first, second)


def checker(size: Size, dice: Dice) -> Pixels:
    """A board of two colours."""
    rows, columns = coordinates(size)
    cells = dice.uniform(3, 16)
    odd = ((rows * cells).astype(np.int32) + (columns * cells).astype(np.int32)) % 2
    first = any_colour(dice)
    second = shade(first, dice.uniform(0.75, 1.25)) if dice.maybe(0.5) else any_colour(dice)
    return blend(odd.astype(np.float32), first, second)


def tiles(size: Size, dice: Dice, base: Colour | None = None) -> Pixels:
    """Rows of tiles or bricks with joints, each a little different."""
    rows, columns = coordinates(size)
    down, across = dice.uniform(4, 12), dice.uniform(3, 12)
    row = (rows * down).astype(np.int32)
    shift = 0.5 * (row % 2) if dice.maybe(0.5) else 0.0
    along = columns * across + shift
    shades = dice.arrays.random((int(row.max()) + 1, int(along.max()) + 2), np.float32)
    field = shades[row, along.astype(np.int32)] * dice.uniform(0.1, 0.5)
    joint = dice.uniform(0.04, 0.12)
    seams = ((rows * down) % 1 < joint) | (along % 1 < joint * across / down)
    first = base or any_colour(dice)
    field = np.where(seams, 1.0, field).astype(np.float32)
    return blend(field, first, shade(first, dice.choice([0.5, 0.7, 1.4])))


def blobs(size: Size, dice: Dice) -> Pixels:
    """Discs, rings and boxes of random colours on a random ground."""
    pixels = gradient(size, dice) if dice.maybe(0.5) else plain(size, any_colour(dice))
    height, width = size
    side = min(size)
    for _ in range(4 + dice.below(22)):
        x, y = dice.below(width), dice.below(height)
        reach = max(1, int(side * dice.uniform(0.01, 0.16)))
        thickness = -1 if dice.maybe(0.7) else max(1, side // 90)
        colour = any_colour(dice)
        if dice.maybe(0.6):
            cv2.circle(pixels, (x, y), reach, colour, thickness, cv2.LINE_AA)
        else:
            corner = (x + int(reach * dice.uniform(0.4, 1.6)), y + reach)
            cv2.rectangle(pixels, (x, y), corner, colour, thickness)
    return pixels


def bokeh(size: Size, dice: Dice) -> Pixels:
    """Out-of-focus lights: blurred discs on a dark or light ground."""
    small = (56, max(8, 56 * size[1] // size[0]))
    pixels = cv2.GaussianBlur(blobs(small, dice), (0, 0), dice.uniform(1.0, 3.0))
    return cv2.resize(pixels, size[::-1], interpolation=cv2.INTER_LINEAR)


def dots(size: Size, dice: Dice) -> Pixels:
    """A regular pattern of dots."""
    rows, columns = coordinates(size)
    count = dice.uniform(5, 18)
    y, x = (rows * count) % 1 - 0.5, (columns * count) % 1 - 0.5
    field = np.clip((dice.uniform(0.02, 0.1) - (y * y + x * x)) * 60, 0, 1).astype(np.float32)
    return blend(field, any_colour(dice), any_colour(dice))


def clouded(size: Size, dice: Dice) -> Pixels:
    """Two colours mixed by clouds of noise."""
    return blend(cloudy_noise(size, dice), any_colour(dice), any_colour(dice))


def photo_like(size: Size, dice: Dice) -> Pixels:
    """Three independent fields of low-frequency noise: the colours of a blurred photograph."""
    height, width = size
    cells = 3 + dice.below(8)
    coarse = dice.arrays.integers(0, 256, (cells, cells + 1, 3), np.uint8)
    if dice.maybe(0.6):
        ground = np.array(any_colour(dice))
        coarse = (coarse * 0.4 + ground * 0.6).astype(np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def shapes(size: Size, dice: Dice) -> Pixels:
    """Large overlapping polygons and lines, as of papers on a desk."""
    pixels = dice.choice([gradient, clouded, photo_like])(size, dice)
    height, width = size
    for _ in range(2 + dice.below(6)):
        corners = dice.arrays.random((3 + dice.below(3), 2)) * (width, height)
        hull = cv2.convexHull(corners.astype(np.int32))
        cv2.fillConvexPoly(pixels, hull, any_colour(dice), cv2.LINE_AA)
    for _ in range(dice.below(6)):
        ends = (dice.arrays.random((2, 2)) * (width, height)).astype(int).tolist()
        cv2.line(pixels, ends[0], ends[1], any_colour(dice), 1 + dice.below(3), cv2.LINE_AA)
    return pixels


def paper(size: Size, dice: Dice) -> Pixels:
    """White or cream paper, sometimes ruled or squared."""
    ground = hsv_colour(22, dice.uniform(0, 40), 245, dice, 8)
    pixels = plain(size, ground)
    side = min(size)
    step = max(4, int(side / dice.uniform(8, 24)))
    if dice.maybe(0.6):
        pixels[step // 2 :: step] = shade(ground, 0.8)
        if dice.maybe(0.5):
            pixels[:, step // 2 :: step] = shade(ground, 0.8)
    return pixels


def solid(size: Size, dice: Dice) -> Pixels:
    """White, black, grey or any one colour."""
    level = dice.below(256)
    choices: list[Colour] = [(255, 255, 255), (0, 0, 0), (level, level, level), any_colour(dice)]
    return plain(size, dice.choice(choices))


TEXTURES: dict[Texture, float] = {
    solid: 1.6,
    gradient: 1.6,
    stripes: 1.0,
    checker: 0.8,
    tiles: 0.4,
    blobs: 0.9,
    bokeh: 0.8,
    dots: 0.5,
    clouded: 1.2,
    photo_like: 1.4,
    shapes: 0.9,
    paper: 0.6,
}
