"""What is true of one illustrated scene: the frozen annotations everything else reads."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from groma.types import Box, Size
from recipes.scenes.vocabulary import ILLUSTRATED, Vocabulary

Pixels = np.ndarray
"""An array of uint8; OpenCV's own types are wider than what it returns."""


@dataclass(frozen=True, slots=True)
class Thing:
    """One drawn object.

    Attributes:
        noun: one of `nouns.NOUNS`.
        colour: one of `nouns.COLOURS` where it is unmistakable, else None.
        size: "small", "medium" or "large": the drawn sprite's longer side against the picture's
            shorter one (0.116-0.188, 0.205-0.321, 0.357-0.571), however much of it is hidden.
        box: tight box of its visible pixels, xyxy in pixels of the scene.
        visible: share of its pixels that nothing hides and the frame does not cut, >= 0.6.
    """

    noun: str
    colour: str | None
    size: str
    box: Box
    visible: float = 1.0

    @property
    def centre(self) -> tuple[float, float]:
        """(x, y) of the box, in pixels."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])


@dataclass(frozen=True, slots=True)
class Stuff:
    """A stretch of background with a name.

    Attributes:
        name: one of `nouns.STUFF`; at most one of each name per scene.
        box: xyxy in pixels of the whole stretch, things in front of it not cut out.
    """

    name: str
    box: Box


@dataclass(frozen=True, slots=True)
class Doubt:
    """Something that cannot be told for sure.

    Attributes:
        nouns: what it may be, likeliest first; none if nobody can say.
        box: xyxy in pixels.
    """

    nouns: tuple[str, ...]
    box: Box


@dataclass(frozen=True, eq=False)
class Scene:
    """A composed picture and everything that is true of it.

    Attributes:
        key: "split/seed/index", which makes the scene again.
        size: (H, W) in pixels, the frame of all boxes.
        things: at least one; in drawing order, later ones in front.
        stuff: none to three stretches of background.
        parts: boxes of coloured parts of things (a roof, a wheel), class-agnostic.
        style: atlas of the sprites, or "mixed".
        pixels: (H, W, 3) uint8 RGB, None for a symbolic scene.
        owner: (H, W) uint8, 1 + index of the thing seen at a pixel, 0 for background.
        doubts: what may be there too; drawn scenes hold none.
        vocabulary: what scenes of this kind can hold.
    """

    key: str
    size: Size
    things: tuple[Thing, ...]
    stuff: tuple[Stuff, ...] = ()
    parts: tuple[Box, ...] = ()
    style: str = "mixed"
    pixels: Pixels | None = field(default=None, repr=False)
    owner: Pixels | None = field(default=None, repr=False)
    doubts: tuple[Doubt, ...] = ()
    vocabulary: Vocabulary = field(default=ILLUSTRATED, repr=False)

    @property
    def masks(self) -> NDArray[np.bool_]:
        """(N, H, W) visible pixels of each thing.

        Raises:
            ValueError: if the scene is symbolic.
        """
        if self.owner is None:
            raise ValueError(f"Scene {self.key} is symbolic: it has no masks.")
        return self.owner[None] == np.arange(1, len(self.things) + 1, dtype=np.uint8)[:, None, None]

    @property
    def thing_boxes(self) -> NDArray[np.float32]:
        """(N, 4) xyxy in pixels: the truth of the objectness head for whole objects."""
        return _box_array([thing.box for thing in self.things])

    @property
    def region_boxes(self) -> NDArray[np.float32]:
        """(M, 4) xyxy in pixels: things, then stuff, then parts (the other objectness head)."""
        return _box_array(
            [thing.box for thing in self.things]
            + [stuff.box for stuff in self.stuff]
            + list(self.parts)
        )


def _box_array(boxes: list[Box]) -> NDArray[np.float32]:
    return np.array(boxes, np.float32).reshape(-1, 4)
