import pytest
import torch
from safetensors.torch import save_file

from groma.model.groma import GromaForConditionalGeneration
from groma.train.starting import _VISUAL_PARTS, load_visual_parts
from groma.types import GromaError
from recipes.scenes.objectives.detection_pretraining import DetectionPretraining


@pytest.fixture
def twin(tiny_config):
    torch.manual_seed(5)
    tiny_config.text_config.num_hidden_layers = 2
    return GromaForConditionalGeneration(tiny_config)


def visual(model):
    return {k: v for k, v in model.state_dict().items() if k.startswith(_VISUAL_PARTS)}


def test_visual_parts_come_from_a_checkpoint_or_a_model(tiny_model, twin, words, tmp_path):
    wanted = {key: value.clone() for key, value in visual(tiny_model).items()}
    objective = DetectionPretraining(tiny_model, words, {})
    (tmp_path / "checkpoint").mkdir()
    save_file(objective.state_dict(), tmp_path / "checkpoint" / "model.safetensors")
    tiny_model.save_pretrained(tmp_path / "model")
    for folder in ("checkpoint", "model"):
        with torch.no_grad():
            twin.region_proposer.level_embedding.zero_()
        load_visual_parts(twin, tmp_path / folder)
        for key, value in visual(twin).items():
            assert torch.equal(value, wanted[key]), key


def test_a_language_model_of_another_width_keeps_its_projection(tiny_model, tiny_config, tmp_path):
    tiny_model.save_pretrained(tmp_path)
    tiny_config.text_config.hidden_size = 32
    other = GromaForConditionalGeneration(tiny_config)
    before = other.region_encoder.projection.weight.clone()
    load_visual_parts(other, tmp_path)
    assert torch.equal(other.region_encoder.projection.weight, before)
    wanted = tiny_model.region_encoder.flatten.weight
    assert torch.equal(other.region_encoder.flatten.weight, wanted)


def test_a_folder_that_does_not_fit_is_refused(twin, tmp_path):
    with pytest.raises(GromaError, match="holds no"):
        load_visual_parts(twin, tmp_path)
    save_file({"image_encoder.x": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(GromaError, match="image_encoder"):
        load_visual_parts(twin, tmp_path)
