"""Looking twice with one detector: at the whole picture, then at its full size for small things."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from groma.config import ConvolutionalEncoderConfig
from groma.model.convolutional_detector import ConvolutionalDetector, DetectorLevel
from groma.ops.boxes import box_area, pairwise_overlap

_PART = 0.8
"""A region that shares more of its area, or of the other's, with a better one repeats it."""


@dataclass(frozen=True)
class _Sightings:
    """What may be a thing, in both looks, best first; none suppressed."""

    boxes: Tensor  # (B, Q, 4) xyxy in [0, 1], inside the picture
    # (B, Q, K), each class by itself; the largest is the objectness.
    class_probabilities: Tensor
    levels: list[DetectorLevel]  # the first look's maps, finest first

    @property
    def objectness(self) -> Tensor:
        """(B, Q) in [0, 1]."""
        return self.class_probabilities.amax(dim=-1)


def look_twice(
    detector: ConvolutionalDetector, pixel_values: Tensor, config: ConvolutionalEncoderConfig
) -> _Sightings:
    """Detect in whole pictures reduced to `config.view_size`, and small things at full size.

    `pixel_values` are (B, 3, S, S) RGB, normalised; S is a multiple of 32, and with S no larger
    than `view_size` there is no second look.
    """
    side = config.view_size
    # Not every device resizes in 16 bit.
    whole = F.interpolate(pixel_values.float(), (side, side), mode="bicubic", antialias=True)
    levels = detector(whole.to(pixel_values.dtype))
    boxes, probabilities = _cells(levels)
    if pixel_values.shape[-1] > side:
        # The detector knows things of the size they have at 416 pixels: in the full picture small
        # things come to that size, and large ones are too large for it.
        near_boxes, near = _cells(detector(pixel_values))
        is_small = box_area(near_boxes).sqrt() < config.small_side
        near = near * config.small_trust * is_small[..., None]
        boxes = torch.cat([boxes, near_boxes], dim=1)
        probabilities = torch.cat([probabilities, near], dim=1)
    num_candidates = min(config.num_candidates, boxes.shape[1])
    best = probabilities.amax(dim=-1).topk(num_candidates).indices[..., None]
    return _Sightings(boxes.take_along_dim(best, 1), probabilities.take_along_dim(best, 1), levels)


def certainty(
    boxes: Tensor,
    class_probabilities: Tensor,
    weights: list[float] | tuple[float, ...],
    alone: bool = False,
) -> Tensor:
    """How likely each region is what its best class says, well placed and not seen twice.

    The regions of one picture are (N, 4) xyxy in [0, 1] with (N, K) probabilities, each class by
    itself; `weights` are `ConvolutionalEncoderConfig.certainty`, a logistic regression on labelled
    photographs. With `alone` each is judged as if there were no others. Returns (N,) in [0, 1].
    """
    score, name = class_probabilities.max(dim=-1)
    # Other classes do not count: a rider and a horse overlap, and both are there.
    is_rival = (name[:, None] == name) & (score[:, None] < score)
    overlap = (pairwise_overlap(boxes, boxes) * is_rival).amax(dim=1)
    # Small things are mistaken more often at the same score.
    log_side = box_area(boxes).sqrt().clamp(min=0.01).log()
    is_repeated = ((overlap > _PART) & (not alone)).to(score)
    features = [score.logit(eps=1e-4), is_repeated, log_side, torch.ones_like(score)]
    return (torch.stack(features, dim=1) @ score.new_tensor(weights)).sigmoid()


def _cells(levels: list[DetectorLevel]) -> tuple[Tensor, Tensor]:
    """Boxes (B, Q, 4) and class probabilities (B, Q, K) of all cells of all levels."""
    boxes = torch.cat([level.boxes for level in levels], dim=1).clamp(0, 1)
    logits = torch.cat([level.class_logits.flatten(2) for level in levels], dim=2)
    return boxes, logits.transpose(1, 2).sigmoid()
