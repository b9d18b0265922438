import pytest
import torch

from groma import machine
from groma.config import GromaConfig
from groma.model.groma import GromaForConditionalGeneration
from groma.tokens import NEW_TOKENS
from recipes.scenes.objectives.scene_samples import SceneSamples
from recipes.scenes.objectives.symbolic_pretraining import SymbolicRegionEncoder
from recipes.scenes.pictures.generator import SceneGenerator
from tests.groma.train import tiny_language

PATCH = 14
SIDE = 8 * PATCH


@pytest.fixture(autouse=True, scope="module")
def plain_machine():
    """What is compared is computed in fp32, on machines that train in bf16 as well."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(machine, "computes_in_bf16", lambda _device: False)
        yield


@pytest.fixture
def tiny_config():
    return make_config()


@pytest.fixture(scope="session")
def small_config():
    """The same sizes around the language model that reads."""
    return GromaConfig(**make_config().to_dict() | {"text_config": tiny_language.text_config()})


def make_config() -> GromaConfig:
    return GromaConfig(
        image_size=SIDE,
        vision_config={
            "hidden_size": 32,
            "num_hidden_layers": 4,
            "num_attention_heads": 2,
            "patch_size": PATCH,
            "image_size": SIDE,
        },
        proposer_config={
            "width": 32,
            "encoder_layers": 0,
            "decoder_layers": 2,
            "decoder_ffn_width": 64,
            "num_heads": 4,
            "num_queries": 20,
            "num_levels": 2,
            "box_head_width": 32,
            "dropout": 0.0,
        },
        region_config={
            "roi_size": 2,
            "fuse_rounds": 0,
            "norm_groups": 4,
            "width": 32,
            "position_width": 16,
        },
        text_config={
            "hidden_size": 48,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "vocab_size": 20 + len(NEW_TOKENS),
        },
    )


@pytest.fixture
def tiny_model(tiny_config):
    torch.manual_seed(0)
    return GromaForConditionalGeneration(tiny_config)


@pytest.fixture
def words(tiny_config):
    """Made-up words that region tokens are to mean."""
    encoder = SymbolicRegionEncoder(tiny_config.text_config.hidden_size)
    generator = torch.Generator().manual_seed(0)
    for linear in (encoder.names, encoder.colours, encoder.sizes):
        linear.weight.normal_(generator=generator)
    return encoder


@pytest.fixture(scope="session")
def scenes():
    return SceneSamples(SceneGenerator("train", 0, SIDE, style="noto"), 64, PATCH)


def losses_of_steps(objective, optimizer, batch, count=4):
    """Losses of some steps on one batch, each with the same random numbers."""
    totals = []
    for _ in range(count):
        torch.manual_seed(2)
        optimizer.zero_grad()
        loss = objective(**batch)["loss"]
        loss.backward()
        optimizer.step()
        totals.append(float(loss.detach()))
    return totals
