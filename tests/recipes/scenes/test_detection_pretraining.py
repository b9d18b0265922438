import pytest
import torch

from groma.data.augment import JITTER
from groma.model.detection_loss import detection_loss, match_boxes
from groma.model.region_proposer import DetectorOutput
from groma.ops.boxes import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh, pairwise_iou
from groma.train.stages import freeze_for
from groma.train.trainer import build_optimizer
from groma.types import IGNORED
from recipes.scenes.objectives.detection_pretraining import (
    QUERY_REPEATS,
    DetectionPretraining,
    choose_regions,
    detection_terms,
    jitter,
    set_terms,
)
from recipes.scenes.objectives.scene_samples import KINDS, collate
from tests.groma.train.shipped import DETECTION


def random_boxes(*shape):
    corner, side = torch.rand(*shape, 2) * 0.6, torch.rand(*shape, 2) * 0.35 + 0.05
    return torch.cat([corner, corner + side], dim=-1)


@pytest.fixture
def output():
    torch.manual_seed(1)
    queries, layers, places = 12, 2, 30
    return DetectorOutput(
        boxes_cxcywh=box_xyxy_to_cxcywh(random_boxes(2, layers, queries)),
        logits={head: torch.randn(2, layers, queries) for head in ("coco", "sa1b")},
        location_boxes_cxcywh=box_xyxy_to_cxcywh(random_boxes(2, places)),
        location_logits=torch.randn(2, places),
        queries=torch.randn(2, layers, queries, 8),
    )


def test_terms_agree_with_the_model_s_loss(output, tiny_config):
    config = tiny_config.proposer_config
    truth = [random_boxes(3), random_boxes(5)]
    _, expected = detection_loss(output, truth, "sa1b", config)
    centred = [box_xyxy_to_cxcywh(boxes) for boxes in truth]
    ones = [torch.ones(len(boxes)) for boxes in truth]
    boxes, logits = output.boxes_cxcywh[:, -1], output.logits["sa1b"][:, -1]
    matches = match_boxes(boxes, logits, centred, config)
    found = set_terms(boxes, logits[None], centred, ones, ones, matches, config)
    wanted = torch.stack([expected[f"loss_{name}"] for name in ("ce", "bbox", "giou")])
    torch.testing.assert_close(found, wanted)


def test_scores_learn_how_well_a_box_fits(output, tiny_config):
    config = tiny_config.proposer_config
    truth = [box_xyxy_to_cxcywh(random_boxes(2)) for _ in range(2)]
    ones = [torch.ones(2)] * 2
    boxes, logits = output.boxes_cxcywh[:, -1], output.logits["sa1b"][:, -1]
    matches = match_boxes(boxes, logits, truth, config)
    overlaps = torch.zeros_like(logits)
    for picture, (rows, columns) in enumerate(matches):
        found, wanted = (
            box_cxcywh_to_xyxy(part) for part in (boxes[picture, rows], truth[picture][columns])
        )
        overlaps[picture, rows] = pairwise_iou(found, wanted).diagonal()
    fitting = overlaps.logit(eps=1e-7)[None]
    assert set_terms(boxes, fitting, truth, ones, ones, matches, config, True)[0] < 1e-6
    for other in (fitting + 1, fitting - 1):
        other.requires_grad_(True)
        set_terms(boxes, other, truth, ones, ones, matches, config, True)[0].backward()
        matched = other.grad[0][overlaps > 0]
        assert ((matched > 0) == (other > fitting)[0][overlaps > 0]).all()


def test_the_coco_head_learns_objects_alone(output, tiny_config):
    config = tiny_config.proposer_config
    truth = [box_xyxy_to_cxcywh(random_boxes(2)) for _ in range(2)]
    weights = [torch.ones(2)] * 2
    objects = [torch.tensor([1.0, 0.0])] * 2
    heads = torch.stack([output.logits["sa1b"][:, -1], output.logits["coco"][:, -1]])
    heads.requires_grad_(True)
    boxes = output.boxes_cxcywh[:, -1]
    matches = match_boxes(boxes, heads[0], truth, config)
    set_terms(boxes, heads, truth, objects, weights, matches, config)[0].backward()
    for picture, (rows, columns) in enumerate(matches):
        for row, column in zip(rows, columns, strict=True):
            assert heads.grad[0, picture, row] < 0
            assert (heads.grad[1, picture, row] < 0) == (column == 0)


def test_jitter_stays_small_and_choice_stays_named():
    boxes = random_boxes(50)
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)
    assert ((jitter(boxes) - boxes).abs() <= JITTER * sides + 1e-6).all()
    labels = torch.tensor([IGNORED, *range(12), IGNORED])
    chosen = choose_regions(labels)
    assert len(chosen) == 8
    assert (labels[chosen] != IGNORED).all()


def test_pictures_without_any_name_have_a_loss(tiny_model, words, scenes):
    freeze_for(tiny_model, DETECTION)
    objective = DetectionPretraining(tiny_model, words, DETECTION.loss_weights)
    batch = collate([scenes[0], scenes[1]])
    batch["labels"] = [torch.full_like(labels, IGNORED) for labels in batch["labels"]]
    batch["boxes"][0] = batch["boxes"][0][:0]
    for name in ("labels", "colours", "kinds", "weights"):
        batch[name][0] = batch[name][0][:0]
    terms = objective(**batch)
    terms["loss"].backward()
    assert all(torch.isfinite(value) for value in terms.values())
    assert terms["region_name"] == 0


def test_a_few_steps_on_eight_scenes_lower_every_loss(tiny_model, words, scenes):
    freeze_for(tiny_model, DETECTION)
    objective = DetectionPretraining(tiny_model, words, DETECTION.loss_weights)
    optimizer = build_optimizer(objective, DETECTION)
    batch = collate([scenes[i] for i in range(8)])
    history = []
    for _ in range(16):
        with torch.autocast("cpu", torch.bfloat16):
            terms = objective(**batch)
        terms["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        history.append({name: value.item() for name, value in terms.items()})
    assert history[-1]["loss"] < history[0]["loss"] * 0.9
    for name in DETECTION.loss_weights:
        assert history[-1][name] < history[0][name], name


def test_parts_are_no_places_to_start_from(output, tiny_config):
    output.location_logits.requires_grad_(True)
    boxes = [random_boxes(3)] * 2
    kinds = [torch.full((3,), KINDS.index("part"))] * 2
    terms, matches = detection_terms(
        output, boxes, kinds, [torch.ones(3)] * 2, tiny_config.proposer_config
    )
    terms["objectness"].backward()
    assert (output.location_logits.grad >= 0).all()
    assert all(len(columns) == 3 * QUERY_REPEATS for _, columns in matches)
