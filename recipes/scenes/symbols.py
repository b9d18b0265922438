"""Scenes without pictures: annotations alone, for teaching a language model to point first.

A symbolic scene has the casts, sizes and backgrounds of drawn scenes; its boxes are laid out by
arithmetic. `symbolic_regions` turns its annotations into what a proposer and a region encoder
would give: one good region per thing among near-duplicates, fragments and mixtures.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from groma.dice import Dice, Split
from groma.ops.boxes import pairwise_iou
from groma.types import Size
from recipes.scenes.nouns import (
    COLOURABLE,
    COLOURS,
    NATURAL_COLOURS,
    NOUN_INDEX,
    NOUNS,
    SIZES,
    STUFF,
    STUFF_INDEX,
    TINTS,
)
from recipes.scenes.pictures.backgrounds import draw_layout
from recipes.scenes.pictures.cast import COUNTS, SIZE_RANGES, TINTED_SHARE, TWIN_SHARE, TWINS
from recipes.scenes.pictures.sprites import STYLES, sprite_shapes
from recipes.scenes.scene import Scene, Stuff, Thing

BLOCK = 256
"""Scenes are sampled this many at a time."""
_SLOTS, _TRIES = 8, 6
_MAX_IOU, _MAX_HIDDEN = 0.3, 0.35
_NAMES = len(NOUNS) + len(STUFF)


@dataclass(frozen=True)
class SymbolicScenes:
    """An endless, indexable source of scenes without pixels; the splits share none.

    Attributes:
        split: "train", "val" or "test".
        seed: another seed is another endless row of scenes.
        size: side of the square frame, in pixels.
    """

    split: Split = "train"
    seed: int = 0
    size: int = 224

    def __getitem__(self, index: int) -> Scene:
        """One scene: things with whole boxes, stuff, no parts; `index` >= 0."""
        block, position = divmod(index, BLOCK)
        return _sample_block(self.split, self.seed, self.size, block)[position]


@lru_cache(maxsize=4)
def _sample_block(split: Split, seed: int, size: int, block: int) -> tuple[Scene, ...]:
    dice = Dice.of(split, seed, block, stream=2)
    rng = dice.arrays
    counts = rng.choice(
        list(COUNTS), BLOCK, p=np.array(list(COUNTS.values())) / sum(COUNTS.values())
    )
    nouns = _draw_nouns(rng)
    ranks, sides = _draw_sides(counts, rng)
    boxes, placed = _lay_out(_draw_shapes(nouns, sides, rng), rng)
    placed &= np.arange(_SLOTS) < counts[:, None]
    tints = rng.integers(0, len(TINTS), nouns.shape).tolist()
    tinted = (rng.random(nouns.shape) < TINTED_SHARE).tolist()
    boxes_px = (boxes * size).round(1).tolist()
    rows = zip(
        nouns.tolist(), ranks.tolist(), tints, tinted, boxes_px, placed.tolist(), strict=True
    )
    scenes = []
    for position, row in enumerate(rows):
        things = tuple(
            Thing(NOUNS[noun], _colour(NOUNS[noun], tint, is_tinted), SIZES[rank], tuple(box))
            for noun, rank, tint, is_tinted, box, is_placed in zip(*row, strict=True)
            if is_placed
        )
        key = f"{split}/{seed}/{block * BLOCK + position}"
        scenes.append(Scene(key, (size, size), things, _draw_stuff((size, size), dice)))
    return tuple(scenes)


def _colour(noun: str, tint: int, is_tinted: bool) -> str | None:
    if is_tinted and noun in COLOURABLE:
        return TINTS[tint]
    return NATURAL_COLOURS.get(noun)


def _draw_stuff(size: Size, dice: Dice) -> tuple[Stuff, ...]:
    """Layers of a random layout as boxes with straight edges."""
    layout = draw_layout(dice)
    if not layout.layers:
        return ()
    height, width = size
    edges = [0.0, *layout.edges, 1.0]
    return tuple(
        Stuff(name, (0.0, top * height, float(width), bottom * height))
        for name, top, bottom in zip(layout.layers, edges, edges[1:], strict=False)
    )


def _draw_nouns(rng: np.random.Generator) -> NDArray[np.int64]:
    """(B, 8) nouns; in about a third of the rows the first two to four are twins."""
    nouns = rng.random((BLOCK, len(NOUNS)), np.float32).argpartition(_SLOTS, axis=1)[:, :_SLOTS]
    colourable = np.array([NOUN_INDEX[noun] for noun in sorted(COLOURABLE)])
    twins = rng.choice(list(TWINS), BLOCK, p=np.array(list(TWINS.values())) / sum(TWINS.values()))
    twins = np.where(rng.random(BLOCK) < TWIN_SHARE, twins, 1)
    first = np.where(rng.random(BLOCK) < 0.4, rng.choice(colourable, BLOCK), nouns[:, 0])
    first = np.where(twins > 1, first, nouns[:, 0])
    clash = (nouns == first[:, None]) & (np.arange(_SLOTS) > 0)
    nouns = np.where(clash, nouns[:, :1], nouns)
    return np.where(np.arange(_SLOTS) < twins[:, None], first[:, None], nouns)


def _draw_sides(counts: NDArray, rng: np.random.Generator) -> tuple[NDArray, NDArray]:
    """(B, 8) size classes and longer sides as shares of the frame."""
    large = np.where(counts <= 4, 1.1, 0.6)[:, None]
    mark = rng.random((BLOCK, _SLOTS)) * (2.2 + large)
    ranks = (mark > 1.0).astype(np.int64) + (mark > 2.2)
    low, high = np.array([SIZE_RANGES[name] for name in SIZES]).T
    return ranks, rng.uniform(low[ranks], high[ranks])


def _draw_shapes(nouns: NDArray, sides: NDArray, rng: np.random.Generator) -> NDArray[np.float64]:
    """(B, 8, 2) width and height of the boxes, after turning some of the sprites."""
    shapes = sprite_shapes(STYLES)
    style = rng.integers(0, len(STYLES), (BLOCK, 1))
    width, height = np.moveaxis(shapes[style, nouns] * sides[..., None], -1, 0)
    angle = rng.uniform(0, np.radians(20), nouns.shape) * (rng.random(nouns.shape) < 0.6)
    sine, cosine = np.sin(angle), np.cos(angle)
    # A turned drawing fills its corners less than a rectangle would, more than an ellipse.
    turned = [
        0.5 * (cosine * a + sine * b) + 0.5 * np.hypot(cosine * a, sine * b)
        for a, b in ((width, height), (height, width))
    ]
    return np.stack(turned, axis=-1)


def _lay_out(
    shapes: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Place boxes one slot after the other in all scenes at once.

    Returns:
        (B, 8, 4) xyxy in [0, 1], and (B, 8) whether there was room.
    """
    boxes = np.zeros((BLOCK, _SLOTS, 4))
    placed = np.zeros((BLOCK, _SLOTS), bool)
    rows = np.arange(BLOCK)
    for slot in range(_SLOTS):
        shape = np.minimum(shapes[:, slot, None], 0.98)
        corner = rng.random((BLOCK, _TRIES, 2)) * (1 - shape)
        tries = np.concatenate([corner, corner + shape], axis=-1)
        fits = _fits(tries, boxes[:, :slot], placed[:, :slot])
        best = fits.argmax(axis=1)
        boxes[:, slot] = tries[rows, best]
        placed[:, slot] = fits[rows, best]
    return boxes, placed


