"""Outlines of masks, as pages and COCO files draw them."""

import numpy as np

from groma.shapes import Mask, box_around

_FINER = 2
"""A mask is looked at this many times as large: thin lines have no outline otherwise."""


def outlines(mask: Mask) -> list[list[list[float]]]:
    """Polygons around a mask, one for each of its pieces; those of holes come as well.

    Each is at least three places [x, y] in pixels of the picture; filled, with the holes left out,
    they cover the mask again.
    """
    from supervision import mask_to_polygons  # late: it takes a second

    pixels = mask.mask(mask.size)
    left, top, right, bottom = map(int, box_around(pixels))
    cut = pixels[top:bottom, left:right]
    finer = cut.repeat(_FINER, axis=0).repeat(_FINER, axis=1)
    # Half a fine pixel further is where a fine pixel's middle is.
    corner = np.array([left, top]) + 0.5 / _FINER
    return [(polygon / _FINER + corner).tolist() for polygon in mask_to_polygons(finer)]
