"""How well a maker of masks finds things in their true boxes, where their pixels are known."""

import numpy as np
from PIL import Image

from groma.eval.statistics.intervals import Figure, Measure, mean
from groma.masks.maker import MaskMaker
from groma.shapes import Box
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.scene import Scene


def measure_masks(scenes: SceneGenerator, count: int, maker: MaskMaker) -> Measure:
    """Mean overlap of made and true masks.

    Args:
        scenes: where pictures come from.
        count: of scenes.
        maker: makes masks of the true boxes of all things.

    Returns:
        The mean over things of intersection over union.
    """
    overlaps = [each for i in range(count) for each in scene_overlaps(scenes[i], maker)]
    return mean(Figure("masks_iou", "mean IoU of masks", len(overlaps)), np.array(overlaps))


def scene_overlaps(scene: Scene, maker: MaskMaker) -> list[float]:
    """Intersection over union of made and true mask, for every thing of a drawn scene."""
    assert scene.pixels is not None
    assert scene.owner is not None
    made = maker.look(Image.fromarray(scene.pixels)).masks([Box(*t.box) for t in scene.things])
    pairs = [(mask.mask(scene.size), scene.owner == i) for i, mask in enumerate(made, start=1)]
    return [float((found & true).sum() / (found | true).sum()) for found, true in pairs]
