"""Box formats, areas, overlaps and non-maximum suppression.

`boxes` are xyxy in any one unit, the same for both sets.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Below any box that can be seen; it only keeps 0 / 0 from being NaN.
_MIN_AREA = 1e-9


def box_cxcywh_to_xyxy(boxes_cxcywh: Tensor) -> Tensor:
    """Turn (..., 4) centre and size into (..., 4) corners."""
    centre, size = boxes_cxcywh.split(2, dim=-1)
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def box_xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """Turn (..., 4) corners into (..., 4) centre and size."""
    low, high = boxes.split(2, dim=-1)
    return torch.cat([(low + high) / 2, high - low], dim=-1)


def box_area(boxes: Tensor) -> Tensor:
    """Areas (...,) of boxes (..., 4); an inverted box has none."""
    left, top, right, bottom = boxes.unbind(dim=-1)
    return (right - left).clamp(min=0) * (bottom - top).clamp(min=0)


def intersection_union(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Areas (...,) that boxes (..., 4) share and cover with their partners; both broadcast.

    Returns intersection and union, in float32 at least.
    """
    # In 16 bit an area has two or three digits, too few to compare an IoU with a threshold.
    a, b = _promote(a, b)
    shared = _span_area(a, b, torch.maximum, torch.minimum)
    return shared, box_area(a) + box_area(b) - shared


def generalised_iou(a: Tensor, b: Tensor) -> Tensor:
    """Generalised intersection over union (Rezatofighi et al. 2019) of boxes and their partners.

    Both are (..., 4) and broadcast. Returns (...,) in [-1, 1], in float32 at least: the IoU less
    the share of the common hull that neither box covers.
    """
    a, b = _promote(a, b)
    shared, union = intersection_union(a, b)
    hull = _span_area(a, b, torch.minimum, torch.maximum)
    iou = shared / union.clamp(min=_MIN_AREA)
    return iou - (hull - union) / hull.clamp(min=_MIN_AREA)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every pair of boxes (N, 4) and (M, 4).

    Returns (N, M) in [0, 1], in float32 at least; two boxes without area overlap by 0.
    """
    shared, union = intersection_union(a[:, None], b[None])
    return shared / union.clamp(min=_MIN_AREA)


def pairwise_overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over the smaller area of every pair of boxes (N, 4) and (M, 4).

    Returns (N, M) in [0, 1], in float32 at least: 1 where one box contains the other; a box without
    area overlaps nothing.
    """
    shared, _ = intersection_union(a[:, None], b[None])
    smaller = torch.minimum(box_area(a)[:, None], box_area(b)[None])
    return shared / smaller.clamp(min=_MIN_AREA)


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, limit: int | None = None) -> Tensor:
    """Drop every box that overlaps a better one too much.

    Args:
        boxes: (Q, 4) xyxy in any unit; all belong to one class.
        scores: (Q,); among equal scores the earlier box is better.
        iou_threshold: a box is dropped if its IoU with a kept, better box is above this.
        limit: most boxes to keep; None keeps all that survive.

    Returns:
        (N,) indices into Q, best first.
    """
    # Stable: boxes of the user all score 1, and the first drawn must stay the first.
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes[order]
    intersection, union = intersection_union(ranked[:, None], ranked[None])
    # One copy to the host: a loop over a CUDA tensor would wait for the device at every step, and
    # one over any tensor costs several times what one over an array does.
    separate = (intersection <= iou_threshold * union).cpu().numpy()
    candidates = torch.arange(len(order)).numpy()
    kept: list[int] = []
    while len(candidates) and (limit is None or len(kept) < limit):
        best = int(candidates[0])
        kept.append(best)
        candidates = candidates[1:][separate[best, candidates[1:]]]
    return order[torch.tensor(kept, dtype=torch.int64, device=order.device)]


def _promote(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    dtype = torch.promote_types(torch.promote_types(a.dtype, b.dtype), torch.float32)
    return a.to(dtype), b.to(dtype)


def _span_area(a: Tensor, b: Tensor, low: Callable, high: Callable) -> Tensor:
    left, top, right, bottom = a.unbind(dim=-1)
    left_b, top_b, right_b, bottom_b = b.unbind(dim=-1)
    width = (high(right, right_b) - low(left, left_b)).clamp(min=0)
    return width * (high(bottom, bottom_b) - low(top, top_b)).clamp(min=0)
