"""What region tokens must mean for the language model: the symbolic token of what a region shows.

The language model learns on symbolic region tokens; the token of a seen region regresses to the
symbolic token of the thing it shows, at its own box (the aim of alignment, paper 3.3).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groma.ops.boxes import pairwise_iou
from recipes.scenes.objectives.symbolic_pretraining import SymbolicRegionEncoder

SURE_IOU = 0.5
"""From this overlap on, a region shows the whole thing."""
_SHARPNESS = 20.0
_CERTAIN = 1 - 1e-6
_TINY = 1e-6


@dataclass(frozen=True)
class Truth:
    """What a picture really holds, as weights over words.

    Attributes:
        boxes: (M, 4) xyxy in [0, 1]: things, then stuff.
        names: (M, 169) over nouns and stuff.
        colours: (M, 10); all 0 where unknown.
        sizes: (M, 3); all 0 for stuff.
    """

    boxes: Tensor
    names: Tensor
    colours: Tensor
    sizes: Tensor

    def at(self, boxes: Tensor) -> "Truth":
        """What regions show.

        Args:
            boxes: (N, 4) xyxy in [0, 1].

        Returns:
            For each the truth about the box it covers best, the weights less than 1 where it
            covers less than half of it.
        """
        overlap, owner = pairwise_iou(boxes, self.boxes).max(dim=1)
        certainty = (overlap / SURE_IOU).clamp(max=1)[:, None]
        names, colours, sizes = (
            certainty * part[owner] for part in (self.names, self.colours, self.sizes)
        )
        return Truth(boxes, names, colours, sizes)


class RegionRegression(nn.Module):
    """How far region tokens are from the symbolic tokens of what they show."""

    def __init__(self, regions: SymbolicRegionEncoder) -> None:
        """Take the encoder the language model learns with."""
        super().__init__()
        self.regions = regions

    def forward(self, tokens: Sequence[Tensor], shown: Sequence[Truth]) -> dict[str, Tensor]:
        """Compare the tokens of a batch of pictures.

        Args:
            tokens: per picture (N, D).
            shown: per picture what its N regions show.

        Returns:
            `region_token`, the squared error over the square of what is wanted; `region_name`
            and `region_colour`, the cross-entropy of the word among all words of its kind once
            the rest of the wanted token is taken away, on regions that show a whole thing.
        """
        found = torch.cat(list(tokens)).float()
        with torch.autocast(found.device.type, enabled=False):
            boxes, names, colours, sizes = (
                torch.cat([getattr(truth, part) for truth in shown])
                for part in ("boxes", "names", "colours", "sizes")
            )
            wanted = self.regions(boxes, names=names, colours=colours, sizes=sizes)
            missing = found - wanted
            return {
                "region_token": missing.square().sum() / wanted.square().sum().clamp(min=_TINY),
                "region_name": _surprise(missing, self.regions.names, names),
                "region_colour": _surprise(missing, self.regions.colours, colours),
            }

    def read(self, tokens: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """What region tokens say.

        Args:
            tokens: (N, D).
            boxes: (N, 4) xyxy in [0, 1].

        Returns:
            (N,) indices of the name and (N,) of the colour of the nearest symbolic token among
            those of all names, colours and sizes.
        """
        with torch.autocast(tokens.device.type, enabled=False):
            words, colours, sizes = (
                linear.weight.mT
                for linear in (self.regions.names, self.regions.colours, self.regions.sizes)
            )
            plain = F.pad(colours, (0, 0, 0, 1))  # the last row: no colour
            looks = (plain[:, None] + F.pad(sizes, (0, 0, 0, 1))).flatten(0, 1)
            rest = tokens.float() - self.regions.place(boxes)
            apart = torch.cdist((rest[:, None] - looks).flatten(0, 1), words)
            apart = apart.view(len(rest), len(plain), -1, len(words))
            name = apart.amin(dim=(1, 2)).argmin(dim=1)
            colour = apart[:, :-1].amin(dim=(2, 3)).argmin(dim=1)
            return name, colour


def _surprise(missing: Tensor, words: nn.Linear, weights: Tensor) -> Tensor:
    """Cross-entropy of the words (N, W) that are certain; `missing` (N, D) is what lacks."""
    sure = weights.amax(dim=1) > _CERTAIN
    label = weights[sure].argmax(dim=1)
    said = missing[sure] + words.weight.mT[label]
    loss = F.cross_entropy(_likeness(said, words), label, reduction="sum")
    return loss / sure.sum().clamp(min=1)


def _likeness(tokens: Tensor, words: nn.Linear) -> Tensor:
    """(N, W) scaled cosines of tokens (N, D) and words."""
    return _SHARPNESS * F.normalize(tokens, dim=1) @ F.normalize(words.weight, dim=0)
