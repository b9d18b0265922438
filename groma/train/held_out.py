"""How well a model does, while it is trained, on public data it does not learn from."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset, Subset
from transformers import EvalPrediction

from groma.data.dataset import Examples
from groma.image import normalise_pixels
from groma.model.detection_loss import detection_loss
from groma.ops.boxes import box_cxcywh_to_xyxy, pairwise_iou
from groma.train.objectives.class_agnostic_detection import ClassAgnosticDetection
from groma.train.objectives.grounded_conversations import GroundedConversations
from groma.types import IGNORED


def first(examples: Examples | None, count: int, batch_size: int) -> Dataset | None:
    """The first examples of a validation, the same in every evaluation; of None, None.

    `batch_size` is that on all processes. The number is rounded down to whole batches, else the
    last one would be filled up with the first examples, of another source perhaps.
    """
    if examples is None:
        return None
    count = min(count, len(examples))
    return Subset(examples, range(max(count - count % batch_size, min(count, batch_size))))


@torch.no_grad()
def count_words(objective: GroundedConversations, batch: dict) -> Tensor:
    """Measure conversations, a batch of `ExampleCollator`.

    Returns (B, 5) summed negative log-likelihood of the supervised tokens, how many there are, how
    many of them are the likeliest, and the last two of those that name a region.
    """
    output = objective(**batch)
    logits, labels = output["logits"][:, :-1].float(), output["labels"][:, 1:]
    nll = F.cross_entropy(logits.mT, labels, ignore_index=IGNORED, reduction="none")
    supervised = labels != IGNORED
    right = supervised & (logits.argmax(dim=-1) == labels)
    pointer = supervised & (labels >= objective.model.tokens.region(0))
    columns = (nll, supervised, right, pointer, right & pointer)
    return torch.stack([column.sum(dim=1).float() for column in columns], dim=1)


def summarise_words(prediction: EvalPrediction) -> dict[str, float]:
    """Turn the counts of `count_words` into loss per token and shares of right tokens."""
    nll, tokens, right, pointers, pointed = _totals(prediction)
    shares = {"tokens": right / max(1, tokens), "pointers": pointed / max(1, pointers)}
    return {"loss": nll / max(1, tokens)} | shares


@torch.no_grad()
def count_boxes(objective: ClassAgnosticDetection, batch: dict) -> Tensor:
    """Measure proposals for a batch of `collate_detection`.

    Returns (B, 4) loss times true boxes, true boxes, and how many of them some proposal covers with
    an IoU of at least 0.5 and 0.75. The loss is that of the whole batch.
    """
    output = objective.region_proposer(objective.image_encoder(normalise_pixels(batch["pixels"])))
    config = objective.config.proposer_config
    with torch.autocast(batch["pixels"].device.type, enabled=False):
        loss, _ = detection_loss(output, batch["boxes"], batch["head"], config)
    rows = []
    for found, truth in zip(output.boxes_cxcywh[:, -1].float(), batch["boxes"], strict=True):
        best = pairwise_iou(truth, box_cxcywh_to_xyxy(found)).amax(dim=1)
        hits = [(best >= level).sum() for level in (0.5, 0.75)]
        rows.append(torch.stack([loss * len(truth), loss.new_tensor(len(truth)), *hits]))
    return torch.stack(rows)


def summarise_boxes(prediction: EvalPrediction) -> dict[str, float]:
    """Turn the counts of `count_boxes` into loss per box and recall."""
    loss, boxes, half, most = _totals(prediction)
    recall = {"recall50": half / max(1, boxes), "recall75": most / max(1, boxes)}
    return {"loss": loss / max(1, boxes)} | recall


def _totals(prediction: EvalPrediction) -> list[float]:
    return torch.as_tensor(prediction.predictions).sum(dim=0).tolist()
