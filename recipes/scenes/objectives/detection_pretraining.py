"""Detection pretraining on scenes: the set prediction loss and side losses (paper 3.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from groma.config import RegionProposerConfig
from groma.data.augment import JITTER
from groma.image import normalise_pixels
from groma.model.detection_loss import Match, focal_loss, match_boxes
from groma.model.groma import GromaForConditionalGeneration
from groma.model.region_proposer import DetectorOutput
from groma.ops.boxes import (
    box_cxcywh_to_xyxy,
    box_xyxy_to_cxcywh,
    generalised_iou,
    intersection_union,
)
from groma.types import IGNORED
from recipes.scenes.nouns import COLOURS, SIZES
from recipes.scenes.objectives.region_regression import RegionRegression, Truth
from recipes.scenes.objectives.scene_samples import BACKGROUND, CLASS_NAMES, KINDS
from recipes.scenes.objectives.symbolic_pretraining import SymbolicRegionEncoder

QUERY_REPEATS = 2
LOCATION_REPEATS = 4
"""How often each true box is matched among queries and locations: a denser signal."""
MAX_REGIONS = 8
"""True boxes per picture that the side losses encode, and boxes found there."""
PART = KINDS.index("part")
"""Parts are found by queries that start elsewhere: as locations they would crowd out things."""
NUM_OBJECT_KINDS = KINDS.index("stuff")
"""Kinds below this index are whole objects, which the head `coco` learns."""


class DetectionPretraining(nn.Module):
    """Image encoder, region proposer and region encoder with the losses of the first stage.

    Both objectness heads learn from one matching: `sa1b` finds every region, `coco` whole objects.
    Because the image encoder starts from nothing, linear heads ask patches and matched queries for
    names; they live here and not in the model. Region tokens regress to what the language model
    learns to read meanwhile.
    """

    main_input_name = "pixels"
    _no_split_modules = ("Dinov2Layer",)  # FSDP gathers them one by one

    def __init__(
        self,
        model: GromaForConditionalGeneration,
        regions: SymbolicRegionEncoder,
        weights: Mapping[str, float],
    ) -> None:
        """Take the visual parts of a model; they are trained in place.

        Args:
            model: frozen as the stage says.
            regions: as wide as the language model.
            weights: of the terms `detection`, `patch_name`, `query_name`, and those of
                `RegionRegression`.
        """
        super().__init__()
        self.config = model.config
        self.weights = dict(weights)
        self.image_encoder = model.image_encoder
        self.region_proposer = model.region_proposer
        self.region_encoder = model.region_encoder
        self.regression = RegionRegression(regions)
        self.heads = nn.ModuleDict(
            {
                "patch_name": read_out(self.config.vision_config.hidden_size, BACKGROUND + 1),
                "query_name": read_out(self.config.proposer_config.width, len(CLASS_NAMES)),
            }
        )

    def activation_checkpointing_enable(self, **kwargs: Any) -> None:
        """Recompute the image encoder's blocks in the backward pass."""
        self.image_encoder.vit.activation_checkpointing_enable(**kwargs)

    def encode(self, pixels: Tensor) -> tuple[list[Tensor], DetectorOutput]:
        """Hidden states and proposals of (B, 3, S, S) uint8 pictures."""
        hidden = self.image_encoder(normalise_pixels(pixels))
        return hidden, self.region_proposer(hidden)

    def encode_regions(self, hidden: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Region tokens (sum of N, D) of the boxes (N, 4) xyxy in [0, 1] of each picture."""
        return torch.cat(self.region_encoder(self.region_encoder.fuse(hidden[-3:]), boxes))

    def forward(
        self,
        pixels: Tensor,
        patch_labels: Tensor,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        colours: Sequence[Tensor],
        kinds: Sequence[Tensor],
        weights: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """Compute the loss of a batch.

        Args:
            pixels: (B, 3, S, S) uint8.
            patch_labels: (B, P) class of each patch, -100 for none.
            boxes: B tensors (R, 4) of true boxes, xyxy in [0, 1].
            labels: B tensors (R,) indices into `CLASS_NAMES`, -100 for none.
            colours: B tensors (R,) indices into `COLOURS`, -100 for none.
            kinds: B tensors (R,) indices into `KINDS`.
            weights: B tensors (R,), how much each box counts.

        Returns:
            `loss`, the weighted total, and its terms by name.
        """
        hidden, output = self.encode(pixels)
        with torch.autocast(pixels.device.type, enabled=False):
            terms, matches = detection_terms(
                output, boxes, kinds, weights, self.config.proposer_config
            )
        found = box_cxcywh_to_xyxy(output.boxes_cxcywh[:, -1].detach().float())
        shown = [
            sample_regions(box, label, colour, kind, picture[query])
            for box, label, colour, kind, picture, (query, _) in zip(
                boxes, labels, colours, kinds, found, matches, strict=True
            )
        ]
        tokens = self.encode_regions(hidden, [truth.boxes for truth in shown])
        with torch.autocast(pixels.device.type, enabled=False):
            terms["patch_name"] = self._classify(
                "patch_name", hidden[-1].flatten(2).mT.flatten(0, 1), patch_labels.flatten()
            )
            terms |= self.regression([tokens], shown)
            rows = [query for query, _ in matches]
            named = pick(labels, [column for _, column in matches])
            terms["query_name"] = self._classify(
                "query_name", pick(output.queries[:, -1], rows), named
            )
            weighted = [weight * terms[name] for name, weight in self.weights.items()]
        return {"loss": torch.stack(weighted).sum()} | terms

    def _classify(self, head: str, features: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy of a head on (N, D) features; 0 where no label is given."""
        wanted = labels != IGNORED
        logits = self.heads[head](features[wanted].float())
        return F.cross_entropy(logits, labels[wanted], reduction="sum") / wanted.sum().clamp(min=1)


def read_out(width: int, classes: int) -> nn.Module:
    """A linear probe on normalised features."""
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, classes))


