"""Scenes of other making: do figures hold on pictures that our generator would not draw?

The nouns and the drawings are the same, everything else is done anew with nothing but Pillow:
other backgrounds, colours painted on in another way, nothing hidden, soft shadows, 448 pixels.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps, ImageStat

from groma.dice import Split
from groma.types import Box, GromaError
from recipes.scenes.nouns import COLOURABLE, NATURAL_COLOURS, NOUNS, TINT_HUES
from recipes.scenes.pictures.cast import SIZE_RANGES
from recipes.scenes.pictures.sprites import STYLES, VISIBLE_ALPHA, load_style
from recipes.scenes.scene import Scene, Stuff, Thing

Colour = tuple[int, int, int]
Background = tuple[Image.Image, tuple[Stuff, ...]]
_TRIES = 60
_GAP = 3
_SATURATED = 70
_DARK = 120


@dataclass(frozen=True)
class CollageGenerator:
    """An endless, indexable source of square scenes; the same key gives the same bytes.

    Attributes:
        split: scenes of one split are in no other.
        seed: another seed is another endless row of scenes.
        size: side of the pictures in pixels.
        style: atlas to draw from; None draws from all styles that may be trained on.
    """

    split: Split = "test"
    seed: int = 0
    size: int = 448
    style: str | None = None

    def __post_init__(self) -> None:
        if self.size < 64:
            raise GromaError(f"Scenes need pictures of at least 64 pixels, not {self.size}.")

    def __getitem__(self, index: int) -> Scene:
        """Compose one scene of one to eight things; `index` >= 0."""
        key = f"collage/{self.split}/{self.seed}/{index}"
        dice = random.Random(key)
        style = self.style or dice.choice(STYLES)
        picture, stuff = dice.choice(BACKGROUNDS)(self.size, dice)
        things: list[Thing] = []
        for noun, size in _cast(dice):
            side = dice.uniform(*SIZE_RANGES[size]) * self.size
            sprite, colour = _draw(noun, style, side, dice)
            box = _find_room(sprite.size, [thing.box for thing in things], self.size, dice)
            if box is not None:
                _paste(picture, sprite, box, dice)
                things.append(Thing(noun, colour, size, box))
        size = (self.size, self.size)
        return Scene(key, size, tuple(things), stuff, (), style, np.asarray(picture))


def _cast(dice: random.Random) -> list[tuple[str, str]]:
    """Nouns and sizes, the large ones first, so that all find room; often with twins."""
    nouns = dice.sample(NOUNS, dice.randint(2, 7))
    if dice.random() < 0.5:
        nouns += [dice.choice(nouns)] * dice.randint(1, 2)
    if dice.random() < 0.3:
        nouns[-1] = nouns[0] = dice.choice(sorted(COLOURABLE))
    cast = [(noun, dice.choice(("small", "medium", "medium", "large"))) for noun in nouns[:8]]
    return sorted(cast, key=lambda role: ("large", "medium", "small").index(role[1]))


def _draw(
    noun: str, style: str, side: float, dice: random.Random
) -> tuple[Image.Image, str | None]:
    """A sprite of this longer side, cut to what is seen, and its colour if it is beyond doubt."""
    sprite, colour = _cut_out(noun, style), NATURAL_COLOURS.get(noun)
    if noun in COLOURABLE and dice.random() < 0.7:
        tint = dice.choice(tuple(TINT_HUES))
        painted = _tint(sprite, tint)
        sprite, colour = (painted, tint) if painted else (sprite, colour)
    if dice.random() < 0.5:
        sprite = ImageOps.mirror(sprite)
    scale = side / max(sprite.size)
    size = [max(4, round(length * scale)) for length in sprite.size]
    sprite = sprite.resize((size[0], size[1]), Image.Resampling.LANCZOS)
    if dice.random() < 0.4:
        sprite = sprite.rotate(dice.uniform(-12, 12), Image.Resampling.BICUBIC, expand=True)
    return sprite.crop(_seen(sprite)), colour


@cache
def _cut_out(noun: str, style: str) -> Image.Image:
    return Image.fromarray(load_style(style)[noun].scales[0])


def _seen(sprite: Image.Image) -> tuple[int, int, int, int]:
    """Box of what counts as seen."""
    solid = sprite.getchannel("A").point(lambda alpha: 255 * (alpha >= VISIBLE_ALPHA))
    return solid.getbbox() or (0, 0, *sprite.size)


def _tint(sprite: Image.Image, colour: str) -> Image.Image | None:
    """The sprite with all its vivid pixels of one hue; None if it is mostly grey or dark."""
    alpha = sprite.getchannel("A")
    hue, saturation, value = sprite.convert("RGB").convert("HSV").split()
    solid = alpha.point(lambda level: 255 * (level >= VISIBLE_ALPHA))
    vivid = ImageChops.multiply(solid, saturation.point(lambda level: 255 * (level >= _SATURATED)))
    is_grey = ImageStat.Stat(vivid, solid).mean[0] < 0.6 * 255
    if is_grey or ImageStat.Stat(value, vivid).mean[0] < _DARK:
        return None
    hue.paste(TINT_HUES[colour], mask=vivid)
    saturation.paste(saturation.point(lambda level: max(level, 170)), mask=vivid)
    least = 150 if colour == "yellow" else 60
    value.paste(value.point(lambda level: least + level * (255 - least) // 255), mask=vivid)
    painted = Image.merge("HSV", (hue, saturation, value)).convert("RGB")
    painted.putalpha(alpha)
    return painted


def _find_room(
    sprite: tuple[int, int], taken: list[Box], side: int, dice: random.Random
) -> Box | None:
    """A place within the picture that touches nothing, or None if none was found."""
    width, height = sprite
    for _ in range(_TRIES):
        x, y = dice.randint(0, max(0, side - width)), dice.randint(0, max(0, side - height))
        apart = all(
            x + width + _GAP <= x0 or x1 + _GAP <= x or y + height + _GAP <= y0 or y1 + _GAP <= y
            for x0, y0, x1, y1 in taken
        )
        if apart and x + width <= side and y + height <= side:
            return (float(x), float(y), float(x + width), float(y + height))
    return None


def _paste(picture: Image.Image, sprite: Image.Image, box: Box, dice: random.Random) -> None:
    """Put a sprite there, with or without a soft shadow."""
    corner = (int(box[0]), int(box[1]))
    if dice.random() < 0.5:
        reach = max(2, max(sprite.size) // 24)
        shadow = Image.new("L", picture.size)
        shadow.paste(sprite.getchannel("A"), (corner[0] + reach, corner[1] + reach))
        soft = shadow.filter(ImageFilter.GaussianBlur(reach)).point(lambda level: level * 2 // 5)
        picture.paste((0, 0, 0), mask=soft)
    picture.paste(sprite, corner, sprite)


def _shade(dice: random.Random, low: int = 120, high: int = 245) -> Colour:
    return dice.randint(low, high), dice.randint(low, high), dice.randint(low, high)


def _wash(side: int, dice: random.Random) -> Background:
    """A soft light in the middle, or from one side."""
    make = Image.radial_gradient if dice.random() < 0.5 else Image.linear_gradient
    ramp = make("L").rotate(dice.choice((0, 90, 180))).resize((side, side))
    return ImageOps.colorize(ramp, _shade(dice), _shade(dice)), ()


def _marble(side: int, dice: random.Random) -> Background:
    """Veins: the same blurred noise against itself."""
    pixels = np.frombuffer(dice.randbytes(24 * 24), np.uint8).reshape(24, 24)
    noise = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    veins = ImageChops.difference(noise, Image.new("L", noise.size, 128))
    return ImageOps.colorize(veins, _shade(dice, 60, 200), _shade(dice, 160, 250)), ()


def _mosaic(side: int, dice: random.Random) -> Background:
    """Triangles in kindred colours."""
    picture = Image.new("RGB", (side, side))
    draw, base, step = ImageDraw.Draw(picture), _shade(dice, 120, 215), side // dice.randint(5, 9)
    for left in range(0, side, step):
        for top in range(0, side, step):
            ends = [(left, top), (left + step, top), (left, top + step), (left + step, top + step)]
            for corners in (ends[:3], ends[1:]):
                shift = dice.randint(-35, 35)
                draw.polygon(corners, fill=(base[0] + shift, base[1] + shift, base[2] + shift))
    return picture, ()


def _paper(side: int, dice: random.Random) -> Background:
    """Ruled, squared or dotted paper."""
    picture = Image.new("RGB", (side, side), _shade(dice, 225, 255))
    draw, ink, step = ImageDraw.Draw(picture), _shade(dice, 150, 210), side // dice.randint(10, 24)
    kind = dice.choice(("ruled", "squared", "dotted"))
    for at in range(step, side, step):
        if kind != "dotted":
            draw.line((0, at, side, at), ink)
        if kind == "squared":
            draw.line((at, 0, at, side), ink)
        for other in range(step, side, step) if kind == "dotted" else ():
            draw.ellipse((at - 2, other - 2, at + 2, other + 2), ink)
    return picture, ()


def _hills(side: int, dice: random.Random) -> Background:
    """Round hills of grass, snow or sand under a pale or deep sky."""
    name = dice.choice(("grass", "snow", "sand"))
    ground = {"grass": (96, 165, 72), "snow": (240, 245, 250), "sand": (226, 200, 145)}[name]
    picture, top = _sky(side, dice), side
    draw = ImageDraw.Draw(picture)
    base = dice.uniform(0.55, 0.7) * side
    for fall in range(3):
        left = dice.uniform(-0.5, 0.5) * side
        crest = int(base + fall * side * 0.08)
        tone = (ground[0] - 9 * fall, ground[1] - 9 * fall, ground[2] - 9 * fall)
        draw.ellipse((left, crest, left + 1.6 * side, crest + 1.2 * side), tone)
        draw.rectangle((0, crest + side * 0.12, side, side), tone)
        top = min(top, crest)
    floor = int(base + side * 0.12)
    return picture, _layers(side, ("sky", 0, floor), (name, top, side))


def _coast(side: int, dice: random.Random) -> Background:
    """Sky, sea with ripples, and a beach."""
    picture = _sky(side, dice)
    draw = ImageDraw.Draw(picture)
    horizon, beach = int(side * dice.uniform(0.3, 0.45)), int(side * dice.uniform(0.62, 0.75))
    draw.rectangle((0, horizon, side, side), (40, dice.randint(105, 150), dice.randint(160, 205)))
    for _ in range(40):
        x, y = dice.randint(0, side), dice.randint(horizon + 4, beach)
        draw.arc((x, y, x + side // 14, y + side // 40), 200, 340, (170, 215, 235), 2)
    draw.rectangle((0, beach, side, side), (dice.randint(215, 240), 205, 150))
    return picture, _layers(
        side, ("sky", 0, horizon), ("sea", horizon, beach), ("sand", beach, side)
    )


def _street(side: int, dice: random.Random) -> Background:
    """Sky over a straight road with a broken line."""
    picture = _sky(side, dice)
    draw, kerb = ImageDraw.Draw(picture), int(side * dice.uniform(0.5, 0.65))
    tone = dice.randint(70, 110)
    draw.rectangle((0, kerb, side, side), (tone, tone, tone + 5))
    middle, dash = (kerb + side) // 2, side // 9
    for left in range(dice.randint(-dash, 0), side, 2 * dash):
        draw.rectangle((left, middle - 4, left + dash, middle + 4), (245, 245, 235))
    return picture, _layers(side, ("sky", 0, kerb), ("road", kerb, side))


def _room(side: int, dice: random.Random) -> Background:
    """A dotted wall over floorboards that run into the depth."""
    picture = Image.new("RGB", (side, side), _shade(dice, 150, 240))
    draw, edge = ImageDraw.Draw(picture), int(side * dice.uniform(0.55, 0.72))
    ink, step = _shade(dice, 150, 240), side // dice.randint(8, 14)
    for x in range(0, side, step):
        for y in range(0, edge, step):
            draw.ellipse((x, y, x + step // 4, y + step // 4), ink)
    wood = (dice.randint(130, 190), dice.randint(90, 125), dice.randint(50, 80))
    draw.rectangle((0, edge, side, side), wood)
    for board in range(-6, 13):
        top, foot = side / 2 + (board - 3) * side / 8, side / 2 + (board - 3) * side / 3
        draw.line((top, edge, foot, side), (wood[0] - 40, wood[1] - 35, wood[2] - 25), 2)
    return picture, _layers(side, ("wall", 0, edge), ("floor", edge, side))


def _sky(side: int, dice: random.Random) -> Image.Image:
    ramp = Image.linear_gradient("L").resize((side, side))
    high = (dice.randint(60, 130), dice.randint(140, 190), dice.randint(215, 250))
    return ImageOps.colorize(ramp, high, (dice.randint(190, 250), 225, 240))


def _layers(side: int, *layers: tuple[str, int, int]) -> tuple[Stuff, ...]:
    """Names, tops and bottoms of stretches as wide as the picture."""
    return tuple(Stuff(name, (0, top, side, bottom)) for name, top, bottom in layers)


BACKGROUNDS: tuple[Callable[[int, random.Random], Background], ...] = (
    *(_wash, _marble, _mosaic, _paper),
    *(_hills, _coast, _street, _room),
)
"""Half of them have stuff."""
