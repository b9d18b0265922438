"""How well a maker of masks finds things in their true boxes, where their pixels are known."""

import numpy as np
from PIL import Image

from groma.eval.statistics.intervals import Estimate, Figure, ratio, sums
from groma.masks.maker import MaskMaker
from groma.shapes import Box
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.scene import Scene


def measure_masks(scenes: SceneGenerator, count: int, maker: MaskMaker) -> Estimate:
    """Mean intersection over union of made and true masks, over all things of scenes.

    Args:
        scenes: where pictures come from.
        count: of scenes.
        maker: makes masks of the true boxes of all things.
    """
    overlaps = [scene_overlaps(scenes[i], maker) for i in range(count)]
    counts = np.array([[sum(each), len(each)] for each in overlaps])
    figure = Figure("iou", "mean IoU", int(counts[:, 1].sum()))
    return sums((figure,), counts, lambda x: ratio(x)[..., None]).estimates()["iou"]


def scene_overlaps(scene: Scene, maker: MaskMaker) -> list[float]:
    """Intersection over union of made and true mask, for every thing of a drawn scene."""
    assert scene.pixels is not None
    assert scene.owner is not None
    made = maker.look(Image.fromarray(scene.pixels)).masks([Box(*t.box) for t in scene.things])
    pairs = [(mask.mask(scene.size), scene.owner == i) for i, mask in enumerate(made, start=1)]
    return [float((found & true).sum() / (found | true).sum()) for found, true in pairs]
