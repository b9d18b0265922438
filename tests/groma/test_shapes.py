import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from groma.limits import LONGEST_MASK, MOST_POINTS, MOST_STROKES
from groma.shapes import Box, Mask, Point, Polygon, Scribble, box_around, read_shape, read_shapes
from groma.types import GromaError

SIZE = (40, 60)
HEIGHT, WIDTH = SIZE

masks = arrays.arrays(
    bool, arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
).filter(np.any)
places = st.tuples(st.floats(-20, WIDTH + 20), st.floats(-20, HEIGHT + 20))
inside = st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT))
corners = st.tuples(inside, inside).filter(
    lambda two: two[1][0] - two[0][0] > 0.1 and two[1][1] - two[0][1] > 0.1
)
shapes = st.one_of(
    st.builds(lambda two: Box(*two[0], *two[1]), corners),
    st.builds(lambda at: Point(*at), inside),
    st.builds(
        lambda at, strokes, width: Scribble(((at,), *strokes), width),
        inside.filter(lambda at: at[0] < WIDTH and at[1] < HEIGHT),
        st.lists(st.lists(places, min_size=1, max_size=5).map(tuple), max_size=3),
        st.none() | st.floats(0.5, 10),
    ),
    st.builds(
        lambda first, rest: Polygon((first, *rest)),
        inside.filter(lambda at: at[0] < WIDTH and at[1] < HEIGHT),
        st.lists(places, min_size=2, max_size=6),
    ),
    st.builds(Mask.of, arrays.arrays(bool, SIZE).filter(np.any)),
)


def mask_of(*rows: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in row] for row in rows])


@given(shapes)
def test_every_shape_comes_back_from_its_json(shape) -> None:
    assert read_shape(json.loads(json.dumps(shape.to_json())), SIZE) == shape
    assert read_shape(shape, SIZE) == shape


@given(shapes)
def test_the_box_of_a_shape_holds_its_mask_and_lies_in_the_picture(shape) -> None:
    mask, (x1, y1, x2, y2) = shape.mask(SIZE), shape.box(SIZE)
    assert mask.shape == SIZE
    assert mask.any()
    assert 0 <= x1 < x2 <= WIDTH
    assert 0 <= y1 < y2 <= HEIGHT
    left, top, right, bottom = box_around(mask)
    assert x1 - 1 < left <= x1 < right
    assert y1 - 1 < top <= y1 < bottom
    assert right - 1 < x2 <= right
    assert bottom - 1 < y2 <= bottom


@given(masks)
def test_a_mask_is_what_pycocotools_writes(pixels: np.ndarray) -> None:
    mask = Mask.of(pixels)
    theirs = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    assert mask.to_run_lengths() == {"size": theirs["size"], "counts": theirs["counts"].decode()}
    assert (mask.mask(pixels.shape) == pixels).all()
    x, y, width, height = coco_mask.toBbox(theirs)
    assert mask.box(pixels.shape) == (x, y, x + width, y + height)


@given(masks)
def test_run_lengths_need_not_be_compressed(pixels: np.ndarray) -> None:
    columns = pixels.flatten(order="F")
    edges = np.flatnonzero(np.diff(columns, prepend=False)).tolist()
    counts = np.diff([0, *edges, len(columns)]).tolist()
    assert Mask.from_json({"size": list(pixels.shape), "counts": counts}) == Mask.of(pixels)


def test_what_a_pen_covers() -> None:
    dot = Scribble((((2.5, 1.5),),), width=1)
    assert (dot.mask((3, 5)) == mask_of(".....", "..#..", ".....")).all()
    line = Scribble((((0.2, 0.2), (3.9, 0.9)), ((4.5, 2.5),)), width=1)
    assert (line.mask((3, 5)) == mask_of("####.", ".....", "....#")).all()
    thick = Scribble((((1, 2.5), (8.5, 2.5)),), width=3).mask((5, 10))
    assert thick[1:4, 1:9].all()
    assert not thick[[0, 4]].any()


def test_what_an_outline_covers() -> None:
    lasso = Polygon(((1.5, 0.5), (3.5, 0.5), (3.5, 2.5), (1.5, 2.5)))
    assert (lasso.mask((4, 5)) == mask_of(".###.", ".###.", ".###.", ".....")).all()
    assert Box(1, 0, 3.2, 2).box((4, 5)) == (1, 0, 3.2, 2)
    assert (Box(1, 0, 3.2, 2).mask((4, 5)) == lasso.mask((4, 5)) & [[1], [1], [0], [0]]).all()


