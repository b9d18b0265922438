"""Names that labelled boxes have taught: a linear classifier beside the region encoder.

A handful of examples is enough to tell a new thing from what is around it, in what the image
encoder sees of a box, though not to move a region encoder without harm to what it knows. So such
names are learnt apart: regions that show the thing get the name's direction on top of their token,
and every other region is what it was before.
"""

import torch
from torch import Tensor, nn

from groma.ops.boxes import pairwise_overlap
from groma.ops.roi_align import roi_align
from groma.types import Proposals

BINS = 3
"""Bins per side of what is seen of a box: enough to tell a part from the whole."""
_SEEN = 0.5
_NEVER = -20.0
_SAME = 0.5
"""Share of the smaller of two boxes that lies in the other, from which they may show one thing."""


class TaughtNames(nn.Module):
    """Recognises things by name in boxes; one that was taught nothing yet recognises none."""

    def __init__(self, count: int, channels: int, width: int) -> None:
        """Make room for C names, seen on K channels, in the D of a language model."""
        super().__init__()
        # (C, K * BINS**2), what of a box speaks for each name, and (C,).
        self.weight = nn.Parameter(torch.zeros(count, channels * BINS**2))
        self.bias = nn.Parameter(torch.full((count,), _NEVER))
        # (C, D), what each name adds to a region token.
        self.directions = nn.Parameter(torch.zeros(count, width))
        self.requires_grad_(False)

    @torch.no_grad()
    def take(self, known: "TaughtNames") -> None:
        """Take over names, in place, as the first ones."""
        for part, learnt in known.named_parameters():
            self.get_parameter(part)[: len(learnt)] = learnt

    def forward(self, feature_map: Tensor, boxes: Tensor) -> Tensor:
        """Say what (N, 4) boxes, xyxy in [0, 1], show of the (K, h, w) map of one picture.

        Returns (N, C) probabilities, each name by itself; those below one half are 0.
        """
        scores = see(feature_map, boxes) @ self.weight.float().mT + self.bias.float()
        probabilities = scores.sigmoid()
        return probabilities * (probabilities > _SEEN)

    def lift(self, proposals: Proposals, feature_map: Tensor) -> Proposals:
        """The proposals of a picture in their order, what shows something taught scored as that.

        Parts of such a thing, and what holds more than it, show it too: for whatever overlaps them
        and shows it more clearly is the thing itself, they score 0 if they show nothing else.
        """
        boxes = proposals.boxes
        seen = self(feature_map, boxes)
        is_same = pairwise_overlap(boxes, boxes) > _SAME
        is_beaten = (is_same[..., None] & (seen[:, None] < seen)).any(dim=1)  # (N, C)
        own = seen.masked_fill(is_beaten, 0.0).amax(dim=1)
        is_part = seen.any(dim=1) & (own == 0)
        return Proposals(boxes, proposals.scores.maximum(own).masked_fill(is_part, 0.0))

    def tell(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Region tokens (N, D) of boxes with the names of what is `seen` (N, C) in them."""
        return tokens + (seen @ self.directions.float()).to(tokens.dtype)


def see(feature_map: Tensor, boxes: Tensor) -> Tensor:
    """What sets (N, 4) boxes, xyxy in [0, 1], apart from the rest of a (K, h, w) map, bin by bin.

    Returns (N, K * BINS**2) in fp32.
    """
    height, width = feature_map.shape[-2:]
    # What the whole picture has in common, its light above all, says nothing of a box.
    apart = (feature_map.float() - feature_map.float().mean(dim=(1, 2), keepdim=True))[None]
    windows = boxes.float() * boxes.new_tensor([width, height, width, height]).float()
    owners = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    return roi_align(apart, windows, owners, BINS).flatten(1)