def _fits(tries: NDArray, boxes: NDArray, placed: NDArray) -> NDArray[np.bool_]:
    """(B, T) whether a try (B, T, 4) leaves all placed boxes (B, S, 4) visible."""
    a, b = tries[:, :, None], boxes[:, None]
    overlap = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.clip(overlap, 0, None).prod(axis=-1)
    area_a, area_b = ((x[..., 2:] - x[..., :2]).prod(axis=-1) for x in (a, b))
    bad = shared > _MAX_HIDDEN * area_b
    bad |= shared > _MAX_IOU * (area_a + area_b - shared)
    return ~(bad & placed[:, None]).any(axis=-1)


@dataclass(frozen=True, eq=False)
class SymbolicRegions:
    """Regions as a proposer and a region encoder would give them, in random order.

    Attributes:
        boxes: (N, 4) float32 xyxy in [0, 1].
        names: (N, 169) float32 weights over `NOUNS`, then `STUFF`; a row sums to at most 1.
        colours: (N, 10) float32 weights over `COLOURS`; all 0 where unknown.
        sizes: (N, 3) float32 weights over `SIZES`; all 0 for stuff and where unknown.
        source: (N,) index of the box of the sample that this region stands for, else -1.
    """

    boxes: NDArray[np.float32]
    names: NDArray[np.float32]
    colours: NDArray[np.float32]
    sizes: NDArray[np.float32]
    source: NDArray[np.int64]

    def __len__(self) -> int:
        """N."""
        return len(self.boxes)


