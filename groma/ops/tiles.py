"""Parts of a picture that are looked at by themselves, so that small things are seen larger.

A tile's window is xyxy in [0, 1] of the picture, `boxes_in_tile` are xyxy in [0, 1] of the tile.
The whole picture is looked at besides, and what is found there and in tiles is merged.
"""

import torch
from torch import Tensor

from groma.ops.boxes import box_area, pairwise_overlap

_MOST_PER_SIDE = 3
_SHARED = 0.2
"""Share of a tile's side that its neighbour shows too: what is smaller is whole in one of them."""
_AT_EDGE = 0.01
"""What comes as near to the edge of a tile may go on beyond it."""
_LARGE = 0.5
"""What is as large in a tile is seen as well in the whole picture, with what is around it."""
_SAME_PLACE, _SAME_SIZE = 0.8, 0.5
"""Two boxes are one thing where they share so much of the smaller, and that is so much of the
larger: a thing in front of another is no repetition."""
_SEEN, _PART = 0.1, 0.1
"""What the whole picture shows with a side of so much of its own it shows well: what a tile finds
there is a part of it, unless it is as small as this against it."""


def tiles_per_side(height: int, width: int, image_size: int) -> int:
    """How many tiles in a row it takes to see about all the pixels of a picture, from 1 to 3.

    `image_size` is the side in pixels to which a model reduces what it looks at.
    """
    return min(max(1, round(max(height, width) / image_size)), _MOST_PER_SIDE)


def tile_windows(per_side: int) -> Tensor:
    """Where the tiles of a picture lie, row by row, so many in a row and in a column.

    Returns (T, 4) xyxy in [0, 1] that cover the picture, `per_side` squared of them; for 1, which
    is the whole picture alone, none.
    """
    if per_side == 1:
        return torch.zeros(0, 4)
    side = 1 / (per_side - (per_side - 1) * _SHARED)
    edges = torch.linspace(0, 1 - side, per_side), torch.linspace(side, 1, per_side)
    return torch.cat([torch.cartesian_prod(edge, edge).flip(1) for edge in edges], dim=1)


def to_picture(boxes_in_tile: Tensor, windows: Tensor) -> Tensor:
    """Boxes (..., 4) of tiles whose windows (..., 4) are given, in the picture."""
    low, high = windows.split(2, dim=-1)
    return boxes_in_tile * (high - low).repeat(1, 2) + low.repeat(1, 2)


def to_tile(boxes: Tensor, windows: Tensor) -> Tensor:
    """The inverse of `to_picture`: boxes of the picture, as tiles show them."""
    low, high = windows.split(2, dim=-1)
    return (boxes - low.repeat(1, 2)) / (high - low).repeat(1, 2)


def is_cut(boxes_in_tile: Tensor, windows: Tensor) -> Tensor:
    """Whether boxes (N, 4) may go on beyond their tile; the picture's own edges cut nothing.

    `windows` are (N, 4) of their tiles, or (1, 4) of one tile. Returns (N,) bool.
    """
    low, high = boxes_in_tile[:, :2] < _AT_EDGE, boxes_in_tile[:, 2:] > 1 - _AT_EDGE
    goes_on_low, goes_on_high = windows[:, :2] > 0, windows[:, 2:] < 1
    return ((low & goes_on_low) | (high & goes_on_high)).any(dim=1)


def merge(boxes: Tensor, scores: Tensor, is_whole: Tensor, threshold: float, limit: int) -> Tensor:
    """Keep one box, the best, of what was found both in the whole picture and in tiles.

    Boxes of the whole picture never suppress one another, and large ones are never suppressed.

    Args:
        boxes: (Q, 4) xyxy in [0, 1] of the picture.
        scores: (Q,).
        is_whole: (Q,) bool, whether a box was found in the whole picture.
        threshold: a box of the whole picture that scores more shows a thing.
        limit: most boxes to keep.

    Returns:
        (N,) indices into Q, best first. Which boxes they are does not depend on their order.
    """
    is_seen = is_whole & (scores > threshold) & (box_area(boxes) >= _SEEN**2)
    is_part = _are_alike(boxes, boxes[is_seen], _PART).any(dim=1) & ~is_whole
    # Equal scores are ranked by place, so that the order of tiles decides nothing.
    order = (~is_part).nonzero().flatten()
    for key in (*boxes.unbind(dim=1), ~is_whole, -scores):
        order = order[key[order].argsort(stable=True)]
    ranked, from_whole = boxes[order], is_whole[order]
    # One copy to the host, as in `nms`.
    repeats = (_are_alike(ranked, ranked, _SAME_SIZE) & ~(from_whole[:, None] & from_whole)).cpu()
    is_kept = torch.ones(len(order), dtype=torch.bool)
    for best in range(len(order)):
        if is_kept[best]:
            is_kept[best + 1 :] &= ~repeats[best, best + 1 :]
    return order[is_kept.nonzero().flatten()[:limit].to(order.device)]


def best_tiles(boxes: Tensor, windows: Tensor) -> Tensor:
    """The tile in which each box is seen best: whole, and nearest to the middle.

    Boxes are (N, 4) in the picture, `windows` (T, 4) of its tiles, T >= 1. Returns (N,) indices
    into T; -1 where the whole picture shows a box better.
    """
    pairs = (len(boxes), len(windows), 4)
    spread = windows[None].expand(pairs).flatten(0, 1)
    in_tile = to_tile(boxes[:, None].expand(pairs).flatten(0, 1), spread)
    fits = ~is_cut(in_tile, spread) & (box_area(in_tile) < _LARGE**2)
    centres = (in_tile[:, :2] + in_tile[:, 2:]) / 2
    distance = (centres - 0.5).abs().amax(dim=1).masked_fill(~fits, torch.inf)
    nearest, tile = distance.unflatten(0, pairs[:2]).min(dim=1)
    return tile.masked_fill(nearest.isinf(), -1)


def _are_alike(a: Tensor, b: Tensor, size: float) -> Tensor:
    """(N, M) whether boxes lie in one place, the smaller more than `size` of the larger."""
    areas = box_area(a)[:, None], box_area(b)
    is_near_size = torch.minimum(*areas) > size * torch.maximum(*areas)
    return (pairwise_overlap(a, b) > _SAME_PLACE) & is_near_size
