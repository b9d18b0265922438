"""Which regions of a picture a conversation is written about (paper 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from groma.ops.boxes import box_area, nms, pairwise_iou
from groma.types import GromaError

_SAME = 0.5  # ioU from which on two boxes mean one thing


@dataclass(frozen=True)
class RegionChoice:
    """How regions are chosen."""

    fewest: int = 3  # a picture with fewer is not used
    most: int = 10  # the best ones are kept
    max_iou: float = 0.3  # a region that overlaps a better one more than this is dropped
    min_area: float = 0.001  # least share of the picture; smaller ones cannot be recognised
    max_area: float = 0.9  # largest share of the picture; a larger one is the picture itself

    def __post_init__(self) -> None:
        """Refuse what leaves nothing to choose."""
        if not 1 <= self.fewest <= self.most:
            raise GromaError("The fewest regions must be 1 at least, and no more than the most.")
        if not (0 <= self.max_iou < 1 and 0 <= self.min_area < self.max_area <= 1):
            raise GromaError("Overlaps and areas of regions must be shares between 0 and 1.")


def choose_regions(
    boxes: Tensor, choice: RegionChoice, scores: Tensor | None = None
) -> list[list[int]]:
    """Drop what overlaps, is tiny or fills the picture, and keep the best of the rest.

    Args:
        boxes: (N, 4) xyxy in [0, 1].
        choice: thresholds and limits.
        scores: (N,) the better the higher. Without them a region is the better the more boxes
            agree on it, and the larger it is among those.

    Returns:
        For every region that is kept, from left to right, its index in N and then the indices of
        the boxes that mean the same.

    Raises:
        GromaError: if there are too few.
    """
    boxes = boxes.double()
    overlaps = pairwise_iou(boxes, boxes)
    areas = box_area(boxes)
    if scores is None:
        scores = (overlaps >= _SAME).sum(dim=1) + areas.sqrt() / 2
    is_fit = (areas >= choice.min_area) & (areas <= choice.max_area)
    fit = is_fit.nonzero().flatten()
    kept = fit[nms(boxes[fit], scores[fit].double(), choice.max_iou, choice.most)]
    if len(kept) < choice.fewest:
        raise GromaError(f"Fewer than {choice.fewest} regions are left that do not overlap.")
    centres = boxes[kept, 0] + boxes[kept, 2]
    return [_with_same(int(index), kept, overlaps) for index in kept[centres.argsort(stable=True)]]


def merge_texts(
    groups: Sequence[Sequence[int]], texts: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    """The different texts of every group of boxes that `choose_regions` returns, in its order."""
    merged = []
    for group in groups:
        different = {texts[index].casefold(): texts[index] for index in reversed(group)}
        merged.append(tuple(reversed(different.values())))
    return tuple(merged)


def _with_same(index: int, kept: Tensor, overlaps: Tensor) -> list[int]:
    """A region, and the boxes that were dropped because they mean the same as it does."""
    nearest = kept[overlaps[:, kept].argmax(dim=1)]
    is_same = (overlaps[index] >= _SAME) & (nearest == index)
    is_same[kept] = False
    return [index, *torch.nonzero(is_same).flatten().tolist()]
