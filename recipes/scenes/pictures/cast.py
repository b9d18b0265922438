"""Who plays in a scene: nouns, colours and sizes, before anything is drawn."""

from dataclasses import dataclass

from groma.dice import Dice
from recipes.scenes.nouns import COLOURABLE, NATURAL_COLOURS, NOUNS, TINTS

SIZE_RANGES: dict[str, tuple[float, float]] = {
    "small": (26 / 224, 42 / 224),
    "medium": (46 / 224, 72 / 224),
    "large": (80 / 224, 128 / 224),
}
"""Longer side of the drawn sprite against the picture's shorter side; gaps keep words clear."""
COUNTS: dict[int, float] = {2: 1.0, 3: 1.3, 4: 1.5, 5: 1.5, 6: 1.3, 7: 1.1, 8: 1.0}
TWINS: dict[int, float] = {2: 3.0, 3: 1.5, 4: 0.7}
TWIN_SHARE = 0.37
TINTED_SHARE = 0.75


@dataclass(frozen=True, slots=True)
class Role:
    """A thing to be drawn.

    Attributes:
        noun, size: as in `Thing`.
        colour: what it will be called, or None.
        tinted: whether `colour` must be painted on, or is the sprite's own.
        side: longer side of the sprite as a share of the picture's shorter side.
    """

    noun: str
    colour: str | None
    tinted: bool
    size: str
    side: float


def draw_cast(dice: Dice) -> list[Role]:
    """Two to eight things; a third of the casts hold one noun two to four times.

    Larger things come first, mostly, so that they do not hide the others.
    """
    count = dice.pick(COUNTS)
    nouns = dice.sample(NOUNS, count)
    if dice.maybe(TWIN_SHARE):
        twins = dice.pick(TWINS)
        noun = dice.choice(sorted(COLOURABLE)) if dice.maybe(0.4) else nouns[0]
        nouns = ([noun] * twins + [other for other in nouns if other != noun])[:count]
    roles = [draw_role(noun, count, dice) for noun in nouns]
    if dice.maybe(0.7):
        return sorted(roles, key=lambda role: -role.side)
    return dice.shuffled(roles)


def draw_role(noun: str, count: int, dice: Dice) -> Role:
    """One thing of a cast of `count`: the more there are, the smaller."""
    large = 1.1 if count <= 4 else 0.6
    size = dice.pick({"small": 1.0, "medium": 1.2, "large": large})
    side = dice.uniform(*SIZE_RANGES[size])
    if noun in COLOURABLE and dice.maybe(TINTED_SHARE):
        return Role(noun, dice.choice(TINTS), True, size, side)
    return Role(noun, NATURAL_COLOURS.get(noun), False, size, side)
