"""The official model's recorded numbers on fixture A (see tests/data/parity)."""

import pytest
import torch
from torch import Tensor, nn

from groma.model.groma import GromaForConditionalGeneration
from groma.model.region_proposer import DetectorOutput
from groma.ops.boxes import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh
from tests.groma.model import released

BOXES = 5e-5
LOGITS = 5e-3
VIT = 1e-4


def close(found: Tensor, wanted: Tensor, gate: float) -> None:
    torch.testing.assert_close(found, wanted, atol=gate, rtol=0)


def test_recipe_makes_the_recorded_weights(record: dict) -> None:
    recipe = released.recipe()
    for key, wanted in record["weight_checksums"].items():
        made = recipe.tensor(key, record["state_dict"][key], record["seed"])
        assert recipe.checksum(made)["crc32"] == wanted["crc32"]


@torch.no_grad()
def test_image_encoder(groma_a, pixels, recorded) -> None:
    table = groma_a.image_encoder.position_table()
    close(table[:, ::41], recorded["interpolated_position_table"], VIT)
    hidden = groma_a.image_encoder(pixels)
    sampled = torch.arange(93, 1025, 93) - 1  # every 93rd row of CLS + patches, less CLS
    layers = {"embed": 0, "-4": -4, "-3": -3, "-2": -2, "-1": -1}
    for name, layer in layers.items():
        key = "vis_hidden_embed" if name == "embed" else f"vis_hidden_{name}"
        close(hidden[layer].flatten(2).mT[:, sampled], recorded[key][:, 1:], VIT)


@pytest.fixture
def detected(groma_a, pixels) -> tuple[DetectorOutput, dict[str, Tensor]]:
    seen: dict[str, Tensor] = {}
    proposer = groma_a.region_proposer

    def watch(name: str, module: nn.Module) -> None:
        module.register_forward_hook(lambda _module, _inputs, output: seen.update({name: output}))

    watch("source", proposer.feature_pyramid[0])
    watch("memory", proposer.encoder[-1])
    with torch.no_grad():
        return groma_a.detect(pixels), seen


def test_region_proposer(groma_a, detected, recorded) -> None:
    output, seen = detected
    close(seen["source"][:, ::8, ::4, ::4], recorded["src0"], VIT)
    close(seen["memory"][:, ::61], recorded["encoder_last_hidden"], VIT)
    close(output.location_logits, recorded["enc_outputs_class"][..., 0], LOGITS)
    wanted = recorded["enc_outputs_coord_logits"].sigmoid()
    close(output.location_boxes_cxcywh, wanted, BOXES)
    close(output.queries[:, :, ::4], recorded["decoder_hidden"], 1e-3)
    close(output.boxes_cxcywh[:, -1], recorded["pred_boxes"], BOXES)
    close(output.logits["coco"][:, -1], recorded["logits_coco"][..., 0], LOGITS)
    close(output.logits["sa1b"][:, -1], recorded["logits_sa1b"][..., 0], LOGITS)
    close(groma_a.region_proposer.score(output), recorded["scores_fused"], BOXES)


def test_proposals_start_at_the_recorded_references(detected, recorded) -> None:
    output, _ = detected
    best = output.location_logits.topk(80).indices
    start = output.location_boxes_cxcywh.gather(1, best[..., None].expand(-1, -1, 4))
    close(start, recorded["init_reference_points"], BOXES)


@torch.no_grad()
def test_image_tokens(groma_a, pixels, recorded) -> None:
    image = groma_a.encode_image(pixels, [(448, 448)])[0]
    close(image.image_tokens[None, ::16, ::16], recorded["image_features"], LOGITS)
    close(image.image_tokens[None, 0], recorded["image_features_row0"], LOGITS)


@torch.no_grad()
def test_region_tokens_of_the_recorded_boxes(groma_a, pixels, recorded) -> None:
    image = groma_a.encode_image(pixels, [(448, 448)])[0]
    boxes = box_cxcywh_to_xyxy(recorded["selected_boxes_0"])
    tokens = groma_a.encode_regions(image, boxes)
    close(tokens[:, ::8], recorded["region_features"], LOGITS)
    close(tokens[:2], recorded["region_features_first2"], LOGITS)


@torch.no_grad()
def test_forward(groma_a, pixels, recorded) -> None:
    ids = recorded["input_ids"].long()
    before = ids.clone()
    output = groma_a(ids, pixels)
    assert torch.equal(ids, before)
    boxes_cxcywh = box_xyxy_to_cxcywh(output.regions[0].boxes)
    close(boxes_cxcywh, recorded["selected_boxes_0"], BOXES)
    assert output.logits.shape == (1, 399, 434)
    close(output.logits[:, ::6], recorded["logits_stride6"], LOGITS)
    close(output.logits[:, -1], recorded["logits_last"], LOGITS)


def test_greedy_tokens(groma_a, pixels, recorded) -> None:
    ids = recorded["input_ids"].long()
    answer = groma_a.generate(ids, pixels, max_new_tokens=24, do_sample=False)
    assert answer.tolist() == recorded["greedy_tokens"].tolist()


@pytest.mark.parametrize(
    ("setting", "value", "name"),
    [("score_threshold", 0.999, "fallback"), ("max_regions", 10, "cap10")],
)
@torch.no_grad()
def test_fallback_and_cap(groma_a, pixels, recorded, setting, value, name) -> None:
    setattr(groma_a.config, setting, value)
    output = groma_a(recorded["input_ids"].long(), pixels)
    boxes_cxcywh = box_xyxy_to_cxcywh(output.regions[0].boxes)
    close(boxes_cxcywh, recorded[f"{name}_selected_boxes_0"], BOXES)
    close(output.logits[:, -1], recorded[f"{name}_logits_last"], LOGITS)


@pytest.mark.parametrize(("shards", "tied"), [(2, "both"), (0, "plain"), (3, "decoder")])
def test_every_released_layout_loads_the_same(
    tmp_path, record, groma_a: GromaForConditionalGeneration, shards: int, tied: str
) -> None:
    released.write_released(tmp_path, record, shards=shards, tied=tied)
    other = GromaForConditionalGeneration.from_pretrained(tmp_path)
    wanted = groma_a.state_dict()
    found = other.state_dict()
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
