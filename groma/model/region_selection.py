"""Which proposals and user boxes become regions: a pure function (paper 3.1, Region Proposer)."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from groma.config import GromaConfig
from groma.ops.nms import nms


@dataclass(frozen=True)
class SelectionPolicy:
    """When a candidate box becomes a region.

    Attributes:
        nms_threshold: a box overlapping a better one by more than this IoU is dropped.
        score_threshold: a box at or below this score is dropped; <= 0 keeps all.
        limit: most regions.
        order: of the regions that are chosen; "left_to_right" is by the centres of their boxes.
    """

    nms_threshold: float = 0.6
    score_threshold: float = 0.15
    limit: int = 100
    order: Literal["score", "left_to_right"] = "score"

    @classmethod
    def of(cls, config: GromaConfig) -> "SelectionPolicy":
        """The policy a model was trained with."""
        return cls(
            config.nms_threshold, config.score_threshold, config.max_regions, config.region_order
        )


def select_regions(
    boxes: Tensor, scores: Tensor, policy: SelectionPolicy, at_least: int = 1
) -> Tensor:
    """Choose which candidate boxes become regions (paper 3.1, 5.1 for the thresholds).

    Args:
        boxes: (Q, 4) xyxy in [0, 1], Q >= 1.
        scores: (Q,) objectness in [0, 1].
        policy: IoU threshold, score threshold and region limit.
        at_least: 1 keeps the single best box when nothing passes the score threshold; 0 does not.

    Returns:
        (N,) indices into Q in the policy's order; at_least <= N <= policy.limit.
    """
    passing = torch.arange(len(scores), device=scores.device)
    if policy.score_threshold > 0:
        passing = passing[scores > policy.score_threshold]
    if len(passing) == 0:
        return scores.argmax(keepdim=True)[:at_least]
    kept = nms(boxes[passing], scores[passing], policy.nms_threshold, policy.limit)
    chosen = passing[kept]
    if policy.order == "score":
        return chosen
    return chosen[(boxes[chosen, 0] + boxes[chosen, 2]).argsort(stable=True)]
