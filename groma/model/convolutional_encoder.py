"""A convolutional detector in the place of image encoder and region proposer.

Not the paper's DINOv2 and DETR head, but its idea at a small size: localise, tokenise, then talk.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groma.config import ConvolutionalEncoderConfig, GromaConfig
from groma.model.convolutional_detector import ConvolutionalDetector, DetectorLevel
from groma.ops.boxes import box_area, nms
from groma.types import GromaError, Proposals

_MOST_FOUND = 300


class ConvolutionalEncoder(nn.Module):
    """Finds things, looking twice, and keeps what describes them."""

    def __init__(self, config: GromaConfig) -> None:
        super().__init__()
        self.config = config.vision_config
        self.nms_threshold = config.nms_threshold
        self.detector = ConvolutionalDetector(config.vision_config)

    @torch.no_grad()
    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """Look at (B, 3, S, S) normalised pixels.

        Returns what was found (B, Q, 4 + K), boxes xyxy in [0, 1] and the probability of each
        class, best first, filled up with zeros; a feature map (B, C, h, w) of the whole picture;
        and the pixels.
        """
        # The same numbers in another order: on a CPU a fifth less time, for the pools above all.
        by_pixel = pixel_values.contiguous(memory_format=torch.channels_last)
        # There one picture after another is quicker than all together, too: less leaves the caches.
        at_once = 1 if by_pixel.device.type == "cpu" else len(by_pixel)
        looks = [look_twice(self.detector, some, self.config) for some in by_pixel.split(at_once)]
        found = [
            torch.cat([boxes, probabilities], dim=1)[
                nms(boxes, scores, self.nms_threshold, _MOST_FOUND)
            ]
            for seen in looks
            for boxes, probabilities, scores in zip(
                seen.boxes, seen.class_probabilities, seen.objectness, strict=True
            )
        ]
        # Pictures hold different numbers of things; rows of zeros are no thing, see `propose`.
        stacked = nn.utils.rnn.pad_sequence(found, batch_first=True)
        features = torch.cat([seen.levels[1].features for seen in looks])
        return [stacked, features, pixel_values]


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


def _cells(levels: list[DetectorLevel]) -> tuple[Tensor, Tensor]:
    """Boxes (B, Q, 4) and class probabilities (B, Q, K) of all cells of all levels."""
    boxes = torch.cat([level.boxes for level in levels], dim=1).clamp(0, 1)
    logits = torch.cat([level.class_logits.flatten(2) for level in levels], dim=2)
    return boxes, logits.transpose(1, 2).sigmoid()


class DenseProposer(nn.Module):
    """The region proposer of a detector with classes: objectness is the best class's probability.

    It has no weights: the heads are the detector's.
    """

    def propose(
        self, hidden_states: Sequence[Tensor], objectness_mix: None = None
    ) -> tuple[Proposals, ...]:
        """What the image encoder found, best first, per picture.

        Raises `GromaError` if a mix is given: there is nothing to be mixed.
        """
        if objectness_mix is not None:
            raise GromaError("This model has one objectness alone; leave --objectness out.")
        found = [each[each[:, 4:].amax(dim=1) > 0].float() for each in hidden_states[0]]
        return tuple(Proposals(each[:, :4], each[:, 4:].amax(dim=1)) for each in found)


class NoImageTokens(nn.Module):
    """The projector of a model whose language model reads regions alone."""

    def __init__(self, config: GromaConfig) -> None:
        super().__init__()
        self.width = config.text_config.hidden_size

    def forward(self, hidden: Tensor) -> Tensor:
        """(B, 0, D) for a batch of B."""
        return hidden.new_zeros(len(hidden), 0, self.width)