def known(boxes: Tensor, labels: Tensor, colours: Tensor, kinds: Tensor) -> Truth:
    """What N regions show for certain.

    Args:
        boxes: (N, 4) xyxy in [0, 1].
        labels: (N,) indices into `CLASS_NAMES`.
        colours: (N,) indices into `COLOURS`, -100 for none.
        kinds: (N,) indices into `KINDS`.
    """
    return Truth(
        boxes,
        _one_hot(labels, len(CLASS_NAMES)),
        _one_hot(colours, len(COLOURS)),
        _one_hot(kinds, len(SIZES)),
    )


def _one_hot(labels: Tensor, classes: int) -> Tensor:
    """(N, classes); a row of zeros for what is no class."""
    return (labels[:, None] == torch.arange(classes, device=labels.device)).float()


def sample_regions(
    boxes: Tensor, labels: Tensor, colours: Tensor, kinds: Tensor, found: Tensor
) -> Truth:
    """Regions of a picture to encode, and what they show.

    Args:
        boxes: (R, 4) true ones, xyxy in [0, 1].
        labels: (R,) indices into `CLASS_NAMES`, -100 for none.
        colours: (R,) indices into `COLOURS`, -100 for none.
        kinds: (R,) indices into `KINDS`.
        found: (Q, 4) boxes of queries, which lie as what will be talked about lies.

    Returns:
        At most `MAX_REGIONS` true boxes, a little off, and as many of those found.
    """
    chosen, named = choose_regions(labels), labels != IGNORED
    exact = known(jitter(boxes[chosen]), labels[chosen], colours[chosen], kinds[chosen])
    if not named.any():
        return exact
    truth = known(boxes[named], labels[named], colours[named], kinds[named])
    near = truth.at(found[choose(len(found)).to(found.device)])
    parts = ((getattr(exact, f.name), getattr(near, f.name)) for f in fields(Truth))
    return Truth(*map(torch.cat, parts))


def choose_regions(labels: Tensor) -> Tensor:
    """Random rows of (R,) labels that have a name, at most `MAX_REGIONS`."""
    named = (labels != IGNORED).nonzero().flatten()
    return named[choose(len(named)).to(named.device)]


def choose(count: int) -> Tensor:
    """Random rows of so many, at most `MAX_REGIONS`."""
    return torch.randperm(count)[:MAX_REGIONS]