def test_a_pen_is_as_wide_as_it_says_wherever_it_goes() -> None:
    for end in ((80, 20), (80, 80), (20, 80)):
        pixels = Scribble((((20, 20), end),), width=9).mask((100, 100))
        length = np.hypot(end[0] - 20, end[1] - 20)
        assert pixels.sum() == pytest.approx(9 * length + np.pi * 4.5**2, rel=0.1)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([1, 2, 3], "four numbers"),
        ([9, 9, 1, 1], "inverted"),
        (None, "four numbers"),
        ({}, "must be a box"),
        ({"circle": [1, 2]}, "must be a box"),
        ({"point": [1, 2], "polygon": []}, "must be a box"),
        ({"point": [1, 2, 3]}, "two numbers"),
        ({"point": ["a", 2]}, "two numbers"),
        ({"point": None}, "two numbers"),
        ({"point": [-1, 2]}, "outside the picture"),
        ({"point": [1, 40.5]}, "outside the picture"),
        ({"point": [float("nan"), 2]}, "far outside"),
        ({"scribble": []}, "1 to 100 strokes"),
        ({"scribble": [[[1, 1]]] * 10_000}, "1 to 100 strokes"),
        ({"scribble": {}}, "1 to 100 strokes"),
        ({"scribble": [[]]}, "at least 1 point"),
        ({"scribble": "abc"}, "two numbers"),
        ({"scribble": [[[1, 1]] * (MOST_POINTS + 1)]}, "more than 2,000"),
        ({"scribble": [[[1, 1]] * 21] * MOST_STROKES}, "more than 2,000"),
        ({"scribble": [[[1e300, 1]]]}, "far outside"),
        ({"scribble": [[[-30, 1], [-30, 9]]], "width": 3}, "outside the picture"),
        ({"scribble": [[[1, 1]]], "width": 0}, "width must be above 0"),
        ({"scribble": [[[1, 1]]], "width": 1e9}, "width must be above 0"),
        ({"scribble": [[[1, 1]]], "width": "wide"}, "width must be above 0"),
        ({"polygon": [[1, 1], [2, 2]]}, "at least 3 points"),
        ({"polygon": [[70, 50], [80, 50], [80, 60]]}, "outside the picture"),
        ({"mask": "0"}, "size"),
        ({"mask": {"size": [40, 60]}}, "size"),
        ({"mask": {"size": [0, 60], "counts": "0"}}, "size"),
        ({"mask": {"size": [40, 60], "counts": 7}}, "text or a list"),
        ({"mask": {"size": [40, 60], "counts": "0" * (LONGEST_MASK + 1)}}, "text or a list"),
        ({"mask": {"size": [10**6, 10**6], "counts": "0"}}, "too large"),
        ({"mask": {"size": [40, 60], "counts": [2400]}}, "empty"),
        ({"mask": {"size": [40, 60], "counts": [0, 2401]}}, "damaged"),
        ({"mask": {"size": [40, 60], "counts": [2401, -2, 1]}}, "damaged"),
        ({"mask": {"size": [40, 60], "counts": [10**12]}}, "damaged"),
        ({"mask": {"size": [40, 60], "counts": [[1], 2]}}, "damaged"),
        ({"mask": {"size": [40, 60], "counts": ""}}, "damaged"),
        ({"mask": {"size": [40, 60], "counts": "ünknown"}}, "damaged"),
        ({"mask": {"size": [40, 60], "counts": "o" * 500_000}}, "damaged"),
        ({"mask": Mask.of(np.ones((4, 5))).to_run_lengths()}, "5 x 4 pixels, but this one has 60"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(value, why: str) -> None:
    with pytest.raises(GromaError, match=rf"^(Region|Box) 7[^\n]*{why}[^\n]*\.$"):
        read_shape(value, SIZE, 7)


@given(st.text(st.characters(min_codepoint=40, max_codepoint=120), max_size=12))
def test_run_lengths_that_lie_are_refused_or_fill_the_picture(counts: str) -> None:
    try:
        mask = read_shape({"mask": {"size": [4, 5], "counts": counts}}, (4, 5))
    except GromaError:
        return
    assert isinstance(mask, Mask)
    assert mask.mask((4, 5)).any()
    assert (coco_mask.decode(mask.to_run_lengths()) == mask.mask((4, 5))).all()


def test_the_first_wrong_region_is_named() -> None:
    fine = {"point": [1, 2]}
    assert read_shapes([[1, 2, 3, 4], fine], SIZE, 2) == [Box(1, 2, 3, 4), Point(1, 2)]
    with pytest.raises(GromaError, match=r"^Region 2: "):
        read_shapes([fine, {"point": [99, 2]}], SIZE, 2)
    with pytest.raises(GromaError, match="3 regions are too many: at most 2"):
        read_shapes([fine] * 3, SIZE, 2)


@pytest.mark.parametrize("rows", [slice(0, 1), slice(700, 1400), slice(1, None, 9)])
def test_long_runs_are_read_as_pycocotools_writes_them(rows: slice) -> None:
    pixels = np.zeros((2000, 1500), bool)
    pixels[rows, 300:] = True
    pixels[:, 900:1200] = False
    written = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    mask = Mask(pixels.shape, written["counts"].decode())
    assert (mask.mask(pixels.shape) == pixels).all()
    assert mask == Mask.of(pixels)
