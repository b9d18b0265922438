"""Region tokens of a convolutional detector: its findings, spoken in the fixed code."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groma.config import IMAGE_MEAN, IMAGE_STD, GromaConfig
from groma.model.region_code import RegionCode
from groma.model.second_look import certainty
from groma.ops.boxes import box_area, pairwise_iou
from groma.ops.colours import NAMES, name_colours
from groma.ops.roi_align import roi_align

SURE, UNSURE, FAINT = range(3)
"""A sure name is told unasked, an unsure one where somebody asks for it, a faint one only where
somebody points at it."""
SECOND_WEIGHT = 0.6
"""Weight of the second name of a region that may be two things."""
FAINT_WEIGHT = 0.5
"""Weight of the name of a region that is faint."""
_NEARLY_AS_LIKELY = 0.5
_COLOUR_SAMPLES = 9
_COLOUR_SHARE = 0.4
"""Share of the samples in the middle of a box that must agree on its colour."""


@dataclass(frozen=True)
class Findings:
    """What was found in one picture and may be spoken of.

    Attributes:
        boxes: (M, 4) xyxy in [0, 1].
        probabilities: (M, K) of each class.
        certainty: (M,) how likely each is a whole thing of its best class, and no double.
    """

    boxes: Tensor
    probabilities: Tensor
    certainty: Tensor

    def levels(self, sure: float, unsure: float) -> Tensor:
        """(M,) `SURE`, `UNSURE` or `FAINT`; unsure is at most one of a name, where none is sure."""
        names = self.probabilities.argmax(dim=1)
        levels = torch.full_like(names, FAINT)
        levels[self.certainty >= sure] = SURE
        for name in names.unique():
            members = (names == name).nonzero().flatten()
            best = members[self.certainty[members].argmax()]
            if unsure <= self.certainty[best] < sure:
                levels[best] = UNSURE
        return levels


class CodedRegionEncoder(nn.Module):
    """Says in the language model's own words what the detector found in a region.

    A box of a proposal is that proposal; any other takes the finding it overlaps most, or has no
    name.
    """

    def __init__(self, config: GromaConfig) -> None:
        super().__init__()
        self.config = config.region_config
        self.weights = config.vision_config.certainty
        self.score_threshold = config.score_threshold
        self.code = RegionCode(
            config.text_config.hidden_size,
            names=len(self.config.nouns),
            colours=len(NAMES),
            sizes=3,
            certainties=3,
            features=self.config.num_features,
        )
        width = config.vision_config.width
        self.pooled = nn.Linear(width, self.config.num_features, bias=False)
        dice = torch.Generator().manual_seed(2)
        nn.init.orthogonal_(self.pooled.weight, generator=dice)
        self.requires_grad_(False)
        known = torch.tensor([noun in self.config.colourless for noun in self.config.nouns])
        self.register_buffer("colourless", known, persistent=False)

    def fuse(self, hidden_states: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What the image encoder gives is all there is to it: findings, features, pixels."""
        return tuple(hidden_states)

    def forward(self, feature_maps: Sequence[Tensor], boxes: Sequence[Tensor]) -> list[Tensor]:
        """Encode any boxes of B pictures.

        Args:
            feature_maps: what `fuse` returned.
            boxes: per picture (N, 4) xyxy in [0, 1].

        Returns:
            Per picture (N, D) region tokens.
        """
        return [
            self._encode(*(level[i] for level in feature_maps), chosen.float())
            for i, chosen in enumerate(boxes)
        ]

    def _encode(self, found: Tensor, features: Tensor, pixels: Tensor, boxes: Tensor) -> Tensor:
        names, certainties = self._names(self.findings(found), boxes)
        colours = name_weights(pixels, boxes)
        colours[self.colourless[names.argmax(dim=1)] & names.any(dim=1)] = 0
        sizes = F.one_hot(self._sizes(boxes), 3)
        weights = {
            "names": names,
            "colours": colours,
            "sizes": sizes,
            "certainties": certainties,
            "features": self._features(features, boxes),
        }
        dtype = self.pooled.weight.dtype
        return self.code(boxes, **{part: value.to(dtype) for part, value in weights.items()})

    def findings(self, found: Tensor) -> Findings:
        """The findings (Q, 4 + K) of a picture that pass the score threshold, at least one."""
        scores = found[:, 4:].amax(dim=1).float()
        passing = scores > min(self.score_threshold, float(scores.max()) - 1e-6)
        boxes, probabilities = found[passing, :4].float(), found[passing, 4:].float()
        return Findings(boxes, probabilities, certainty(boxes, probabilities, self.weights))

    def _names(self, findings: Findings, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of names (N, nouns) and of certainties (N, 3)."""
        overlap, owner = pairwise_iou(boxes, findings.boxes).max(dim=1)
        levels = findings.levels(self.config.sure, self.config.unsure)[owner]
        # What the user has drawn is no double of anything: only its own score counts.
        drawn = overlap < 1 - 1e-3
        alone = torch.stack(
            [
                certainty(boxes[i : i + 1], findings.probabilities[owner[i : i + 1]], self.weights)
                for i in range(len(boxes))
            ]
        )[:, 0]
        own = torch.where(alone >= self.config.sure, SURE, UNSURE)
        levels = torch.where(drawn, own, levels)
        known = overlap >= self.config.known
        levels = torch.where(known, levels, FAINT)
        names = self._two_names(findings.probabilities[owner], levels) * known[:, None]
        return names, F.one_hot(levels, 3)

    def _two_names(self, probabilities: Tensor, levels: Tensor) -> Tensor:
        """The likeliest name, and the next where it is unsure and nearly as likely."""
        (first, second), index = (part.T for part in probabilities.topk(2, dim=1))
        names = probabilities.new_zeros(len(levels), len(self.config.nouns))
        weight = torch.where(levels == FAINT, FAINT_WEIGHT, 1.0)
        names.scatter_(1, index[:1].T, weight[:, None])
        both = (levels == UNSURE) & (second > _NEARLY_AS_LIKELY * first)
        return names.scatter_add_(1, index[1:].T, (both * SECOND_WEIGHT)[:, None])

    def _sizes(self, boxes: Tensor) -> Tensor:
        """(N,) 0 for small, 1 for medium, 2 for large."""
        side = box_area(boxes).sqrt()
        return torch.bucketize(side, side.new_tensor(self.config.size_limits), right=True)

    def _features(self, features: Tensor, boxes: Tensor) -> Tensor:
        """(N, F) of variance 1: what sets a region apart from the rest of the picture."""
        height, width = features.shape[-2:]
        windows = boxes * boxes.new_tensor([width, height, width, height])
        owners = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
        apart = (features - features.mean(dim=(1, 2), keepdim=True))[None].float()
        mean = roi_align(apart, windows, owners, 3).mean(dim=(2, 3))
        return F.layer_norm(self.pooled(mean.to(self.pooled.weight)), (self.config.num_features,))


def name_weights(pixels: Tensor, boxes: Tensor) -> Tensor:
    """Weights (N, 11) of the colour in the middle of boxes; all 0 where it has none.

    Args:
        pixels: (3, S, S) normalised.
        boxes: (N, 4) xyxy in [0, 1].
    """
    side = pixels.shape[-1]
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 4
    windows = torch.cat([centre - half, centre + half], dim=1) * side
    owners = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
    samples = roi_align(pixels[None].float(), windows, owners, _COLOUR_SAMPLES, 1)
    mean, std = samples.new_tensor(IMAGE_MEAN), samples.new_tensor(IMAGE_STD)
    rgb = samples.movedim(1, -1).flatten(1, 2) * std + mean
    shares = F.one_hot(name_colours(rgb), len(NAMES)).float().mean(dim=1)
    share, best = shares.max(dim=1)
    return F.one_hot(best, len(NAMES)) * (share >= _COLOUR_SHARE)[:, None].float()
