"""Set prediction loss against transformers' Deformable DETR loss on equal inputs."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from transformers.loss.loss_deformable_detr import DeformableDetrForObjectDetectionLoss

from groma.config import RegionProposerConfig
from groma.model.detection_loss import detection_loss, focal_loss, match_boxes
from groma.model.region_proposer import DetectorOutput
from groma.ops.boxes import box_xyxy_to_cxcywh

LAYERS, QUERIES, LOCATIONS = 3, 12, 40


def random_boxes(*shape: int) -> Tensor:
    corners = torch.rand(*shape, 2, 2).sort(dim=-2).values
    return corners.flatten(-2)


@pytest.fixture
def output() -> DetectorOutput:
    torch.manual_seed(0)
    return DetectorOutput(
        boxes_cxcywh=box_xyxy_to_cxcywh(random_boxes(2, LAYERS, QUERIES)).requires_grad_(),
        logits={
            head: torch.randn(2, LAYERS, QUERIES, requires_grad=True) for head in ("coco", "sa1b")
        },
        location_boxes_cxcywh=box_xyxy_to_cxcywh(random_boxes(2, LOCATIONS)).requires_grad_(),
        location_logits=torch.randn(2, LOCATIONS, requires_grad=True),
        queries=torch.zeros(2, LAYERS, QUERIES, 8),
    )


@pytest.fixture
def truth() -> list[Tensor]:
    torch.manual_seed(1)
    return [random_boxes(5), random_boxes(2)]


def reference(boxes_cxcywh: Tensor, logits: Tensor, truth: list[Tensor]) -> tuple[Tensor, dict]:
    """transformers' loss of (B, Q) predictions; its class weight is 1, ours 2."""
    config = SimpleNamespace(
        class_cost=2,
        bbox_cost=5,
        giou_cost=2,
        num_labels=1,
        focal_alpha=0.25,
        auxiliary_loss=False,
        bbox_loss_coefficient=5,
        giou_loss_coefficient=2,
    )
    labels = [
        {
            "class_labels": torch.zeros(len(boxes), dtype=torch.long),
            "boxes": box_xyxy_to_cxcywh(boxes),
        }
        for boxes in truth
    ]
    loss, terms, _ = DeformableDetrForObjectDetectionLoss(
        logits[..., None], labels, logits.device, boxes_cxcywh, config
    )
    return loss + terms["loss_ce"], terms


@pytest.mark.parametrize("head", ["coco", "sa1b"])
def test_equals_transformers(output: DetectorOutput, truth: list[Tensor], head: str) -> None:
    total, terms = detection_loss(output, truth, head, RegionProposerConfig())
    sets = {
        f"_{layer}": (output.boxes_cxcywh[:, layer], output.logits[head][:, layer])
        for layer in range(LAYERS - 1)
    }
    sets[""] = output.boxes_cxcywh[:, -1], output.logits[head][:, -1]
    sets["_enc"] = output.location_boxes_cxcywh, output.location_logits
    wanted_total = torch.zeros(())
    for suffix, found in sets.items():
        wanted, wanted_terms = reference(*found, truth)
        wanted_total = wanted_total + wanted
        for name in ("loss_ce", "loss_bbox", "loss_giou", "cardinality_error"):
            torch.testing.assert_close(terms[name + suffix], wanted_terms[name], msg=name + suffix)
    torch.testing.assert_close(total, wanted_total)
    inputs = [output.boxes_cxcywh, output.logits[head], output.location_logits]
    for ours, theirs in zip(
        torch.autograd.grad(total, inputs), torch.autograd.grad(wanted_total, inputs), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_pictures_without_boxes_are_all_background(output: DetectorOutput) -> None:
    none = [torch.zeros(0, 4), torch.zeros(0, 4)]
    total, terms = detection_loss(output, none, "coco", RegionProposerConfig())
    assert terms["loss_bbox"] == 0
    assert terms["loss_giou"] == 0
    last = focal_loss(output.logits["coco"][:, -1], torch.zeros(2, QUERIES), 0.25, 2.0)
    torch.testing.assert_close(terms["loss_ce"], last.sum())
    assert total.isfinite()


def test_the_other_head_is_untouched(output: DetectorOutput, truth: list[Tensor]) -> None:
    total, _ = detection_loss(output, truth, "coco", RegionProposerConfig())
    (untouched,) = torch.autograd.grad(total, [output.logits["sa1b"]], allow_unused=True)
    assert untouched is None


def test_unknown_head_is_named(output: DetectorOutput, truth: list[Tensor]) -> None:
    with pytest.raises(ValueError, match="lvis"):
        detection_loss(output, truth, "lvis", RegionProposerConfig())


def test_every_true_box_is_matched_to_its_copy() -> None:
    torch.manual_seed(2)
    truth = box_xyxy_to_cxcywh(random_boxes(6))
    order = torch.randperm(6)
    predictions = torch.cat([truth[order], box_xyxy_to_cxcywh(random_boxes(10))])
    (found, columns), (none, _) = match_boxes(
        predictions.expand(2, -1, -1),
        torch.zeros(2, 16),
        [truth, truth[:0]],
        RegionProposerConfig(),
    )
    assert dict(zip(columns.tolist(), found.tolist(), strict=True)) == {
        int(index): place for place, index in enumerate(order)
    }
    assert len(none) == 0


@pytest.mark.parametrize("repeats", [1, 3])
def test_repeats_match_as_copies_of_the_truth_would(
    output: DetectorOutput, truth: list[Tensor], repeats: int
) -> None:
    config = RegionProposerConfig()
    centred = [box_xyxy_to_cxcywh(boxes) for boxes in truth]
    found = output.location_boxes_cxcywh, output.location_logits
    repeated = match_boxes(*found, centred, config, repeats)
    copied = match_boxes(*found, [boxes.repeat(repeats, 1) for boxes in centred], config)
    for boxes, (rows, columns), (wanted_rows, wanted) in zip(
        centred, repeated, copied, strict=True
    ):
        assert rows.tolist() == wanted_rows.tolist()
        assert columns.tolist() == (wanted % len(boxes)).tolist()
