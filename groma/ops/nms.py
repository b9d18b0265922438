"""Non-maximum suppression."""

import torch
from torch import Tensor

from groma.ops.boxes import intersection_union


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
    order = scores.argsort(descending=True, stable=True)
    ranked = boxes[order]
    intersection, union = intersection_union(ranked[:, None], ranked[None])
    # One copy to the host: a loop over a CUDA tensor would wait for the device at every step.
    separate = (intersection <= iou_threshold * union).cpu()
    candidates = torch.arange(len(order))
    kept: list[int] = []
    while len(candidates) and (limit is None or len(kept) < limit):
        best = int(candidates[0])
        kept.append(best)
        candidates = candidates[1:][separate[best, candidates[1:]]]
    return order[torch.tensor(kept, dtype=torch.int64, device=order.device)]
