import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from groma.ops.boxes import box_area, pairwise_overlap
from groma.ops.tiles import (
    best_tiles,
    is_cut,
    merge,
    tile_windows,
    tiles_per_side,
    to_picture,
    to_tile,
)

SEVERAL = st.integers(2, 3)


@st.composite
def boxes_of(draw: st.DrawFn, low: float = 0.0, high: float = 1.0, most: int = 12) -> Tensor:
    """(N, 4) with area, N >= 1."""
    corners = st.tuples(*[st.floats(low, high)] * 4)
    drawn = torch.tensor(draw(st.lists(corners, min_size=1, max_size=most)))
    first, second = drawn.split(2, dim=1)
    return torch.cat([torch.minimum(first, second), torch.maximum(first, second) + 0.01], dim=1)


@st.composite
def found(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, many of them alike, their scores, with ties, and whether the whole picture's."""
    boxes = draw(boxes_of(most=6)).repeat(2, 1)
    boxes[len(boxes) // 2 :] += draw(st.floats(0, 0.1))
    count = len(boxes)
    scores = st.lists(st.sampled_from([0.2, 0.5, 0.9]), min_size=count, max_size=count)
    whole = st.lists(st.booleans(), min_size=count, max_size=count)
    return boxes, torch.tensor(draw(scores)), torch.tensor(draw(whole))


@given(SEVERAL, st.integers(1, 90), st.integers(1, 90))
def test_every_pixel_is_in_a_tile(per_side: int, height: int, width: int) -> None:
    windows = tile_windows(per_side)
    assert windows.shape == (per_side**2, 4)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([x, y, x + 1, y + 1], dim=-1).flatten(0, 1)
    centres = (pixels[:, :2] + 0.5) / torch.tensor([width, height])
    inside = (centres[:, None] >= windows[:, :2]) & (centres[:, None] <= windows[:, 2:])
    assert inside.all(dim=2).any(dim=1).all()
    assert (windows.amin(), windows.amax()) == (0, 1)


def test_the_whole_picture_alone_has_no_tiles() -> None:
    assert len(tile_windows(1)) == 0


@given(SEVERAL, boxes_of())
def test_mapping_there_and_back_changes_nothing(per_side: int, boxes: Tensor) -> None:
    for window in tile_windows(per_side):
        places = window.expand(len(boxes), 4)
        torch.testing.assert_close(to_picture(to_tile(boxes, places), places), boxes)
        torch.testing.assert_close(to_tile(to_picture(boxes, places), places), boxes)


@given(SEVERAL, boxes_of(0.02, 0.96))
def test_a_box_inside_a_tile_is_whole(per_side: int, in_tile: Tensor) -> None:
    for window in tile_windows(per_side):
        assert not is_cut(in_tile, window[None]).any()


@pytest.mark.parametrize(
    ("window", "in_tile", "cut"),
    [
        ((0, 0, 0.5, 0.5), (0, 0, 0.4, 0.4), False),
        ((0, 0, 0.5, 0.5), (-0.1, 0.2, 0.4, 0.4), False),
        ((0, 0, 0.5, 0.5), (0.5, 0.2, 1.0, 0.4), True),
        ((0, 0, 0.5, 0.5), (0.2, 0.5, 0.4, 0.995), True),
        ((0.5, 0.5, 1, 1), (0.001, 0.2, 0.4, 0.4), True),
        ((0.5, 0.5, 1, 1), (0.2, -0.1, 0.4, 0.4), True),
        ((0.5, 0.5, 1, 1), (0.2, 0.2, 1.0, 1.0), False),
    ],
)
def test_only_an_edge_inside_the_picture_cuts(window: tuple, in_tile: tuple, cut: bool) -> None:
    assert is_cut(torch.tensor([in_tile]), torch.tensor([window])).item() is cut


@given(found(), st.integers(1, 12))
def test_what_is_merged_repeats_nothing_of_another_view(drawn: tuple, limit: int) -> None:
    boxes, scores, is_whole = drawn
    kept = merge(boxes, scores, is_whole, 0.3, limit)
    assert 1 <= len(kept) <= limit
    assert (scores[kept].diff() <= 0).all()
    area = box_area(boxes[kept])
    alike = torch.minimum(area[:, None], area) > 0.5 * torch.maximum(area[:, None], area)
    repeats = alike & (pairwise_overlap(boxes[kept], boxes[kept]) > 0.8)
    of_whole = is_whole[kept, None] & is_whole[kept]
    assert not (repeats & ~of_whole).fill_diagonal_(False).any()


@given(found())
def test_merging_what_is_merged_changes_nothing(drawn: tuple) -> None:
    boxes, scores, is_whole = drawn
    kept = merge(boxes, scores, is_whole, 0.3, len(boxes))
    again = merge(boxes[kept], scores[kept], is_whole[kept], 0.3, len(boxes))
    assert again.tolist() == list(range(len(kept)))


@given(found(), st.randoms())
def test_the_order_of_what_is_merged_decides_nothing(drawn: tuple, random) -> None:
    order = list(range(len(drawn[0])))
    random.shuffle(order)
    turned = [part[order] for part in drawn]
    first, second = merge(*drawn, 0.3, limit=5), merge(*turned, 0.3, limit=5)
    for part, turned_part in zip(drawn, turned, strict=True):
        assert torch.equal(part[first], turned_part[second])


def test_the_whole_picture_suppresses_none_of_its_own() -> None:
    boxes = torch.tensor([[0, 0, 0.4, 0.4], [0, 0, 0.4, 0.39], [0, 0, 0.4, 0.38]])
    scores, is_whole = torch.tensor([0.7, 0.8, 0.9]), torch.tensor([True, True, False])
    assert merge(boxes, scores, is_whole, 0.3, 10).tolist() == [1, 0]
    # What the whole picture hardly shows loses to a tile that shows it better.
    assert merge(boxes, scores, is_whole, 0.8, 10).tolist() == [2]
    assert merge(boxes / 8, scores, is_whole, 0.3, 10).tolist() == [2]


def test_a_tile_adds_no_parts_but_small_things_in_front() -> None:
    boxes = torch.tensor([[0, 0, 0.4, 0.4], [0, 0, 0.2, 0.2], [0.1, 0.1, 0.2, 0.2]])
    scores, is_whole = torch.tensor([0.7, 0.8, 0.9]), torch.tensor([True, False, False])
    assert merge(boxes, scores, is_whole, 0.3, 10).tolist() == [2, 0]


@given(SEVERAL, boxes_of())
def test_a_region_is_seen_in_a_tile_that_shows_all_of_it(per_side: int, boxes: Tensor) -> None:
    windows = tile_windows(per_side)
    for box, tile in zip(boxes, best_tiles(boxes, windows).tolist(), strict=True):
        in_tile = to_tile(box[None], windows[tile, None])
        if tile >= 0:
            assert in_tile.amin() > -0.01
            assert in_tile[:, :2].amax() < in_tile[:, 2:].amax() < 1.03
            assert box_area(in_tile) < 0.25
        else:
            whole = ~is_cut(to_tile(box.expand(len(windows), 4), windows), windows)
            large = box_area(to_tile(box.expand(len(windows), 4), windows)) >= 0.25
            assert (large | ~whole).all()


def test_the_best_tile_has_it_nearest_the_middle() -> None:
    windows = tile_windows(3)
    middles = torch.cat([windows[:, :2] + 0.15, windows[:, 2:] - 0.15], dim=1)
    assert best_tiles(middles, windows).tolist() == list(range(9))


@pytest.mark.parametrize(
    ("height", "width", "per_side"),
    [(1, 1, 1), (448, 448, 1), (480, 640, 1), (768, 1024, 2), (1000, 90, 2), (3000, 4000, 3)],
)
def test_tiles_keep_about_all_pixels(height: int, width: int, per_side: int) -> None:
    assert tiles_per_side(height, width, 448) == per_side
