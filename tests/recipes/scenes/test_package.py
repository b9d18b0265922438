from pathlib import Path

import pytest
import torch

from groma.checkpoint import load as loading
from groma.model.groma import GromaForConditionalGeneration
from groma.model.quantization import quantized_linears
from groma.tokens import IMAGE, REGION
from groma.types import GromaError
from recipes.scenes import package
from tests.groma.model.tiny import tiny_model, tiny_pixels
from tests.groma.train import tiny_language


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    config = tiny_language.text_config() | {"hidden_size": 64, "intermediate_size": 128}
    tiny_model(text_config=config, tie_word_embeddings=True).save_pretrained(folder)
    tiny_language.tokenizer().save_pretrained(folder)
    (folder / "symbolic_regions.safetensors").write_bytes(b"of the training alone")
    return folder


def answer(model: GromaForConditionalGeneration) -> torch.Tensor:
    ids = torch.tensor([[1, model.tokens[IMAGE], 5, model.tokens[REGION], 9, 30]])
    with torch.no_grad():
        return model(ids, tiny_pixels(1)).logits


def test_what_is_shipped_answers_as_what_was_trained(source: Path, tmp_path: Path) -> None:
    size = package.package(source, tmp_path / "shipped")
    assert size == sum(file.stat().st_size for file in (tmp_path / "shipped").iterdir())
    assert not (tmp_path / "shipped" / "symbolic_regions.safetensors").exists()
    trained, _ = loading.load(source, device="cpu", dtype="float32")
    shipped, tokenizer = loading.load(tmp_path / "shipped", device="cpu", dtype="float32")
    assert not quantized_linears(shipped)
    assert tokenizer.encode("a dog") == tiny_language.tokenizer().encode("a dog")
    wanted = answer(trained)
    assert 0 < (answer(shipped) - wanted).norm() / wanted.norm() < 0.01
    tied = shipped.get_output_embeddings().weight
    assert tied is shipped.get_input_embeddings().weight


def test_files_too_large_to_ship_are_named(source: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(package, "LARGEST_FILE", 1000)
    with pytest.raises(GromaError, match="too large to be shipped"):
        package.package(source, tmp_path / "shipped")
