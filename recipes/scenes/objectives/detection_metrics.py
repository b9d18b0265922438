"""How well a model proposes and names regions while it is pretrained."""

import torch
from torch import Tensor
from transformers import EvalPrediction

from groma.model.region_selection import SelectionPolicy, select_regions
from groma.ops.boxes import box_cxcywh_to_xyxy, pairwise_iou
from groma.types import IGNORED
from recipes.scenes.objectives.detection_pretraining import NUM_OBJECT_KINDS, DetectionPretraining
from recipes.scenes.objectives.scene_samples import KINDS

RATIOS = {
    "recall50": ("things_50", "things"),
    "recall75": ("things_75", "things"),
    "recall50_selected": ("selected_50", "things"),
    "regions": ("selected", "pictures"),
    "names": ("names_right", "names"),
    "colours": ("colours_right", "colours"),
    **{f"recall50_{kind}": (f"{kind}_50", kind) for kind in KINDS},
    **{f"recall75_{kind}": (f"{kind}_75", kind) for kind in KINDS},
}
"""Metric -> the two counts it divides."""
COUNTS = tuple(dict.fromkeys(count for pair in RATIOS.values() for count in pair))


@torch.no_grad()
def count(model: DetectionPretraining, batch: dict) -> Tensor:
    """Count hits of a batch; the proposals are all queries of the last layer.

    Args:
        model: in eval mode.
        batch: as `collate` makes it.

    Returns:
        (B, number of `COUNTS`), to be summed over pictures and divided as `RATIOS` says.
    """
    hidden, output = model.encode(batch["pixels"])
    tokens = model.encode_regions(hidden, batch["boxes"]).float()
    names, colours = model.regression.read(tokens, torch.cat(batch["boxes"]))
    scores = model.region_proposer.score(output)
    sizes = [len(boxes) for boxes in batch["boxes"]]
    rows = []
    for i, (name, colour) in enumerate(zip(names.split(sizes), colours.split(sizes), strict=True)):
        found = box_cxcywh_to_xyxy(output.boxes_cxcywh[i, -1].float())
        kept = select_regions(found, scores[i], SelectionPolicy.of(model.config))
        truth, kinds = batch["boxes"][i], batch["kinds"][i]
        row = count_boxes(found, kept, truth, kinds)
        row |= count_right("names", name, batch["labels"][i])
        row |= count_right("colours", colour, batch["colours"][i])
        rows.append(torch.stack([torch.as_tensor(row[key]).float() for key in COUNTS]))
    return torch.stack(rows)


def count_boxes(found: Tensor, kept: Tensor, truth: Tensor, kinds: Tensor) -> dict:
    """Count the true boxes that some proposal covers, by kind.

    Args:
        found: (Q, 4) proposals, xyxy.
        kept: (N,) indices of those that become regions.
        truth: (R, 4) true boxes, xyxy.
        kinds: (R,) what they are.
    """
    overlap = pairwise_iou(truth, found)
    best, best_kept = overlap.amax(dim=1), overlap[:, kept].amax(dim=1)
    groups = {kind: kinds == i for i, kind in enumerate(KINDS)}
    groups["things"] = kinds < NUM_OBJECT_KINDS
    row = {"pictures": 1, "selected": len(kept)}
    row["selected_50"] = (best_kept[groups["things"]] >= 0.5).sum()
    for name, members in groups.items():
        row |= {
            name: members.sum(),
            f"{name}_50": (best[members] >= 0.5).sum(),
            f"{name}_75": (best[members] >= 0.75).sum(),
        }
    return row


def count_right(what: str, found: Tensor, labels: Tensor) -> dict:
    """Count the (R,) labels that are given, and those that are found."""
    given = labels != IGNORED
    return {what: given.sum(), f"{what}_right": (found == labels)[given].sum()}


def summarise(prediction: EvalPrediction) -> dict[str, float]:
    """Turn (pictures, number of `COUNTS`) counts into the metrics of `RATIOS`."""
    totals = dict(zip(COUNTS, torch.as_tensor(prediction.predictions).sum(dim=0), strict=True))
    return {
        metric: float(totals[top] / totals[bottom].clamp(min=1))
        for metric, (top, bottom) in RATIOS.items()
    }
