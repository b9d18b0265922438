"""The one policy of which boxes become regions, in answers and trainings (paper 3.1, 5.1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from groma.config import GromaConfig
from groma.ops.boxes import nms
from groma.ops.tiles import is_cut, merge, to_picture
from groma.types import Proposals, Regions

_GROUND_SCORE = 0.2
"""Score of a true box among the candidates: it passes the threshold, and loses to an overlapping
prediction that is surer (paper 3.3)."""

_MOST_PROPOSALS = 300
"""Of a picture that is looked at in tiles: as many as the paper's proposer makes of a picture."""


@dataclass(frozen=True)
class SelectionPolicy:
    """When a candidate box becomes a region."""

    nms_threshold: float = 0.6  # a box overlapping a better one by more than this IoU is dropped
    score_threshold: float = 0.15  # a box at or below this score is dropped; <= 0 keeps all
    limit: int = 100  # most regions
    # Of the regions that are chosen; "left_to_right" is by the centres of their boxes.
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
    # Not even a comparison with 0: a threshold of 0 keeps boxes with a score of exactly 0.
    if policy.score_threshold > 0:
        passing = passing[scores > policy.score_threshold]
    if len(passing) == 0:
        return scores.argmax(keepdim=True)[:at_least]
    # Corners are not clipped to the picture before, so that parity holds at its edge.
    kept = nms(boxes[passing], scores[passing], policy.nms_threshold, policy.limit)
    chosen = passing[kept]
    if policy.order == "score":
        return chosen
    return chosen[(boxes[chosen, 0] + boxes[chosen, 2]).argsort(stable=True)]


def select_candidates(
    proposals: Proposals, refer: Tensor, ground: Tensor, policy: SelectionPolicy
) -> tuple[Regions, Tensor]:
    """Choose the regions of one picture of a training: all candidates go through one NMS.

    Candidates are the proposals, (K, 4) boxes of the user, whose score of 1 nothing beats, and
    (G, 4) true ones, both xyxy in [0, 1]. Returns the regions, without tokens, and for each which
    candidate it is, in this order.
    """
    boxes = torch.cat([proposals.boxes, refer, ground])
    user_scores = proposals.scores.new_ones(len(refer))
    true_scores = proposals.scores.new_full((len(ground),), _GROUND_SCORE)
    scores = torch.cat([proposals.scores, user_scores, true_scores])
    chosen = select_regions(boxes, scores, policy)
    first_user = len(proposals.scores)
    is_user = (chosen >= first_user) & (chosen < first_user + len(refer))
    return Regions(boxes[chosen], scores[chosen], is_user), chosen


def merge_proposals(
    whole: Proposals,
    in_tiles: Sequence[Proposals],
    windows: Tensor,
    trust: float,
    threshold: float,
) -> tuple[Proposals, Tensor]:
    """Put together what was found in a whole picture and, uncut, in tiles of it.

    Boxes of the T tiles are xyxy in [0, 1] of the tile, whose `windows` (T, 4) are in the picture;
    their scores are multiplied by `trust`. A proposal of the picture that scores more than
    `threshold` shows a thing. Returns the best of both, and for each which it is: proposals of the
    picture come first, then those of one tile after the other.
    """
    counts = torch.tensor([len(tile.scores) for tile in in_tiles], device=windows.device)
    places = windows.repeat_interleave(counts, dim=0)
    found = torch.cat([tile.boxes for tile in in_tiles])
    boxes = torch.cat([whole.boxes, to_picture(found, places)])
    scores = torch.cat([whole.scores, *(trust * tile.scores for tile in in_tiles)])
    is_whole = torch.arange(len(boxes), device=boxes.device) < len(whole.scores)
    is_uncut = torch.cat([is_whole[is_whole], ~is_cut(found, places)])
    rows = is_uncut.nonzero().flatten()
    rows = rows[merge(boxes[rows], scores[rows], is_whole[rows], threshold, _MOST_PROPOSALS)]
    return Proposals(boxes[rows], scores[rows]), rows
