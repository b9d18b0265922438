import copy
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import Dinov2Config, LlamaConfig

from groma.config import (
    GromaConfig,
    RegionEncoderConfig,
    RegionProposerConfig,
    _upgrade_released,
)
from tests.paths import DATA

RECORDED = DATA / "parity/fixture_a.json"


def released(**changes: Any) -> dict[str, Any]:
    """A released config.json with the official sizes: only differences from the class defaults."""
    config = {
        "model_type": "groma",
        "architectures": ["GromaModel"],
        "torch_dtype": "float32",
        "num_new_token": 114,
        "vocab_size": 32114,
        "nms_thres": 0.6,
        "box_score_thres": 0.15,
        "max_region_num": 100,
        "llm_cfg": {"model_type": "llama", "vocab_size": 32000, "transformers_version": "4.32.0"},
        "perceiver_cfg": {
            "model_type": "ddetr",
            "vis_output_layer": -1,
            "zs_weight_path": None,
            "vis_encoder_cfg": {
                "model_type": "dinov2",
                "hidden_size": 1024,
                "num_hidden_layers": 24,
                "num_attention_heads": 16,
                "image_size": 518,
                "patch_size": 14,
            },
            "ddetr_cfg": {
                "model_type": "deformable_detr",
                "num_feature_levels": 1,
                "two_stage": True,
                "with_box_refine": True,
                "class_cost": 2,
                "id2label": {"0": "LABEL_0"},
            },
        },
    }
    return config | changes


def read(given: dict[str, Any]) -> Any:
    """The config; Any, because a part may be declared as the dict it is built from."""
    return GromaConfig.from_dict(given)


def test_parts_are_built_from_nothing_from_dicts_and_from_configs() -> None:
    kinds = [Dinov2Config, RegionProposerConfig, RegionEncoderConfig, LlamaConfig]
    given: Any = GromaConfig(
        vision_config=Dinov2Config(patch_size=14),
        proposer_config={"width": 64},
        region_config={"roi_size": 7},
        text_config={"num_key_value_heads": 8},
    )
    for config in (GromaConfig(), given):
        names = ("vision_config", "proposer_config", "region_config", "text_config")
        assert [type(getattr(config, name)) for name in names] == kinds
    assert (given.proposer_config.width, given.region_config.roi_size) == (64, 7)
    assert given.text_config.num_key_value_heads == 8


def test_grid_and_image_tokens() -> None:
    config = GromaConfig(vision_config={"patch_size": 14}, image_size=448)
    assert (config.grid_size, config.num_image_tokens) == (32, 256)
    config = GromaConfig(vision_config={"patch_size": 14}, image_size=140)
    assert (config.grid_size, config.num_image_tokens) == (10, 25)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"image_size": 448, "vision_config": {"patch_size": 13}}, "twice the patch size"),
        ({"image_size": 42, "vision_config": {"patch_size": 14}}, "twice the patch size"),
        ({"max_regions": 0}, "max_regions 0"),
        ({"max_regions": 101}, "max_regions 101"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        GromaConfig(**settings)


@pytest.mark.parametrize("given", [{"max_regions": 7, "compat": True}, released()])
def test_a_saved_config_loads_equal(given: dict[str, Any], tmp_path: Path) -> None:
    config = read(given)
    config.save_pretrained(tmp_path)
    assert GromaConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()


class TestReleased:
    def test_sizes(self) -> None:
        config = read(released())
        assert config.vision_config.hidden_size == 1024
        assert config.text_config.vocab_size == 32000 + 114
        assert config.proposer_config.num_levels == 1
        assert (config.grid_size, config.num_image_tokens) == (32, 256)

    def test_only_released_checkpoints_are_in_compatibility_mode(self) -> None:
        assert read(released()).compat
        assert not GromaConfig().compat

    def test_defaults_of_the_old_classes_fill_what_is_left_out(self) -> None:
        config = released()
        config["perceiver_cfg"]["vis_encoder_cfg"] = {"hidden_size": 384}
        config["perceiver_cfg"]["ddetr_cfg"] = {}
        upgraded = read(config)
        assert upgraded.vision_config.patch_size == 16
        assert upgraded.vision_config.image_size == 224
        assert upgraded.proposer_config.num_levels == 4
        assert upgraded.proposer_config.class_cost == 1
        assert upgraded.proposer_config.num_queries == 300

    def test_thresholds(self) -> None:
        config = read(released(nms_thres=0.5, box_score_thres=-1, max_region_num=10))
        assert (config.nms_threshold, config.score_threshold, config.max_regions) == (0.5, -1, 10)

    def test_quantisation_is_kept(self) -> None:
        assert "quantization_config" not in _upgrade_released(released())
        upgraded = _upgrade_released(released(quantization_config={"load_in_4bit": True}))
        assert upgraded["quantization_config"] == {"load_in_4bit": True}

    def test_the_file_is_not_edited(self) -> None:
        config = released()
        before = copy.deepcopy(config)
        read(config)
        assert config == before

    @pytest.mark.parametrize("form", ["config_json", "config_json_full"])
    def test_recorded_file(self, form: str) -> None:
        config = read(json.loads(RECORDED.read_text())[form])
        assert config.vision_config.num_hidden_layers == 5
        assert config.vision_config.mlp_ratio == 2
        assert config.proposer_config.width == 64
        assert config.proposer_config.decoder_ffn_width == 160
        assert config.proposer_config.num_queries == 80
        assert config.text_config.vocab_size == 320 + 114
        assert config.text_config.num_hidden_layers == 1
        assert not config.text_config.tie_word_embeddings
