import re

import pytest
import torch
from torch import Tensor

from benchmarks.region_encoder import plain_forward, plain_fuse, plain_pool
from groma.model.region_encoder import RegionEncoder
from groma.model.released import RENAMES
from groma.ops.boxes import box_cxcywh_to_xyxy, box_xyxy_to_cxcywh
from tests.groma.model.tiny import tiny_config

GATE = 1e-3


def tiny_encoder(compat: bool = False, **changes) -> RegionEncoder:
    torch.manual_seed(0)
    settings = tiny_config().region_config.to_dict() | {"fuse_rounds": 2} | changes
    return RegionEncoder(tiny_config(compat=compat, region_config=settings)).eval()


def random_hidden(batch: int = 1) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, 32, 8, 8, generator=generator) for _ in range(3)]


def random_boxes(count: int) -> Tensor:
    corners = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(count))
    return corners.sort(dim=1).values.flatten(1)


def close(found: Tensor, wanted: Tensor, gate: float) -> None:
    torch.testing.assert_close(found, wanted, atol=gate, rtol=0)


def test_official_names_map_one_to_one(record: dict) -> None:
    renamed = []
    for key in record["state_dict"]:
        if key.startswith("region_encoder."):
            matching = [pair for pair in RENAMES.items() if re.match(pair[0], key)]
            assert len(matching) == 1
            renamed.append(re.sub(*matching[0], key).removeprefix("region_encoder."))
    assert sorted(renamed) == sorted(tiny_encoder(fuse_rounds=5).state_dict())


@torch.no_grad()
def test_every_recorded_stage(groma_a, pixels, recorded) -> None:
    encoder = groma_a.region_encoder
    maps = encoder.fuse(groma_a.image_encoder(pixels)[-3:])
    for i, level in enumerate(maps):
        step = level.shape[-1] // 16
        close(level[:, ::8, ::step, ::step], recorded[f"mlvl_fuse{i}"], GATE)
    boxes = box_cxcywh_to_xyxy(recorded["selected_boxes_0"])
    owners = torch.zeros(len(boxes), dtype=torch.int64)
    for i, features in enumerate(encoder.pool(maps, encoder.windows(boxes), owners)):
        close(features[::7, ::16], recorded[f"roi_feats{i}"], GATE)
    seen = {}
    encoder.box_embedding.register_forward_hook(lambda *call: seen.update(position=call[2]))
    encoder.projection.register_forward_hook(lambda *call: seen.update(feature=call[1][0]))
    tokens = encoder(maps, [boxes])[0]
    close(seen["position"][:, ::16], recorded["pos_embedd"], GATE)
    wanted = recorded["flatten_linear"] + recorded["pos_embedd"]
    close(seen["feature"][:, ::16], wanted, GATE)
    close(tokens[:, ::8], recorded["region_features"], GATE)
    close(tokens[:2], recorded["region_features_first2"], GATE)


@torch.no_grad()
def test_sixteen_bit_stays_near_the_record(groma_a, pixels, recorded) -> None:
    hidden = [state.bfloat16() for state in groma_a.image_encoder(pixels)[-3:]]
    encoder = groma_a.region_encoder.bfloat16()
    boxes = box_cxcywh_to_xyxy(recorded["selected_boxes_0"])
    tokens = encoder(encoder.fuse(hidden), [boxes])[0]
    assert tokens.dtype == torch.bfloat16
    error = tokens[:, ::8].float() - recorded["region_features"]
    assert error.norm() < 0.015 * recorded["region_features"].norm()


@pytest.mark.parametrize("compat", [True, False])
@pytest.mark.parametrize("rounds", [0, 1, 3])
@torch.no_grad()
def test_equals_the_plain_order_of_operations(compat: bool, rounds: int) -> None:
    encoder, hidden, boxes = (
        tiny_encoder(compat, fuse_rounds=rounds),
        random_hidden(),
        random_boxes(9),
    )
    maps, plain_maps = encoder.fuse(hidden), plain_fuse(encoder, hidden)
    owners = torch.zeros(len(boxes), dtype=torch.int64)
    pooled = encoder.pool(maps, encoder.windows(boxes), owners)
    for found, wanted in zip(maps, plain_maps, strict=True):
        close(found, wanted, 1e-4)
    for found, wanted in zip(pooled, plain_pool(encoder, plain_maps, boxes), strict=True):
        close(found, wanted, 1e-4)
    close(encoder(maps, [boxes])[0], plain_forward(encoder, plain_maps, boxes), 1e-4)


