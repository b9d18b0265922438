"""Which found boxes are which true ones: overlaps and one-to-one matching."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from groma.ops.boxes import pairwise_iou
from groma.types import Box

IOU = 0.5  # from this overlap on two boxes are the same thing


def overlaps(found: Sequence[Box], truth: Sequence[Box]) -> NDArray[np.float64]:
    """(F, T) intersection over union of found and true boxes xyxy in the same unit."""
    a, b = (torch.tensor(boxes, dtype=torch.float64).reshape(-1, 4) for boxes in (found, truth))
    return pairwise_iou(a, b).numpy()


def match_boxes(
    found: Sequence[Box],
    truth: Sequence[Box],
    threshold: float = IOU,
    allowed: NDArray[np.bool_] | None = None,
) -> list[tuple[int, int]]:
    """Pair as many boxes as can be paired, each at most once; of equal pairings the tightest.

    Boxes are xyxy in the same unit; `allowed`, (F, T), says which pairs may be made at all. Returns
    (found, true) indices, in the order of `found`.
    """
    from scipy.optimize import linear_sum_assignment  # slow, and of no use to an answer

    if not found or not truth:
        return []
    iou = overlaps(found, truth)
    possible = iou >= threshold
    if allowed is not None:
        possible &= allowed
    # One more pair is worth more than any tightness of the others.
    worth = np.where(possible, min(iou.shape) + 1 + iou, 0.0)
    rows, columns = linear_sum_assignment(worth, maximize=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return [(row, column) for row, column in pairs if possible[row, column]]


def is_first(found: Sequence[Box], box: Box) -> bool:
    """Whether the first of the boxes found is this one (REC, paper 5.1): IoU above 0.5."""
    return bool(found) and bool(overlaps(found[:1], [box])[0, 0] > IOU)


def num_matched(found: Sequence[Box], truth: Sequence[Box], threshold: float = IOU) -> int:
    """How many boxes `match_boxes` pairs."""
    return len(match_boxes(found, truth, threshold))
