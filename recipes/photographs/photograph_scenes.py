"""Photographs without pixels: what a detector sees of them, laid out at random.

A language model needs no picture to learn to talk about what was seen. What matters is that the
symbols come as a real visual part gives them: crowds, overlaps, doubts, names that are confused.
"""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from groma.dice import Dice, Split
from groma.model.coded_regions import FAINT, FAINT_WEIGHT, SECOND_WEIGHT, SURE, UNSURE
from groma.ops.boxes import pairwise_iou
from groma.types import Box
from recipes.photographs.vocabulary import COLOURS, NOUN_INDEX, NOUNS, PHOTOGRAPHS, SIZES
from recipes.scenes.scene import Doubt, Scene, Thing

SIDE = 1000
"""Pixels of the square frame that boxes are given in."""
SIZE_LIMITS = (0.12, 0.38)
"""Square root of a box's share of the picture: below the first small, above the second large."""
COUNTS: dict[int, float] = {
    **{0: 0.4, 1: 1.2, 2: 1.5, 3: 1.5, 4: 1.3, 5: 1.1, 6: 0.9, 7: 0.8, 8: 0.7, 9: 0.5, 10: 0.4},
    **{12: 0.4, 14: 0.3, 17: 0.2, 20: 0.2},
}
"""How many things a photograph shows."""
DOUBTS: dict[int, float] = {0: 1.0, 1: 1.1, 2: 1.1, 3: 0.9, 4: 0.7, 6: 0.4}
"""How many things it leaves in doubt; three in four have a name, 1.6, and on photographs 1.8."""
_ANYTHING_SHARE = 0.55
"""Share of scenes in which things meet that never do: every noun must be learnt alike."""
_SAME_SHARE = 0.45
"""How likely the next thing is of a noun that is there already."""
_MAX_IOU = 0.5
_TRIES = 8

THEMES: tuple[str, ...] = (
    "person chair cup bottle dining table bowl fork knife spoon pizza cake sandwich wine glass",
    "person car bus truck bicycle motorcycle traffic light stop sign parking meter fire hydrant",
    "couch chair tv remote book potted plant clock vase cat dog laptop cell phone lamp",
    "person dog frisbee bench kite ball bird backpack umbrella bicycle tree",
    "person surfboard boat kite umbrella chair dog bird backpack",
    "cow sheep horse person dog bird tractor chicken pig goat",
    "airplane bird kite balloon helicopter person truck",
    "person tennis racket sports ball baseball bat baseball glove chair bench skateboard",
    "laptop keyboard mouse cell phone book cup chair tv monitor printer desk",
    "toilet sink toothbrush hair drier bottle vase towel",
    "bed chair lamp book teddy bear clock tv suitcase cat",
    "train person suitcase backpack handbag bench clock",
    "elephant giraffe zebra lion bird person truck",
    "oven refrigerator microwave sink toaster bottle bowl cup spoon knife banana apple",
    "apple orange banana carrot broccoli lemon bowl knife strawberry pineapple",
    "person skis snowboard backpack tree",
    "person tie handbag umbrella cell phone hat shoe sunglasses",
    "cat dog couch bed chair rabbit bowl ball teddy bear",
)
"""What is seen together, one line a place; what no noun of the table spells is passed over."""


@dataclass(frozen=True)
class PhotographScenes:
    """An endless, indexable source of scenes; the splits share none.

    Attributes:
        split: "train", "val" or "test".
        seed: another seed is another endless row of scenes.
    """

    split: Split = "train"
    seed: int = 0

    def __getitem__(self, index: int) -> Scene:
        """One scene, with no thing at all now and then; `index` >= 0."""
        dice = Dice.of(self.split, self.seed, index, stream=12)
        nouns = _draw_nouns(dice)
        # Smaller where there are many.
        largest = 0.95 if len(nouns) <= 3 else 0.75 if len(nouns) <= 8 else 0.45
        boxes = _lay_out([_draw_shape(noun, largest, dice) for noun in nouns], dice)
        things = tuple(
            _thing(noun, box, dice)
            for noun, box in zip(nouns, boxes, strict=True)
            if box is not None
        )
        key = f"{self.split}/{self.seed}/{index}"
        scene = Scene(key, (SIDE, SIDE), things, vocabulary=PHOTOGRAPHS)
        return replace(scene, doubts=_draw_doubts(scene, dice))


