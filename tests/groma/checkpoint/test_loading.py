import json
import shutil
from pathlib import Path

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, LlamaTokenizer

from groma import embedded, machine
from groma.checkpoint import load as loading
from groma.checkpoint.convert import convert
from groma.checkpoint.inspect import info
from groma.checkpoint.load import weight_files
from groma.model import quantization as packing
from groma.model.groma import GromaForConditionalGeneration
from groma.model.quantization import is_cpu_packed, quantization_config, quantized_linears
from groma.tokens import IMAGE, REGION
from groma.types import GromaError
from tests import cpu_kernel
from tests.groma.model import released
from tests.groma.model.tiny import BASE_VOCABULARY, tiny_model, tiny_pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint with widths that bitsandbytes can pack, and a tokenizer."""
    return write_folder(tmp_path_factory.mktemp("tiny"))


def write_folder(folder: Path, inner: int = 128) -> Path:
    text = {
        "vocab_size": BASE_VOCABULARY + 114,
        "hidden_size": 64,
        "intermediate_size": inner,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    tiny_model(text_config=text).save_pretrained(folder)
    released.write_tokenizer(folder)
    return folder


def answer(model: GromaForConditionalGeneration) -> Tensor:
    ids = torch.tensor([[1, model.tokens[IMAGE], 5, model.tokens[REGION], 9, 30]])
    with torch.no_grad():
        return model(ids, tiny_pixels(1).to(model.dtype)).logits.float()


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_quantised_round_trip(
    folder: Path, tmp_path: Path, quantization, dtype, monkeypatch
) -> None:
    target = tmp_path / "converted"
    convert(folder, target, quantization, dtype=dtype)
    monkeypatch.setattr(machine, "NARROW", 0)
    direct, _ = loading.load(folder, quantization, device="cpu", dtype=dtype)
    converted, _ = loading.load(target, device="cpu", dtype=dtype)
    assert torch.equal(answer(direct), answer(converted))


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
@pytest.mark.parametrize(
    ("stored", "wanted"),
    [("bfloat16", "float32"), ("float32", "bfloat16"), ("bfloat16", "float16")],
)
def test_a_quantised_checkpoint_computes_in_the_type_of_another_machine(
    folder: Path, tmp_path: Path, quantization, stored: str, wanted: str, monkeypatch
) -> None:
    monkeypatch.setattr(machine, "NARROW", 0)
    cpu_kernel.allow(monkeypatch, False)
    convert(folder, tmp_path / "packed", quantization, dtype=stored)
    model, _ = loading.load(tmp_path / "packed", device="cpu", dtype=wanted)
    kind = getattr(torch, wanted)
    assert {p.dtype for p in model.parameters() if p.is_floating_point()} == {kind}
    found = answer(model)
    if quantization == "4bit":
        plain, _ = loading.load(tmp_path / "packed", "none", device="cpu", dtype=wanted)
        torch.testing.assert_close(found, answer(plain), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("inner", [128, 96, 80])
def test_layers_that_can_be_repacked_are_and_answers_stay(
    tmp_path: Path, monkeypatch, inner: int
) -> None:
    """96 and 80 are no whole blocks of inputs, 80 is no whole group of outputs."""
    write_folder(tmp_path, inner)
    cpu_kernel.allow(monkeypatch, False)
    before = answer(loading.load(tmp_path, "4bit", device="cpu", dtype="bfloat16")[0])
    cpu_kernel.allow(monkeypatch)
    model, _ = loading.load(tmp_path, "4bit", device="cpu", dtype="bfloat16")
    error = (answer(model) - before).norm() / before.norm()
    assert 0 < error < 0.02
    whole = {"down_proj": inner == 128, "gate_proj": inner != 80, "up_proj": inner != 80}
    for name, module in model.named_modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            repacked = getattr(module.weight.quant_state, "packing_format_for_cpu", False)
            assert repacked == whole.get(name.rpartition(".")[2], True)


@pytest.mark.parametrize("reason", ["narrow", "asked for", "no bitsandbytes"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_unpacked_weights_are_those_bitsandbytes_computes_with(
    folder: Path, tmp_path: Path, dtype, reason, monkeypatch
) -> None:
    convert(folder, tmp_path / "packed", "4bit", dtype=dtype)
    monkeypatch.setattr(machine, "NARROW", 0)
    packed, _ = loading.load(tmp_path / "packed", device="cpu", dtype=dtype)
    if reason == "narrow":
        monkeypatch.setattr(machine, "NARROW", 1024)
    elif reason == "no bitsandbytes":
        monkeypatch.setattr(packing, "find_spec", lambda _name: None)
    wanted = "none" if reason == "asked for" else None
    plain, _ = loading.load(tmp_path / "packed", wanted, device="cpu", dtype=dtype)
    assert quantized_linears(packed)
    assert not quantized_linears(plain)
    linears = dict(plain.named_modules())
    for name, module in packed.named_modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            exact = dequantize_4bit(module.weight.data, module.weight.quant_state)
            assert torch.equal(linears[name].weight, exact)
    convert(tmp_path / "packed", tmp_path / "plain", "none", dtype=dtype)
    again, _ = loading.load(tmp_path / "plain", device="cpu", dtype=dtype)
    assert torch.equal(answer(again), answer(plain))


@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantisation_touches_only_the_language_models_linears(folder, quantization) -> None:
    model, _ = loading.load(folder, quantization, device="cpu", dtype="bfloat16")
    packed = {name for name, p in model.named_parameters() if p.dtype in (torch.uint8, torch.int8)}
    layers = {f"language_model.model.layers.{i}" for i in range(2)}
    assert len(packed) == 2 * 7
    assert {name.rsplit(".", 3)[0] for name in packed} == layers
    others = {p.dtype for name, p in model.named_parameters() if name not in packed}
    assert others == {torch.bfloat16}


def test_quantised_answers_stay_close(folder: Path) -> None:
    exact, _ = loading.load(folder, device="cpu", dtype="float32")
    wanted = answer(exact)
    for quantization, gate in (("8bit", 0.05), ("4bit", 0.3)):
        model, _ = loading.load(folder, quantization, device="cpu", dtype="float32")
        error = (answer(model) - wanted).norm() / wanted.norm()
        assert 0 < error < gate


def test_a_packed_model_refuses_to_save_a_broken_folder(
    folder: Path, tmp_path: Path, monkeypatch
) -> None:
    cpu_kernel.allow(monkeypatch)
    model = GromaForConditionalGeneration.from_pretrained(
        folder, quantization_config=_four_bit()
    ).eval()
    before = answer(model)
    assert not is_cpu_packed(model)
    model.save_pretrained(tmp_path / "saved")
    again = GromaForConditionalGeneration.from_pretrained(tmp_path / "saved").eval()
    assert torch.equal(answer(again), before)
    model, _ = loading.load(folder, "4bit", device="cpu", dtype="bfloat16")
    answer(model)
    assert is_cpu_packed(model)
    with pytest.raises(GromaError, match="packed"):
        model.save_pretrained(tmp_path / "broken")


def _four_bit():
    return quantization_config("4bit", torch.float32)


def test_released_layout_converts_exactly(tmp_path: Path) -> None:
    record, recorded = released.fixture()
    source = released.write_released(tmp_path / "released", record, shards=2, tied="both")
    released.write_tokenizer(source)
    convert(source, tmp_path / "ours", dtype="float32", max_shard_size="100MB")
    assert len(weight_files(tmp_path / "ours")) > 1
    model, _ = loading.load(tmp_path / "ours", device="cpu", dtype="float32")
    pixels = torch.from_numpy(released.recipe().pixels((1, 3, 448, 448), record["seed"]))
    with torch.no_grad():
        logits = model(recorded["input_ids"].long(), pixels).logits
    torch.testing.assert_close(logits[:, -1], recorded["logits_last"], atol=5e-3, rtol=0)
    before, after = info(source), info(tmp_path / "ours")
    counts = [{p.name: p.parameters for p in parts} for parts in (before, after)]
    doubled = sum(torch.Size(record["state_dict"][key]).numel() for key in record["tied_keys"])
    counts[0]["region proposer"] -= doubled
    assert counts[0] == counts[1]


def test_info_counts_bytes_and_packed_parameters(tmp_path: Path) -> None:
    # Wide enough that the packed weights outweigh what describes their packing.
    text = {
        "vocab_size": BASE_VOCABULARY + 114,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    tiny_model(text_config=text).save_pretrained(tmp_path / "plain")
    released.write_tokenizer(tmp_path / "plain")
    convert(tmp_path / "plain", tmp_path / "packed", "4bit")
    plain = {part.name: part for part in info(tmp_path / "plain")}
    packed = {part.name: part for part in info(tmp_path / "packed")}
    assert plain.keys() == packed.keys()
    for name in plain:
        assert plain[name].parameters == packed[name].parameters
        assert plain[name].size == 4 * plain[name].parameters
    assert packed["image encoder"].size == 2 * packed["image encoder"].parameters
    assert packed["language model"].size < 0.7 * packed["language model"].parameters
    assert "4bit" in packed["language model"].dtypes


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: (f / "config.json").unlink(), "no config.json"),
        (lambda f: (f / "config.json").write_text("{"), "not valid JSON"),
        (lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
        (lambda f: [p.unlink() for p in f.glob("tokenizer*")], "no tokenizer"),
    ],
)
def test_damaged_folders_are_named(folder: Path, tmp_path: Path, damage, sentence) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    damage(broken)
    with pytest.raises(GromaError, match=sentence):
        loading.load(broken)


def test_missing_shards_are_named(tmp_path: Path) -> None:
    record, _ = released.fixture()
    released.write_released(tmp_path, record, shards=2, tied="plain")
    (tmp_path / "pytorch_model-00002-of-00002.bin").unlink()
    with pytest.raises(GromaError, match=r"pytorch_model-00002-of-00002\.bin of 2"):
        loading.load(tmp_path)


def test_truncated_weights_are_named(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(GromaError, match="damaged"):
        loading.load(broken)


def test_other_architectures_are_named(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=16,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(GromaError, match="holds a llama model"):
        loading.load(tmp_path)


def test_unknown_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(GromaError, match="no model folder"):
        loading.load(tmp_path / "nowhere")
    with pytest.raises(GromaError, match="no model folder"):
        loading.load("nobody/nothing")


def test_requests_that_cannot_run_here_are_named(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(GromaError, match="no CUDA"):
        loading.load(folder, device="cuda")
    with pytest.raises(GromaError, match="no device 'toaster'"):
        loading.load(folder, device="toaster")
    with pytest.raises(GromaError, match="float8x"):
        loading.load(folder, dtype="float8x")
    with pytest.raises(GromaError, match="2bit"):
        loading.load(folder, "2bit")
    convert(folder, tmp_path / "packed", "4bit")
    with pytest.raises(GromaError, match="stored in 4bit and cannot become 8bit"):
        loading.load(tmp_path / "packed", "8bit")
    with pytest.raises(GromaError, match="packed is stored in 4bit already"):
        convert(tmp_path / "packed", tmp_path / "again", "4bit")
    with pytest.raises(GromaError, match="exists already"):
        convert(folder, tmp_path / "packed")
    monkeypatch.setattr(packing, "find_spec", lambda _name: None)
    with pytest.raises(GromaError, match="pip install bitsandbytes"):
        loading.load(folder, "4bit")


def test_slow_and_fast_tokenizer_files_agree(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "groma"
    tokenizer = loading.load_tokenizer(folder)
    assert isinstance(tokenizer, LlamaTokenizer)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.model").unlink(missing_ok=True)
    (tmp_path / "config.json").write_text((folder / "config.json").read_text())
    fast = loading.load_tokenizer(tmp_path)
    text = "What is left of the dog?"
    assert fast.encode(text) == tokenizer.encode(text)


def test_an_embedded_model_is_meant_by_its_name_in_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "groma-mini").mkdir()
    assert loading.resolve("groma-mini") == embedded.WEIGHTS / "groma-mini"
    with pytest.raises(GromaError, match=r"no config\.json"):
        loading.resolve("./groma-mini")
    monkeypatch.setattr(embedded, "WEIGHTS", tmp_path)
    with pytest.raises(GromaError, match="no embedded model"):
        loading.resolve("groma-photo")
    assert embedded.at_hand() == []
