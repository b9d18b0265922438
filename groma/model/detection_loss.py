"""Set prediction loss of the region proposer (paper 3.3; arXiv 2010.04159)."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from groma.config import RegionProposerConfig
from groma.model.region_proposer import DetectorOutput
from groma.ops.boxes import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh, generalised_iou

Match = tuple[Tensor, Tensor]


def focal_loss(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Focal loss of (...,) binary logits, elementwise (arXiv 1708.02002).

    `targets` are 0 or 1 in the same dtype; positives weigh `alpha`, negatives 1 - `alpha`, and
    `gamma` says how much easy cases are discounted.
    """
    # |p - t| is 1 - p_t of the paper, for positives and negatives alike.
    error = (logits.sigmoid() - targets).abs()
    weight = torch.where(targets > 0, alpha, 1 - alpha)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return weight * error**gamma * entropy


@torch.no_grad()
def match_boxes(
    boxes_cxcywh: Tensor,
    logits: Tensor,
    truths_cxcywh: Sequence[Tensor],
    config: RegionProposerConfig,
    repeats: int = 1,
) -> list[Match]:
    """Assign every true box to predictions at the least total cost (Hungarian method).

    Predictions are (B, Q, 4) in [0, 1] with (B, Q) objectness logits, true boxes B tensors (M, 4).
    `repeats` is predictions per true box: 1 as in DETR, more give short trainings a denser signal.
    Returns per picture indices (min(Q, M * repeats),) into the predictions and into the truth.
    """
    from scipy.optimize import linear_sum_assignment  # slow, and of no use to an answer

    # Costs of the whole batch at once; the columns of the padding are cut off below.
    truth = pad_sequence(list(truths_cxcywh), batch_first=True)
    alpha, gamma = config.focal_alpha, config.focal_gamma
    probability = logits.sigmoid()
    positive = alpha * (1 - probability) ** gamma * -(probability + 1e-8).log()
    negative = (1 - alpha) * probability**gamma * -(1 - probability + 1e-8).log()
    predicted, wanted = box_cxcywh_to_xyxy(boxes_cxcywh), box_cxcywh_to_xyxy(truth)
    cost = (
        config.class_cost * (positive - negative)[..., None]
        + config.box_cost * torch.cdist(boxes_cxcywh, truth, p=1)
        - config.giou_cost * generalised_iou(predicted[:, :, None], wanted[:, None])
    )
    matches = []
    for costs, boxes in zip(cost.cpu().numpy(), truths_cxcywh, strict=True):
        # A box repeated k times is k columns, which k different predictions must take.
        rows, columns = linear_sum_assignment(np.tile(costs[:, : len(boxes)], repeats))
        pair = rows, columns % max(1, len(boxes))
        found, true = (torch.as_tensor(indices, device=logits.device) for indices in pair)
        matches.append((found, true))
    return matches


def _set_loss(
    boxes_cxcywh: Tensor,
    logits: Tensor,
    truths_cxcywh: Sequence[Tensor],
    config: RegionProposerConfig,
) -> dict[str, Tensor]:
    """Loss terms of one set of predictions, each divided by the number of true boxes.

    Arguments as of `match_boxes`. For the log there is `cardinality_error` besides: by how many the
    predictions surer than 0.5 miss the number of true boxes.
    """
    matches = match_boxes(boxes_cxcywh, logits, truths_cxcywh, config)
    targets = torch.zeros_like(logits)
    for row, (predicted, _) in zip(targets, matches, strict=True):
        row[predicted] = 1.0
    found = torch.cat(
        [boxes[predicted] for boxes, (predicted, _) in zip(boxes_cxcywh, matches, strict=True)]
    )
    truth = torch.cat(
        [truth[columns] for truth, (_, columns) in zip(truths_cxcywh, matches, strict=True)]
    )
    counts = logits.new_tensor([len(truth) for truth in truths_cxcywh])
    total = counts.sum().clamp(min=1)
    giou = generalised_iou(box_cxcywh_to_xyxy(found), box_cxcywh_to_xyxy(truth))
    focal = focal_loss(logits, targets, config.focal_alpha, config.focal_gamma)
    return {
        "loss_ce": focal.sum() / total,
        "loss_bbox": F.l1_loss(found, truth, reduction="sum") / total,
        "loss_giou": (1 - giou).sum() / total,
        "cardinality_error": ((logits.detach() > 0).sum(dim=1) - counts).abs().mean(),
    }


def detection_loss(
    output: DetectorOutput,
    boxes: Sequence[Tensor],
    head: str,
    config: RegionProposerConfig,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss of every decoder layer and of the encoder's locations (paper 3.3).

    `boxes` are B tensors (M, 4) of true boxes, xyxy in [0, 1]; `head` is "coco" or "sa1b", the
    objectness head that this kind of truth trains, and `ValueError` is raised for another. Returns
    the weighted total and the unweighted terms: the last layer's under their plain names, layer
    i's with the suffix `_i`, the locations' with `_enc`.
    """
    if head not in output.logits:
        raise ValueError(f"head must be one of {', '.join(output.logits)}, not {head!r}.")
    device = output.boxes_cxcywh.device
    # Centre and size from here on: DETR's L1 term is taken of them, not of corners.
    truths = [box_xyxy_to_cxcywh(box.to(device).float().reshape(-1, 4)) for box in boxes]
    # Every layer is matched anew: what a query means may change from layer to layer.
    last = output.boxes_cxcywh.shape[1] - 1
    terms: dict[str, Tensor] = {}
    for layer in range(last + 1):
        found = output.boxes_cxcywh[:, layer], output.logits[head][:, layer]
        suffix = "" if layer == last else f"_{layer}"
        terms |= {k + suffix: v for k, v in _set_loss(*found, truths, config).items()}
    # Against all locations, the invalid ones too, as upstream: their boxes are (1, 1, 1, 1).
    found = output.location_boxes_cxcywh, output.location_logits
    terms |= {f"{k}_enc": v for k, v in _set_loss(*found, truths, config).items()}
    return _weighted_total(terms, config), terms


def _weighted_total(terms: dict[str, Tensor], config: RegionProposerConfig) -> Tensor:
    """Sum the loss terms with the configured weights; `cardinality_error*` has none."""
    weights = {
        "loss_ce": config.class_weight,
        "loss_bbox": config.box_weight,
        "loss_giou": config.giou_weight,
    }
    weighted = [
        weight * value
        for name, value in terms.items()
        for prefix, weight in weights.items()
        if name.startswith(prefix)
    ]
    return torch.stack(weighted).sum()