def size_of(box: Box) -> str:
    """What the size of a thing is called, by its box in pixels of the frame."""
    side = ((box[2] - box[0]) * (box[3] - box[1])) ** 0.5 / SIDE
    return SIZES[sum(side >= limit for limit in SIZE_LIMITS)]


@cache
def themes() -> tuple[tuple[str, ...], ...]:
    """The nouns of each place."""
    return tuple(tuple(_split(line.split())) for line in THEMES)


def _split(words: list[str]) -> list[str]:
    """Nouns of one or two words, in a row."""
    found: list[str] = []
    while words:
        pair = " ".join(words[:2])
        taken = 2 if pair in NOUN_INDEX else 1
        if " ".join(words[:taken]) in NOUN_INDEX:
            found.append(" ".join(words[:taken]))
        words = words[taken:]
    return found


def _draw_nouns(dice: Dice) -> list[str]:
    count = dice.pick(COUNTS)
    pool = NOUNS if dice.maybe(_ANYTHING_SHARE) else dice.choice(themes())
    same = _SAME_SHARE * dice.chance() * 1.6
    nouns: list[str] = []
    for _ in range(count):
        nouns.append(dice.choice(nouns) if nouns and dice.maybe(same) else dice.choice(pool))
    return nouns


def _draw_shape(noun: str, largest: float, dice: Dice) -> tuple[float, float]:
    """Width and height in [0, 1]: sides spread over all scales."""
    side = float(np.exp(dice.uniform(np.log(0.03), np.log(largest))))
    lean = 0.75 if noun == "person" else 0.0
    aspect = float(np.exp(dice.uniform(-0.8, 0.8) - lean))
    return min(side * aspect**0.5, 0.98), min(side / aspect**0.5, 0.98)


def _lay_out(shapes: list[tuple[float, float]], dice: Dice) -> list[Box | None]:
    """Boxes in pixels of the frame, None where there was no room."""
    placed: list[Box] = []
    boxes: list[Box | None] = []
    for width, height in shapes:
        box = _find_room(width, height, placed, dice)
        boxes.append(box)
        placed += [box] if box is not None else []
    return boxes


def _find_room(width: float, height: float, placed: list[Box], dice: Dice) -> Box | None:
    for _ in range(_TRIES):
        left, top = dice.uniform(0, 1 - width), dice.uniform(0, 1 - height)
        box = (left * SIDE, top * SIDE, (left + width) * SIDE, (top + height) * SIDE)
        if all(_iou(box, other) < _MAX_IOU for other in placed):
            return box
    return None


