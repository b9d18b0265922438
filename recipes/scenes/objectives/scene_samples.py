"""Illustrated scenes as samples for detection pretraining."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from groma.image import normalise_boxes
from groma.types import IGNORED
from recipes.scenes.nouns import COLOURS, NOUN_INDEX, NOUNS, SIZES, STUFF, STUFF_INDEX
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.scene import Scene

CLASS_NAMES = (*NOUNS, *STUFF)
"""What a region can be called: things, then stuff."""
BACKGROUND = len(CLASS_NAMES)
"""Label of a patch that shows nothing with a name."""
KINDS = (*SIZES, "stuff", "part")
"""What kind of region a box is: a thing of some size, stuff, or a part of a thing."""
PART_WEIGHT = 0.3
"""Parts outnumber things and matter less."""

Batch = dict[str, Tensor | list[Tensor]]


@dataclass(frozen=True)
class SceneSamples(Dataset):
    """Scenes by index with everything detection pretraining learns from them.

    Attributes:
        generator: where scenes come from; the same index is always the same sample.
        length: how many scenes count as one pass.
        patch_size: side of the image encoder's patches in pixels.
    """

    generator: SceneGenerator
    length: int
    patch_size: int

    def __len__(self) -> int:
        """Scenes of one pass."""
        return self.length

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One sample: see `to_sample`."""
        return to_sample(self.generator[index], self.patch_size)


def to_sample(scene: Scene, patch_size: int) -> dict[str, Tensor]:
    """Turn a scene into tensors.

    Args:
        scene: with pixels; its sides are multiples of `patch_size`.
        patch_size: side of a patch in pixels.

    Returns:
        `pixels` (3, H, W) uint8; `patch_labels` (P,) class of each patch; and for R regions, things
        before stuff before parts: `boxes` (R, 4) xyxy in [0, 1], `labels` (R,) and `colours` (R,)
        with -100 for none, `kinds` (R,) indices into `KINDS`, `weights` (R,).
    """
    parts = len(scene.parts)
    names = [NOUN_INDEX[thing.noun] for thing in scene.things]
    names += [len(NOUNS) + STUFF_INDEX[stuff.name] for stuff in scene.stuff]
    colours = [COLOURS.index(t.colour) if t.colour else IGNORED for t in scene.things]
    kinds = [KINDS.index(thing.size) for thing in scene.things]
    kinds += [KINDS.index("stuff")] * len(scene.stuff) + [KINDS.index("part")] * parts
    regions = len(kinds)
    return {
        "pixels": to_planes(scene),
        "patch_labels": torch.from_numpy(patch_labels(scene, patch_size)),
        "boxes": normalise_boxes(scene.region_boxes.tolist(), scene.size),
        "labels": torch.tensor(names + [IGNORED] * parts),
        "colours": torch.tensor(colours + [IGNORED] * (regions - len(colours))),
        "kinds": torch.tensor(kinds),
        "weights": torch.tensor([1.0] * (regions - parts) + [PART_WEIGHT] * parts),
    }


def to_planes(scene: Scene) -> Tensor:
    """(3, H, W) uint8 pixels of a drawn scene."""
    assert scene.pixels is not None
    return torch.from_numpy(np.ascontiguousarray(scene.pixels.transpose(2, 0, 1)))


def patch_labels(scene: Scene, patch_size: int) -> NDArray[np.int64]:
    """What most pixels of each patch show.

    Args:
        scene: with its owner map.
        patch_size: side of a patch in pixels.

    Returns:
        (P,) row-major: the noun of the thing that owns most pixels; where that is the background,
        the stuff whose box covers the patch's centre, `BACKGROUND` without any, and -100 where two
        stretches of stuff meet.
    """
    assert scene.owner is not None
    rows, columns = (side // patch_size for side in scene.size)
    patch = np.arange(rows).repeat(patch_size)[:, None] * columns
    patch = patch + np.arange(columns).repeat(patch_size)
    owners = len(scene.things) + 1
    counts = np.bincount((patch * owners + scene.owner).ravel(), minlength=rows * columns * owners)
    winner = counts.reshape(-1, owners).argmax(axis=1)
    behind = _stuff_labels(scene, rows, columns, patch_size)
    nouns = np.array([-1] + [NOUN_INDEX[thing.noun] for thing in scene.things])
    return np.where(winner == 0, behind, nouns[winner])


def _stuff_labels(scene: Scene, rows: int, columns: int, patch_size: int) -> NDArray[np.int64]:
    """(P,) the stuff behind each patch's centre, as `patch_labels` says."""
    y, x = (np.mgrid[:rows, :columns] + 0.5).reshape(2, -1) * patch_size
    labels = np.full(rows * columns, BACKGROUND)
    for stuff in scene.stuff:
        left, top, right, bottom = stuff.box
        inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
        label = len(NOUNS) + STUFF_INDEX[stuff.name]
        labels[inside] = np.where(labels[inside] == BACKGROUND, label, IGNORED)
    return labels


def collate(samples: Sequence[dict[str, Tensor]]) -> Batch:
    """Stack what has one shape, list what has not."""
    return {
        "pixels": torch.stack([sample["pixels"] for sample in samples]),
        "patch_labels": torch.stack([sample["patch_labels"] for sample in samples]),
        **{
            name: [sample[name] for sample in samples]
            for name in ("boxes", "labels", "colours", "kinds", "weights")
        },
    }