def true_regions(scene: Scene) -> SymbolicRegions:
    """One region per thing, then one per stretch of stuff, each exactly right."""
    height, width = scene.size
    things, stuff = scene.things, scene.stuff
    count = len(things) + len(stuff)
    boxes = np.array([item.box for item in (*things, *stuff)], np.float32)
    names = np.zeros((count, _NAMES), np.float32)
    colours = np.zeros((count, len(COLOURS)), np.float32)
    sizes = np.zeros((count, len(SIZES)), np.float32)
    for row, thing in enumerate(things):
        names[row, NOUN_INDEX[thing.noun]] = 1
        sizes[row, SIZES.index(thing.size)] = 1
        if thing.colour is not None:
            colours[row, COLOURS.index(thing.colour)] = 1
    for row, item in enumerate(stuff, start=len(things)):
        names[row, len(NOUNS) + STUFF_INDEX[item.name]] = 1
    boxes /= np.array([width, height, width, height], np.float32)
    return SymbolicRegions(boxes, names, colours, sizes, np.arange(count))


def symbolic_regions(scene: Scene, dice: Dice, limit: int = 40) -> SymbolicRegions:
    """True regions among what a real proposer adds, shuffled.

    Args:
        scene: whose annotations to start from.
        dice: what is added.
        limit: most regions; the true ones are always among them.

    Returns:
        True regions with boxes off by a few percent and slightly doubtful names; near-duplicates
        and fragments of things with a weaker name; boxes around two things with both names; boxes
        of nothing. None of what is added covers nearly the same as a true region.
    """
    rng, true = dice.arrays, true_regions(scene)
    count, room = len(true), max(0, limit - len(true))
    extra = min(room, int(rng.integers(0, _MOST_ADDED)))
    kinds = rng.choice(len(_SHARES), extra, p=_SHARES)
    first, second = rng.integers(0, count, (2, extra))
    noise = rng.uniform(-1, 1, (count + extra, 4)).astype(np.float32)
    rows = np.concatenate([np.arange(count), first])
    boxes = _jitter(true.boxes[rows], noise, np.r_[np.full(count, 0.04), _SPREAD[kinds]])
    keep = np.r_[rng.uniform(0.75, 1, count), rng.uniform(*_CERTAINTY[:, kinds])]
    keep = keep.astype(np.float32)[:, None]
    names = true.names[rows] * keep
    known = (rng.random((2, count + extra, 1)) < 0.9).astype(np.float32)
    colours, sizes = true.colours[rows] * keep * known[0], true.sizes[rows] * keep * known[1]
    for row in np.flatnonzero(kinds == _MIXTURE) + count:
        mate = second[row - count]
        low = np.minimum(boxes[row, :2], true.boxes[mate, :2])
        boxes[row] = np.r_[low, np.maximum(boxes[row, 2:], true.boxes[mate, 2:])]
        names[row] = 0.5 * names[row] + 0.4 * true.names[mate]
    nothing = np.flatnonzero(kinds == _NOTHING) + count
    corners = rng.random((len(nothing), 2, 2), np.float32)
    boxes[nothing] = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    source = np.r_[true.source, np.full(extra, -1)]
    shared = pairwise_iou(torch.from_numpy(boxes), torch.from_numpy(true.boxes)).amax(dim=1)
    order = rng.permutation(np.flatnonzero((shared.numpy() <= _MOST_SHARED) | (source >= 0)))
    return SymbolicRegions(boxes[order], names[order], colours[order], sizes[order], source[order])


_TWIN, _FRAGMENT, _MIXTURE, _NOTHING = range(4)
_SHARES = (0.2, 0.4, 0.15, 0.25)
"""How often each kind is added."""
_MOST_ADDED = 46
"""Regions added at first, at most; 22 in all remain on average, as many as a proposer gives."""
_MOST_SHARED = 0.6
"""IoU with a true box above which the selection of regions keeps only one of two."""
_SPREAD = np.array([0.3, 0.45, 0.1, 0.0], np.float32)
"""Jitter of each kind's box, as a share of its width and height."""
_CERTAINTY = np.array([[0.5, 0.25, 0.4, 0.0], [0.95, 0.7, 0.8, 0.1]])
"""Range of each kind's weight on its noun."""


def _jitter(boxes: NDArray, noise: NDArray, spread: NDArray) -> NDArray[np.float32]:
    """Move each edge by at most `spread` (N,) of the box's width or height; stays in [0, 1]."""
    extent = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    moved = boxes + noise * extent * spread[:, None]
    return np.clip(moved, 0, 1).astype(np.float32)
