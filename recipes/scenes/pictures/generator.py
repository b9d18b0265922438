"""Illustrated scenes: everyday things composed into pictures whose truth is known.

A scene depends on (split, seed, index) alone: the splits share no scene, and the same key gives
the same bytes. Another size draws the same cast again at another resolution.
"""

from dataclasses import dataclass, replace
from functools import partial

from groma.dice import Dice, Split
from groma.types import Box, GromaError, Size
from recipes.scenes.nouns import FLYING
from recipes.scenes.pictures import filters
from recipes.scenes.pictures.backgrounds import Backdrop, make_backdrop
from recipes.scenes.pictures.camera import photograph
from recipes.scenes.pictures.canvas import Canvas
from recipes.scenes.pictures.cast import Role, draw_cast
from recipes.scenes.pictures.patch import Patch, draw_patch
from recipes.scenes.pictures.sprites import STYLES, Sprite, load_style
from recipes.scenes.scene import Scene, Thing

_TRIES = 8
_MIXED_SHARE = 0.15
_CUT_SHARE = 0.1
_HARD_SHARE = 0.55
_SMALLEST_PART = 10 / 224


@dataclass(frozen=True)
class SceneGenerator:
    """An endless, indexable source of scenes; picklable, so it works in loader processes.

    Attributes:
        split: "train", "val" or "test".
        seed: another seed is another endless row of scenes.
        size: (H, W) of the pictures, or one side of a square, in pixels.
        style: atlas to draw from; None draws from all styles that may be trained on.
        augment: change sprites hard, for styles never seen; None means in training only.
        side: longer side of every thing in pixels; None draws it, by how many there are.
    """

    split: Split = "train"
    seed: int = 0
    size: Size | int = 224
    style: str | None = None
    augment: bool | None = None
    side: int | None = None

    def __post_init__(self) -> None:
        if min(self.frame) < 64:
            raise GromaError(f"Scenes need pictures of at least 64 pixels, not {self.size}.")

    @property
    def frame(self) -> Size:
        """(H, W) of every picture."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def __getitem__(self, index: int) -> Scene:
        """Compose one scene.

        Args:
            index: any whole number >= 0.

        Returns:
            A scene with pixels, two to eight things with tight boxes, stuff and parts.
        """
        dice = Dice.of(self.split, self.seed, index)
        augment = self.split == "train" if self.augment is None else self.augment
        painter = _Painter(self._draw_style(dice), dice, dice.maybe(_HARD_SHARE) and augment)
        cast = draw_cast(dice)
        if self.side is not None:
            cast = [replace(role, side=self.side / min(self.frame)) for role in cast]
        canvas, things, backdrop = painter.paint(self.frame, cast)
        smallest = _SMALLEST_PART * min(self.frame)
        parts = [box for i in range(len(things)) for box in canvas.part_boxes(i, smallest)]
        return Scene(
            key=f"{self.split}/{self.seed}/{index}",
            size=self.frame,
            things=tuple(things),
            stuff=backdrop.stuff,
            parts=tuple(parts),
            style=painter.style or "mixed",
            pixels=photograph(canvas.pixels, dice),
            owner=canvas.owner,
        )

    def _draw_style(self, dice: Dice) -> str | None:
        """One style for a whole scene; None mixes them, in training only."""
        style, mixed = dice.choice(STYLES), dice.maybe(_MIXED_SHARE)
        if self.style is not None:
            return self.style
        return None if mixed and self.split == "train" else style


class _Painter:
    """Draws one scene's cast onto a background."""

    def __init__(self, style: str | None, dice: Dice, hard: bool):
        self.style, self.dice, self.hard = style, dice, hard

    def paint(self, frame: Size, cast: list[Role]) -> tuple[Canvas, list[Thing], Backdrop]:
        """Draw until at least one thing is in view; a thing without room is left out."""
        while True:
            backdrop = make_backdrop(frame, self.dice)
            canvas = Canvas(backdrop.pixels)
            grounded = backdrop.horizon if self.dice.maybe(0.5) else None
            roles = [placed for role in cast if (placed := self._place(canvas, role, grounded))]
            if len(roles) >= min(2, len(cast)):
                things = [self._describe(canvas, i, role) for i, role in enumerate(roles)]
                return canvas, things, backdrop

    def _place(self, canvas: Canvas, role: Role, horizon: float | None) -> Role | None:
        """Draw one thing and find room for it; its role with the colour it really has."""
        sprite = load_style(self.style or self.dice.choice(STYLES))[role.noun]
        patch, colour = self._draw(sprite, role, role.side * min(canvas.size))
        if not patch.area:
            return None
        for _ in range(_TRIES):
            left, top = self._choose_corner(canvas.size, patch, role.noun in FLYING, horizon)
            if canvas.paste(patch, left, top):
                return Role(role.noun, colour, role.tinted, role.size, role.side)
        return None

    def _draw(self, sprite: Sprite, role: Role, side: float) -> tuple[Patch, str | None]:
        """The patch of a role, and its colour's name after all filters."""
        chosen: list[filters.Filter] = []
        colour = role.colour
        if role.tinted and colour is not None:
            chosen.append(partial(filters.tint, sprite=sprite, colour=colour))
        if self.hard:
            more, named = filters.draw_filters(self.dice, keep_colour=role.tinted)
            chosen += more
            colour = colour if named else None
        warp = self.hard and self.dice.maybe(0.4)
        return draw_patch(sprite, side, chosen, self.dice, warp), colour

    def _choose_corner(
        self, frame: Size, patch: Patch, flies: bool, horizon: float | None
    ) -> tuple[int, int]:
        """A random top left; with a horizon, things stand on the ground and some fly."""
        height, width = patch.alpha.shape
        cut = 0.2 if self.dice.maybe(_CUT_SHARE) else 0.0
        left = self.dice.uniform(-cut * width, frame[1] - width * (1 - cut))
        low, high = -cut * height, frame[0] - height * (1 - cut)
        if horizon is not None and flies:
            high = min(high, max(low, horizon - height))
        elif horizon is not None:
            low = max(low, min(high, horizon - height * 0.8))
        return round(left), round(self.dice.uniform(low, high))

    @staticmethod
    def _describe(canvas: Canvas, index: int, role: Role) -> Thing:
        placed = canvas.placed[index]
        box: Box = canvas.visible_box(index)
        return Thing(role.noun, role.colour, role.size, box, placed.seen / placed.total)
