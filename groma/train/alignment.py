"""Alignment pretraining: region tokens come to mean what the language model reads (paper 3.3).

The language model has learnt on symbolic region tokens; the token of a seen region regresses to
the symbolic token of the thing it shows, at its own box.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groma.image import normalise_pixels
from groma.model.groma import GromaForConditionalGeneration
from groma.model.region_selection import SelectionPolicy, select_regions
from groma.ops.boxes import box_cxcywh_to_xyxy, pairwise_iou
from groma.train.detection import jitter
from groma.train.symbolic import SymbolicRegionEncoder

SURE_IOU = 0.5
"""From this overlap on, a region shows the whole thing."""
_SHARPNESS = 20.0
_DAMPING = 0.01


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
        """Take the encoder the language model has learnt with; it is frozen."""
        super().__init__()
        self.regions = regions.requires_grad_(False)

    def forward(self, tokens: Sequence[Tensor], shown: Sequence[Truth]) -> dict[str, Tensor]:
        """Compare the tokens of a batch of pictures.

        Args:
            tokens: per picture (N, D).
            shown: per picture what its N regions show.

        Returns:
            `region_token`, the squared error over the variance of what is wanted;
            `region_name`, the cross-entropy of the noun among all nouns' vectors, on regions that
            show a whole thing; and the share `region_named` of those that come out right.
        """
        found, wanted = torch.cat(list(tokens)).float(), self.wanted(shown)
        names = torch.cat([truth.names for truth in shown])
        with torch.autocast(found.device.type, enabled=False), torch.no_grad():
            place = self.regions.place(torch.cat([truth.boxes for truth in shown]))
            table = F.normalize(self.regions.names.weight, dim=0)
        sure = names.amax(dim=1) > 1 - 1e-6
        similarity = _SHARPNESS * F.normalize(found - place, dim=1) @ table
        labels = names[sure].argmax(dim=1)
        count = sure.sum().clamp(min=1)
        name = F.cross_entropy(similarity[sure], labels, reduction="sum") / count
        return {
            "region_token": F.mse_loss(found, wanted) / wanted.var(),
            "region_name": name,
            "region_named": (similarity[sure].argmax(dim=1) == labels).sum() / count,
        }

    @torch.no_grad()
    def wanted(self, shown: Sequence[Truth]) -> Tensor:
        """The symbolic tokens of the regions of a batch, one picture after the other."""
        parts = (
            torch.cat([getattr(truth, part) for truth in shown])
            for part in ("boxes", "names", "colours", "sizes")
        )
        with torch.autocast("cuda" if torch.cuda.is_available() else "cpu", enabled=False):
            return self.regions(*parts)


class RegionAlignment(nn.Module):
    """Image encoder to region tokens, without a language model: the cheap half of alignment."""

    main_input_name = "pixels"

    def __init__(
        self,
        model: GromaForConditionalGeneration,
        regions: SymbolicRegionEncoder,
        weights: Mapping[str, float],
    ) -> None:
        """Take the visual parts of a model.

        Args:
            model: frozen as the stage says.
            regions: what the language model has learnt with.
            weights: of `region_token` and `region_name`.
        """
        super().__init__()
        self.image_encoder = model.image_encoder
        self.region_proposer = model.region_proposer
        self.region_encoder = model.region_encoder
        self.regression = RegionRegression(regions)
        self.policy = SelectionPolicy.of(model.config)
        self.weights = dict(weights)

    def forward(
        self,
        pixels: Tensor,
        truth: Sequence[Mapping[str, Tensor]],
        **unused: object,  # noqa: ARG002
    ) -> dict[str, Tensor]:
        """Loss of a batch.

        Args:
            pixels: (B, 3, S, S) uint8.
            truth: fields of each picture's `Truth`; its boxes are encoded too, a little off.
            unused: what only the language model reads.
        """
        terms = self.regression(*self._encode(pixels, truth))
        return {"loss": sum(w * terms[name] for name, w in self.weights.items())} | terms

    def _encode(
        self, pixels: Tensor, truth: Sequence[Mapping[str, Tensor]]
    ) -> tuple[list[Tensor], list[Truth]]:
        """Tokens of proposals and of true boxes, and what they show."""
        truths = [Truth(**true) for true in truth]
        hidden = self.image_encoder(normalise_pixels(pixels))
        boxes = [
            torch.cat([found, jitter(true.boxes)])
            for found, true in zip(self.propose(hidden), truths, strict=True)
        ]
        tokens = self.region_encoder(self.region_encoder.fuse(hidden[-3:]), boxes)
        return tokens, [true.at(box) for true, box in zip(truths, boxes, strict=True)]

    @torch.no_grad()
    def fit_projection(self, batches: Iterable[Mapping[str, Any]]) -> None:
        """Start from the projection that least squares finds; the rest is left to training.

        Args:
            batches: as `forward` takes them, a few thousand regions in all.
        """
        projection = self.region_encoder.projection
        inputs: list[Tensor] = []
        hook = projection.register_forward_pre_hook(lambda _, args: inputs.append(args[0]))
        wanted = [self._encode(batch["pixels"], batch["truth"])[1] for batch in batches]
        hook.remove()
        features = torch.cat(inputs).float()
        features = torch.cat([features, torch.ones_like(features[:, :1])], dim=1)
        targets = torch.cat([self.regression.wanted(shown) for shown in wanted])
        width = features.shape[1]
        ridge = _DAMPING * len(features) ** 0.5 * torch.eye(width, device=features.device)
        damped = torch.cat([features, ridge])
        found = torch.linalg.lstsq(damped, F.pad(targets, (0, 0, 0, width))).solution
        projection.weight.copy_(found[:-1].mT)
        projection.bias.copy_(found[-1])

    @torch.no_grad()
    def propose(self, hidden: list[Tensor]) -> list[Tensor]:
        """Boxes (N, 4) of the regions that each picture would have."""
        output = self.region_proposer(hidden)
        scores = self.region_proposer.score(output)
        found = box_cxcywh_to_xyxy(output.boxes_cxcywh[:, -1]).float()
        return [
            boxes[select_regions(boxes, score, self.policy)]
            for boxes, score in zip(found, scores, strict=True)
        ]