def jitter(boxes: Tensor) -> Tensor:
    """Move every edge of (N, 4) boxes by up to `JITTER` of the box's side."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    return boxes + (torch.rand_like(boxes) * 2 - 1) * JITTER * sides


def pick(rows: Sequence[Tensor] | Tensor, chosen: Sequence[Tensor]) -> Tensor:
    """The chosen rows of each picture, one after the other."""
    return torch.cat([row[index] for row, index in zip(rows, chosen, strict=True)])


def detection_terms(
    output: DetectorOutput,
    boxes: Sequence[Tensor],
    kinds: Sequence[Tensor],
    weights: Sequence[Tensor],
    config: RegionProposerConfig,
) -> tuple[dict[str, Tensor], list[Match]]:
    """Detection loss of every decoder layer and of the locations, averaged (paper 3.3).

    Args:
        output: the proposer's predictions for B pictures.
        boxes: B tensors (R, 4) of true boxes, xyxy in [0, 1].
        kinds: B tensors (R,): what each box is.
        weights: B tensors (R,): how much each box counts.
        config: matching costs and loss weights.

    Returns:
        `detection`, the weighted average, with its unweighted parts `objectness`, `box_l1` and
        `box_giou`, and the last layer's matches to the boxes.
    """
    truth = [box_xyxy_to_cxcywh(box) for box in boxes]
    objects = [(kind < NUM_OBJECT_KINDS).float() for kind in kinds]
    heads = torch.stack([output.logits["sa1b"], output.logits["coco"]])
    layers = []
    matches: list[Match] = []
    for layer in range(output.boxes_cxcywh.shape[1]):
        found, logits = output.boxes_cxcywh[:, layer], heads[:, :, layer]
        matches = match_boxes(found, logits[0], truth, config, QUERY_REPEATS)
        layers.append(set_terms(found, logits, truth, objects, weights, matches, config, True))
    whole = [kind != PART for kind in kinds]
    truth, objects, weights = (
        [value[rows] for value, rows in zip(values, whole, strict=True)]
        for values in (truth, objects, weights)
    )
    found, logits = output.location_boxes_cxcywh, output.location_logits[None]
    located = match_boxes(found, logits[0], truth, config, LOCATION_REPEATS)
    layers.append(set_terms(found, logits, truth, objects, weights, located, config))
    objectness, distance, missing = torch.stack(layers).mean(dim=0)
    terms = {"objectness": objectness, "box_l1": distance, "box_giou": missing}
    total = config.class_weight * objectness
    total = total + config.box_weight * distance + config.giou_weight * missing
    return {"detection": total} | terms, matches


def set_terms(
    boxes_cxcywh: Tensor,
    heads: Tensor,
    truth_cxcywh: Sequence[Tensor],
    objects: Sequence[Tensor],
    weights: Sequence[Tensor],
    matches: Sequence[Match],
    config: RegionProposerConfig,
    scores_fit: bool = False,
) -> Tensor:
    """Loss of one set of predictions.

    Args:
        boxes_cxcywh: (B, Q, 4).
        heads: (1 or 2, B, Q) logits of any region and, in the second row, of objects alone.
        truth_cxcywh: B tensors (M, 4) of true boxes.
        objects: B tensors (M,), 1 for whole objects.
        weights: B tensors (M,), how much each box counts.
        matches: of predictions to truth.
        config: focal parameters.
        scores_fit: let the score of a matched box be its IoU with the true one instead of 1
            (quality focal loss, arXiv 2006.04388), so that of two boxes around one thing the
            better one survives.

    Returns:
        (3,) focal loss averaged over heads, L1 and generalised IoU loss, per true box.
    """
    rows = [row for row, _ in matches]
    columns = [column for _, column in matches]
    is_object, weight = pick(objects, columns), pick(weights, columns)
    found, truth = pick(boxes_cxcywh, rows), pick(truth_cxcywh, columns)
    shared, union = intersection_union(box_cxcywh_to_xyxy(found), box_cxcywh_to_xyxy(truth))
    fit = (shared / union).detach() if scores_fit else torch.ones_like(is_object)
    losses = []
    for logits, positive in zip(heads, (torch.ones_like(is_object), is_object), strict=False):
        targets = torch.zeros_like(logits)
        for target, row, value in zip(
            targets, rows, (positive * fit).split([len(row) for row in rows]), strict=True
        ):
            target[row] = value
        focal = focal_loss(logits, targets, config.focal_alpha, config.focal_gamma)
        losses.append(focal.sum() / positive.sum().clamp(min=1))
    total = weight.sum().clamp(min=1)
    distance = (weight * (found - truth).abs().sum(dim=1)).sum() / total
    overlap = generalised_iou(box_cxcywh_to_xyxy(found), box_cxcywh_to_xyxy(truth))
    missing = (weight * (1 - overlap)).sum() / total
    return torch.stack([torch.stack(losses).mean(), distance, missing])