def _iou(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return width * height / (area - width * height)


def _thing(noun: str, box: Box, dice: Dice) -> Thing:
    colour = None
    if noun in PHOTOGRAPHS.colourable and dice.maybe(0.7):
        colour = dice.choice(COLOURS)
    return Thing(noun, colour, size_of(box), box)


def _draw_doubts(scene: Scene, dice: Dice) -> tuple[Doubt, ...]:
    """What is there perhaps: one or two names of a family, or none at all."""
    placed = [thing.box for thing in scene.things]
    present = [thing.noun for thing in scene.things]
    doubts = []
    for _ in range(dice.pick(DOUBTS)):
        noun = dice.choice(NOUNS)
        box = _find_room(*_draw_shape(noun, 0.75, dice), placed, dice)
        # The visual part doubts no name of which it is sure elsewhere.
        if box is None or noun in present:
            continue
        placed.append(box)
        names = {0: (), 1: (noun,), 2: (noun, _relative(noun, dice))}[
            dice.pick({0: 1.0, 1: 2.0, 2: 1.0})
        ]
        doubts.append(Doubt(names, box))
    return tuple(doubts)


def _relative(noun: str, dice: Dice) -> str:
    """Another noun, mostly of the same group, that one may take it for."""
    pool = PHOTOGRAPHS.group_with(noun) if dice.maybe(0.7) else NOUNS
    others = [other for other in pool if other != noun] or [n for n in NOUNS if n != noun]
    return dice.choice(others)


@dataclass(frozen=True, eq=False)
class SeenRegions:
    """Regions as the visual part gives them, from left to right by their centres.

    Attributes:
        boxes: (N, 4) float32 xyxy in [0, 1].
        names: (N, nouns) float32 weights.
        colours: (N, 11) float32 weights; all 0 where unknown.
        sizes: (N, 3) float32, one of them 1.
        certainties: (N, 3) float32, one of them 1.
        features: (N, F) float32, what else a picture gives: noise.
        source: (N,) index of the box of the sample that this region stands for, else -1.
    """

    boxes: NDArray[np.float32]
    names: NDArray[np.float32]
    colours: NDArray[np.float32]
    sizes: NDArray[np.float32]
    certainties: NDArray[np.float32]
    features: NDArray[np.float32]
    source: NDArray[np.int64]

    def __len__(self) -> int:
        """N."""
        return len(self.boxes)


NUM_FEATURES = 64
"""F, pooled features of a region that have no name."""
_MOST_REGIONS = 95
"""A detector lists about 76, mostly faint."""
_SPARSE_SHARE = 0.25
"""Share of scenes with any number of faint regions, down to none."""
_FAINT_SIDE = 0.3
"""Most of the side of the picture that what is faint takes up, if it is no part of a thing."""


def seen_regions(scene: Scene, dice: Dice, tempting: tuple[str, ...] = ()) -> SeenRegions:
    """Everything a detector lists: things, doubts, and what it hardly believes in itself.

    Args:
        scene: with things and doubts.
        dice: what is added.
        tempting: nouns that are asked for and not there; something faint bears their names.
    """
    rng = dice.arrays
    items: list[_Item] = [(t.box, (t.noun,), t.colour, SURE) for t in scene.things]
    items += [
        (doubt.box, doubt.nouns, _any_colour(dice), UNSURE if doubt.nouns else FAINT)
        for doubt in scene.doubts
    ]
    known = len(items)
    items += _faint(scene, dice, tempting)
    boxes = np.array([box for box, *_ in items], np.float32).reshape(-1, 4)
    source = np.where(np.arange(len(items)) < known, np.arange(len(items)), -1)
    kept = np.flatnonzero((source >= 0) | ~_hidden(boxes, known))
    if len(kept) == 0:
        return seen_regions(replace(scene, doubts=(Doubt((), _anywhere(dice)),)), dice)
    centres = boxes[:, 0] + boxes[:, 2]
    order = kept[np.argsort(centres[kept], kind="stable")]
    names, colours, sizes, certainties = _weights([items[i] for i in order])
    features = rng.standard_normal((len(order), NUM_FEATURES), np.float32)
    return SeenRegions(
        (boxes[order] / SIDE).astype(np.float32),
        names,
        colours,
        sizes,
        certainties,
        features,
        source[order],
    )


_Item = tuple[Box, tuple[str, ...], str | None, int]


def _weights(items: list[_Item]) -> tuple[NDArray[np.float32], ...]:
    names, colours, sizes, certainties = (
        np.zeros((len(items), count), np.float32)
        for count in (len(NOUNS), len(COLOURS), len(SIZES), 3)
    )
    for row, (box, nouns, colour, certainty) in enumerate(items):
        for noun, weight in zip(nouns, (1.0, SECOND_WEIGHT), strict=False):
            names[row, NOUN_INDEX[noun]] = weight if certainty < FAINT else FAINT_WEIGHT
        if colour is not None:
            colours[row, COLOURS.index(colour)] = 1
        sizes[row, SIZES.index(size_of(box))] = 1
        certainties[row, certainty] = 1
    return names, colours, sizes, certainties


def _faint(scene: Scene, dice: Dice, tempting: tuple[str, ...]) -> list[_Item]:
    """Parts and doubles of what is there, and boxes of nothing much: mostly a whole list full.

    As the detector gives them: two in five bear the name of a thing, every second of these far
    from any; what may be there is seen again and again; half of all lie on something.
    """
    known = [(thing.box, thing.noun) for thing in scene.things]
    doubted = [(doubt.box, doubt.nouns[0]) for doubt in scene.doubts if doubt.nouns]
    others = [noun for noun in tempting if dice.maybe(0.5)]
    others += [dice.choice(NOUNS) for _ in range(2 + dice.below(10))]
    most = _MOST_REGIONS - len(scene.things) - len(scene.doubts)
    least = 0 if dice.maybe(_SPARSE_SHARE) else most // 2
    items: list[_Item] = []
    for _ in range(least + dice.below(most - least)):
        box = _faint_box(dice.choice(known)[0], dice) if known else _anywhere(dice, _FAINT_SIDE)
        # A few nouns have most of them.
        noun = others[min(dice.below(len(others)), dice.below(len(others)))]
        if known and dice.maybe(0.42):
            where, noun = dice.choice(known)
            box = _faint_box(where, dice)
        elif doubted and dice.maybe(0.3):
            where, noun = dice.choice(doubted)
            box = _faint_box(where, dice)
        items.append((box, (noun,), _any_colour(dice), FAINT))
    return items


def _faint_box(around: Box, dice: Dice) -> Box:
    """A part of a box, a small piece of it, or something elsewhere."""
    which = dice.below(4)
    if which == 0:
        return _part(around, dice)
    left, top, right, bottom = _anywhere(dice, _FAINT_SIDE)
    if which == 1:
        x, y = around[0] + dice.chance() * (around[2] - around[0]), around[1]
        y += dice.chance() * (around[3] - around[1])
        x, y = min(x, SIDE - (right - left)), min(y, SIDE - (bottom - top))
        return x, y, x + right - left, y + bottom - top
    return left, top, right, bottom


def _any_colour(dice: Dice) -> str | None:
    return dice.choice(COLOURS) if dice.maybe(0.5) else None


def _anywhere(dice: Dice, largest: float = 0.75) -> Box:
    width, height = _draw_shape("", largest, dice)
    left, top = dice.uniform(0, 1 - width), dice.uniform(0, 1 - height)
    return left * SIDE, top * SIDE, (left + width) * SIDE, (top + height) * SIDE


def _part(box: Box, dice: Dice) -> Box:
    """A piece of a box, or one that reaches beyond it."""
    x0, y0, x1, y1 = box
    width, height = x1 - x0, y1 - y0
    moved = [
        x0 + dice.uniform(-0.3, 0.5) * width,
        y0 + dice.uniform(-0.3, 0.5) * height,
        x1 - dice.uniform(-0.3, 0.5) * width,
        y1 - dice.uniform(-0.3, 0.5) * height,
    ]
    low_x, low_y, high_x, high_y = (min(max(value, 0.0), float(SIDE)) for value in moved)
    return low_x, low_y, max(high_x, low_x + 5), max(high_y, low_y + 5)


def _hidden(boxes: NDArray[np.float32], known: int) -> NDArray[np.bool_]:
    """(N,) what selection drops beside one of the first `known` boxes."""
    if known == 0:
        return np.zeros(len(boxes), bool)
    first = torch.from_numpy(boxes[:known])
    return (pairwise_iou(torch.from_numpy(boxes), first).amax(dim=1) > _MAX_IOU).numpy()