def test_windows() -> None:
    boxes = random_boxes(5)
    assert torch.equal(tiny_encoder(compat=False).windows(boxes), boxes)
    assert torch.equal(tiny_encoder(compat=True).windows(boxes), 2 * box_xyxy_to_cxcywh(boxes))


@torch.no_grad()
def test_windows_that_miss_the_picture_see_nothing_of_it() -> None:
    encoder, boxes = tiny_encoder(compat=True), torch.tensor([[0.3, 0.0, 1.0, 0.2]])
    windows = encoder.windows(boxes)
    assert windows[:, 0::2].min() > 1
    one, other = encoder.fuse(random_hidden()), encoder.fuse([-h for h in random_hidden()])
    assert torch.equal(encoder(one, [boxes])[0], encoder(other, [boxes])[0])
    close(encoder(one, [boxes])[0], plain_forward(encoder, one, boxes), 1e-5)


@pytest.mark.parametrize("compat", [True, False])
@torch.no_grad()
def test_every_picture_and_region_stands_alone(compat: bool) -> None:
    encoder, hidden = tiny_encoder(compat), random_hidden(batch=3)
    boxes = [random_boxes(4), torch.zeros(0, 4), random_boxes(7)]
    tokens = encoder(encoder.fuse(hidden), boxes)
    assert [part.shape for part in tokens] == [(4, 48), (0, 48), (7, 48)]
    for i, picture_boxes in enumerate(boxes):
        alone = encoder.fuse([state[i : i + 1] for state in hidden])
        for box, token in zip(picture_boxes, tokens[i], strict=True):
            close(encoder(alone, [box[None]])[0][0], token, 1e-4)


@torch.no_grad()
def test_a_masked_region_is_of_its_own_pixels() -> None:
    boxes, left = torch.tensor([[0.0, 0.0, 1.0, 1.0]]), torch.zeros(1, 28, 28)
    left[:, :, :13] = 1
    encoder, hidden = tiny_encoder(fuse_rounds=0), random_hidden()
    maps = encoder.fuse(hidden)
    # A sample reads its neighbours too, and a convolution mixes bins: the seam is left as it is.
    others = [level.clone() for level in maps]
    for level in others:
        level[..., level.shape[-1] * 5 // 8 :] *= -1
    assert not torch.equal(encoder(maps, [boxes])[0], encoder(others, [boxes])[0])
    close(encoder(maps, [boxes], [left])[0], encoder(others, [boxes], [left])[0], 1e-6)
    close(encoder(maps, [boxes], [torch.ones(1, 28, 28)])[0], encoder(maps, [boxes])[0], 1e-5)


@torch.no_grad()
def test_released_checkpoints_know_boxes_alone() -> None:
    encoder, boxes = tiny_encoder(compat=True), [random_boxes(3)]
    maps = encoder.fuse(random_hidden())
    assert torch.equal(encoder(maps, boxes, [torch.zeros(3, 7, 7)])[0], encoder(maps, boxes)[0])


@pytest.mark.parametrize("rounds", [0, 2])
def test_gradients_reach_every_weight_and_the_image(rounds: int) -> None:
    encoder = tiny_encoder(fuse_rounds=rounds).train()
    hidden = [state.requires_grad_() for state in random_hidden(batch=2)]
    tokens = encoder(encoder.fuse(hidden), [random_boxes(3), random_boxes(2)])
    torch.cat(tokens).square().sum().backward()
    for tensor in (*encoder.parameters(), *hidden):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
        assert tensor.grad.any()


def test_a_fraction_of_the_default_size() -> None:
    encoder = tiny_encoder(roi_size=3, sampling_ratio=1, width=20, position_width=6, norm_groups=4)
    assert encoder.flatten.weight.shape == (20, 32 * 9)
    assert encoder(encoder.fuse(random_hidden()), [random_boxes(2)])[0].shape == (2, 48)
