"""Which regions are chosen, and where their marks stand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from groma.instruct.region_choice import RegionChoice, choose_regions, merge_texts
from groma.instruct.region_marks import (
    _HIDDEN,
    _mark_height,
    _place_marks,
    draw_marks,
    resize_for_marks,
)
from groma.ops.boxes import box_area, pairwise_iou
from groma.types import GromaError


def some_boxes(count: int, seed: int) -> torch.Tensor:
    """(count, 4) xyxy in [0, 1] of any size."""
    dice = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=dice)
    far = corner + (1 - corner) * torch.rand(count, 2, generator=dice) ** 2
    return torch.cat([corner, far], dim=1)


@given(seed=st.integers(0, 999), count=st.integers(8, 60), scored=st.booleans())
@settings(max_examples=30)
def test_chosen_regions_do_not_overlap(seed: int, count: int, scored: bool) -> None:
    boxes = some_boxes(count, seed)
    scores = torch.rand(count, generator=torch.Generator().manual_seed(seed)) if scored else None
    choice = RegionChoice(fewest=1)
    groups = choose_regions(boxes, choice, scores)
    kept = torch.tensor([group[0] for group in groups])
    assert 1 <= len(kept) <= choice.most
    overlaps = pairwise_iou(boxes[kept], boxes[kept]).fill_diagonal_(0)
    assert overlaps.max() <= choice.max_iou + 1e-6
    areas = box_area(boxes[kept])
    assert ((areas >= choice.min_area - 1e-6) & (areas <= choice.max_area + 1e-6)).all()
    centres = boxes[kept, 0] + boxes[kept, 2]
    assert (centres.diff() >= -1e-6).all()
    members = [index for group in groups for index in group]
    assert len(set(members)) == len(members)
    for group in groups:
        assert (pairwise_iou(boxes[group[:1]], boxes[group]) >= 0.5).all()


def test_what_many_agree_on_is_chosen_with_all_its_texts() -> None:
    dog, cat, far = (0.1, 0.1, 0.4, 0.5), (0.5, 0.5, 0.9, 0.9), (0.6, 0.05, 0.7, 0.2)
    dog_2, dog_3 = (0.1, 0.12, 0.4, 0.5), (0.12, 0.1, 0.41, 0.52)
    half_dog, all_of_it, speck = (0.1, 0.1, 0.3, 0.4), (0, 0, 1, 1), (0.45, 0.1, 0.46, 0.11)
    boxes = torch.tensor([dog, cat, far, dog_2, dog_3, half_dog, all_of_it, speck])
    texts = ["a dog", "a cat", "a bird", "brown animal", "A dog", "head", "a room", "a nail"]
    groups = choose_regions(boxes, RegionChoice())
    assert {1, 2} < {group[0] for group in groups}
    assert {0, 3, 4} <= set(groups[0])
    merged = merge_texts(groups, texts)
    assert merged[1:] == (("a bird",), ("a cat",)) or merged[1:] == (("a cat",), ("a bird",))
    assert {text.casefold() for text in merged[0]} >= {"a dog", "brown animal"}
    assert len(merged[0]) == len({text.casefold() for text in merged[0]})
    with pytest.raises(GromaError, match="Fewer than 4"):
        choose_regions(boxes, RegionChoice(fewest=4))
    with pytest.raises(GromaError, match="Fewer than 3"):
        choose_regions(torch.zeros(0, 4), RegionChoice())
    with pytest.raises(GromaError):
        RegionChoice(fewest=5, most=4)


def shared(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    return float(np.prod(np.maximum(sides, 0)))


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("seed", range(20))
def test_marks_hide_nothing_and_stay_apart(seed: int, small: bool) -> None:
    height, width = 480, 640
    boxes = some_boxes(40, seed)
    if small:
        sides = (boxes[:, 2:] - boxes[:, :2]).clamp(max=0.03)
        boxes = torch.cat([boxes[:, :2], boxes[:, :2] + sides], dim=1)
    groups = choose_regions(boxes, RegionChoice(fewest=1, min_area=0.0002))
    kept = boxes[[group[0] for group in groups]].double() * torch.tensor([width, height] * 2)
    marks = _place_marks([tuple(box) for box in kept.tolist()], (height, width))
    assert [mark.number for mark in marks] == list(range(1, len(kept) + 1))
    places = [np.array(mark.box_px) for mark in marks]
    for i, place in enumerate(places):
        assert (place[:2] >= -1e-6).all()
        assert (place[2:] <= np.array([width, height]) + 1e-6).all()
        assert place[3] - place[1] == pytest.approx(_mark_height((height, width)))
        assert all(shared(place, other) < 1e-6 for other in places[:i])
        for box in kept.numpy():
            assert shared(place, box) <= (_HIDDEN + 1e-6) * np.prod(box[2:] - box[:2])


def test_a_large_region_is_marked_at_its_centre_and_a_tiny_one_beside_it() -> None:
    large, tiny = (100.0, 100.0, 500.0, 400.0), (560.0, 40.0, 572.0, 50.0)
    first, second = _place_marks([large, tiny], (480, 640))
    x1, y1, x2, y2 = first.box_px
    assert ((x1 + x2) / 2, (y1 + y2) / 2) == pytest.approx((300, 250))
    assert first.tip_px is None
    assert shared(np.array(second.box_px), np.array(tiny)) == 0
    tip = second.tip_px
    assert tip is not None
    assert tiny[0] <= tip[0] <= tiny[2]
    assert tiny[1] <= tip[1] <= tiny[3]
    # In the picture: the number is there, and what the tiny region shows is untouched.
    image = Image.new("RGB", (640, 480), "white")
    image.paste("black", tuple(map(int, tiny)))
    marked = draw_marks(image, [large, tiny])
    assert marked.crop((560, 40, 572, 50)).getextrema() == ((0, 0),) * 3
    assert len(marked.crop(tuple(map(int, first.box_px))).getcolors(9999)) > 2
    assert image.getpixel((300, 250)) == (255, 255, 255)


def test_pictures_get_a_size_for_marks() -> None:
    for size, expected in (
        ((96, 64), (640, 427)),
        ((700, 50), (700, 50)),
        ((999, 4000), (256, 1024)),
    ):
        assert resize_for_marks(Image.new("RGB", size), 1024).size == expected


def test_no_regions_no_marks() -> None:
    image = Image.new("RGB", (64, 48), "white")
    assert _place_marks([], (48, 64)) == []
    assert draw_marks(image, []).getcolors() == [(64 * 48, (255, 255, 255))]
