from dataclasses import replace

import pytest
import torch

from groma.model.detection_loss import detection_loss
from groma.train.stages import PARTS, freeze_for
from tests.groma.train.shipped import DETECTION


def test_only_the_named_parts_learn(tiny_model):
    freeze_for(tiny_model, DETECTION)
    learning = {
        name
        for name in PARTS
        if any(p.requires_grad for p in getattr(tiny_model, name).parameters())
    }
    assert learning == set(DETECTION.trains)
    assert not tiny_model.image_encoder.frozen


def test_a_frozen_image_encoder_gives_no_gradient(tiny_model):
    freeze_for(tiny_model, replace(DETECTION, trains=("region_proposer",)))
    pixels = torch.rand(1, 3, tiny_model.config.image_size, tiny_model.config.image_size)
    truth, config = [torch.tensor([[0.2, 0.2, 0.6, 0.6]])], tiny_model.config.proposer_config
    detection_loss(tiny_model.detect(pixels), truth, "coco", config)[0].backward()
    assert all(p.grad is None for p in tiny_model.image_encoder.parameters())
    assert tiny_model.region_proposer.location_output.weight.grad is not None


def test_an_unknown_part_is_refused(tiny_model):
    with pytest.raises(ValueError, match="perceiver"):
        freeze_for(tiny_model, replace(DETECTION, trains=("perceiver",)))
