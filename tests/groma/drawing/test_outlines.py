import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from groma.drawing.outlines import outlines
from groma.shapes import Mask

masks = arrays.arrays(
    bool,
    arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=16),
    elements=st.booleans(),
).filter(np.any)


@given(masks)
def test_filled_outlines_are_the_mask_again(pixels: np.ndarray) -> None:
    filled = np.zeros_like(pixels)
    for polygon in outlines(Mask.of(pixels)):
        assert len(polygon) >= 3
        flat = [at for place in polygon for at in place]
        (runs,) = coco_mask.frPyObjects([flat], *pixels.shape)
        # A hole's outline takes away what the outline around it has covered.
        filled ^= coco_mask.decode(runs).astype(bool)
    assert (filled == pixels).all()
