import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor

import groma
from groma.checkpoint import adapters
from groma.checkpoint import load as loading
from groma.checkpoint.adapters import (
    Fingerprint,
    add_lora,
    attach,
    read_adapter,
    share,
    write_adapter,
)
from groma.checkpoint.convert import convert
from groma.cli import main as cli
from groma.model.groma import GromaForConditionalGeneration
from groma.tokens import IMAGE, REFER_BOX, REFER_FEATURE, REGION
from groma.types import GromaError
from tests import cpu_kernel, talk
from tests.groma.model.tiny import tiny_pixels

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
TAUGHT_PARTS = ("weight", "bias", "directions")


@torch.no_grad()
def logits(model: GromaForConditionalGeneration) -> Tensor:
    names = (IMAGE, REGION, REFER_BOX, REFER_FEATURE)
    image, region, box, feature = (model.tokens[name] for name in names)
    ids = torch.tensor([[1, 5, image, 6, region, box, feature, 20, 9]])
    boxes = [torch.tensor([[0.1, 0.2, 0.6, 0.7]])]
    weight = model.image_encoder.vit.embeddings.cls_token
    return model.eval()(ids, tiny_pixels(1).to(weight.dtype), boxes).logits.float()


def learn(
    model: GromaForConditionalGeneration, folder: Path, *whole: str, names: Sequence[str] = ()
) -> Tensor:
    """Write an adapter that learnt something, and return its logits."""
    base = Fingerprint.of(model, "tiny")
    adapted = add_lora(share(model), rank=4, alpha=8, whole=whole, names=names)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in adapted.parameters():
            if weight.requires_grad:
                weight += 0.05 * torch.randn(weight.shape, generator=generator)
        if names:  # they are seen everywhere
            model_with_names: Any = adapted.get_base_model()
            model_with_names.taught_names.bias[:] = 1
    write_adapter(adapted, folder, base, {"name": "spots"})
    return logits(adapted.get_base_model())


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    talk.groma().model.save_pretrained(folder)
    talk.toy.tokenizer("llama").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tensor]:
    folder = tmp_path_factory.mktemp("whole") / "spots"
    return folder, learn(talk.groma().model, folder, "projector", "region_encoder")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    learn(talk.groma().model, tmp_path / "spots")
    return tmp_path / "spots"


def test_an_adapted_model_answers_as_it_learnt_and_shares_the_rest(whole) -> None:
    folder, learnt = whole
    model = talk.groma().model
    before = logits(model)
    adapted = attach(model, folder)
    torch.testing.assert_close(logits(adapted), learnt)
    assert not torch.allclose(learnt, before, atol=0.1)
    assert torch.equal(logits(model), before)
    own = {weight.data_ptr() for weight in model.parameters()}
    added = [name for name, weight in adapted.named_parameters() if weight.data_ptr() not in own]
    assert all("lora_" in name or "modules_to_save" in name for name in added)


def test_two_adapters_of_one_base_do_not_mix(whole, plain) -> None:
    model = talk.groma().model
    first, second = attach(model, whole[0]), attach(model, plain)
    torch.testing.assert_close(logits(first), whole[1])
    assert not torch.allclose(logits(second), whole[1], atol=0.1)


def test_peft_reads_the_adapter_too(whole) -> None:
    folder, learnt = whole
    adapted = PeftModel.from_pretrained(share(talk.groma().model), str(folder))
    torch.testing.assert_close(logits(adapted.get_base_model()), learnt)


def test_it_says_what_it_is(whole) -> None:
    adapter = read_adapter(whole[0])
    assert (adapter.name, adapter.rank, adapter.alpha) == ("spots", 4, 8)
    assert adapter.whole == ("projector", "region_encoder")
    assert len(adapter.linears) == 7 * talk.groma().config.text_config.num_hidden_layers


def test_an_adapter_of_another_base_is_refused_with_the_reason(plain: Path) -> None:
    with pytest.raises(GromaError, match=r"another model.*tiny.*same sizes but other weights"):
        attach(talk.tiny_groma(seed=1).model, plain)
    with pytest.raises(GromaError, match="vocabulary is"):
        attach(talk.groma("byte-level").model, plain)
    changed = share(talk.groma().model)
    changed.config.compat = True
    with pytest.raises(GromaError, match="settings are others"):
        attach(changed, plain)


@pytest.mark.parametrize("how", [{"dtype": "bfloat16"}, {"dtype": "float16"}, {"dtype": "float32"}])
def test_the_base_is_known_again_however_it_is_rounded(base: Path, plain: Path, how: dict) -> None:
    model, _ = loading.load(base, device="cpu", **how)
    assert Fingerprint.of(model).difference(read_adapter(plain).base) is None


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_base_in_4_bit_takes_the_adapter_and_is_not_merged(
    base: Path, plain: Path, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu_kernel.allow(monkeypatch)
    model, _ = loading.load(base, "4bit", device="cpu", dtype=dtype)
    before = logits(model)
    adapted = attach(model, plain)
    assert not torch.allclose(logits(adapted), before, atol=0.1)
    assert torch.equal(logits(model), before)
    with pytest.raises(GromaError, match="quantised"):
        adapters.merge(model, plain)


def rewrite(folder: Path, change: Callable[[dict], object]) -> None:
    config = json.loads((folder / CONFIG).read_text())
    change(config)
    (folder / CONFIG).write_text(json.dumps(config))


def retensor(folder: Path, change: Callable[[dict], object]) -> None:
    described = {"groma": adapters.safe_open(folder / WEIGHTS, "pt").metadata()["groma"]}
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS, described)


def first(weights: dict) -> str:
    return sorted(weights)[0]


DAMAGES = {
    "no weights": lambda f: (f / WEIGHTS).unlink(),
    "only a pickle": lambda f: (f / WEIGHTS).rename(f / "adapter_model.bin"),
    "no configuration": lambda f: (f / CONFIG).unlink(),
    "half a file": lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:5000]),
    "no JSON": lambda f: (f / CONFIG).write_text("{"),
    "a list": lambda f: (f / CONFIG).write_text("[]"),
    "no rank": lambda f: rewrite(f, lambda c: c.pop("r")),
    "another rank": lambda f: rewrite(f, lambda c: c.update(r=8)),
    "no LoRA": lambda f: rewrite(f, lambda c: c.update(peft_type="VERA")),
    "DoRA": lambda f: rewrite(f, lambda c: c.update(use_dora=True)),
    "foreign base": lambda f: save_file(load_file(f / WEIGHTS), f / WEIGHTS),
    "a tensor too few": lambda f: retensor(f, lambda w: w.pop(first(w))),
    "a foreign part": lambda f: retensor(
        f, lambda w: w.update({"base_model.model.image_encoder.x": torch.zeros(1)})
    ),
    "names without weights": lambda f: retensor(
        f,
        lambda w: w.update(
            {f"base_model.model.taught_names.{part}": torch.zeros(2, 3) for part in TAUGHT_PARTS}
        ),
    ),
    "no number": lambda f: retensor(f, lambda w: w[first(w)].fill_(float("nan"))),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=list(DAMAGES))
def test_a_damaged_adapter_is_refused_in_words(plain: Path, damage: Callable) -> None:
    damage(plain)
    with pytest.raises(GromaError, match="adapter"):
        attach(talk.groma().model, plain)


def test_patterns_of_a_foreign_configuration_are_not_evaluated(plain: Path) -> None:
    expected = logits(attach(talk.groma().model, plain))
    rewrite(plain, lambda c: c.update(target_modules="(a+)+$", init_lora_weights="pissa"))
    assert torch.equal(logits(attach(talk.groma().model, plain)), expected)


def test_a_merged_folder_is_a_plain_model_that_answers_alike(
    base: Path, whole, tmp_path: Path
) -> None:
    folder, learnt = whole
    target = tmp_path / "deep" / "merged"
    convert(base, target, dtype="float32", adapter=folder)
    model, _ = loading.load(target, device="cpu", dtype="float32")
    torch.testing.assert_close(logits(model), learnt, atol=1e-3, rtol=1e-3)
    names = [name for name, _ in model.named_parameters()]
    assert names == [name for name, _ in talk.groma().model.named_parameters()]
    assert [path.name for path in target.parent.iterdir()] == ["merged"]
    assert list(model.config.merged_adapters) == [folder.name]
    with pytest.raises(GromaError, match="number of merged adapters is 0, but here it is 1"):
        attach(model, folder)
    with pytest.raises(GromaError, match="exists already"):
        convert(base, target, adapter=folder)


def test_taught_names_are_part_of_the_adapter_and_of_what_it_is_merged_into(
    base: Path, tmp_path: Path
) -> None:
    model = talk.groma().model
    before = logits(model)
    learnt = learn(model, tmp_path / "spots", names=("blicket", "dax"))
    adapter = read_adapter(tmp_path / "spots")
    assert (adapter.names, adapter.whole) == (("blicket", "dax"), ())
    adapted = attach(model, adapter)
    torch.testing.assert_close(logits(adapted), learnt)
    assert torch.equal(logits(model), before)
    assert model.taught_names is None and not model.config.taught_names
    convert(base, tmp_path / "merged", dtype="float32", adapter=tmp_path / "spots")
    merged, _ = loading.load(tmp_path / "merged", device="cpu", dtype="float32")
    assert merged.config.taught_names == ["blicket", "dax"]
    torch.testing.assert_close(logits(merged), learnt, atol=1e-3, rtol=1e-3)
    more = learn(merged, tmp_path / "more", names=("wug",))
    assert read_adapter(tmp_path / "more").names == ("blicket", "dax", "wug")
    torch.testing.assert_close(logits(attach(merged, tmp_path / "more")), more)


def test_the_command_line_takes_an_adapter(
    base: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    talk.picture().save(tmp_path / "picture.png")
    model = groma.load(base, device="cpu", dtype="float32", adapter=plain)
    reply = model.chat(talk.picture()).ask("What is this?", max_new_tokens=9)
    arguments = ["ask", str(tmp_path / "picture.png"), "What is this?", "--json"]
    arguments += ["--model", str(base), "--device", "cpu", "--dtype", "float32"]
    arguments += ["--max-new-tokens", "9", "--adapter", str(plain)]
    assert cli.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["text"] == reply.text


def test_a_chat_with_an_adapter_leaves_the_other_alone(plain: Path) -> None:
    model = talk.tiny_groma()
    ask = {"text": "What is this?", "max_new_tokens": 20}
    before = model.chat(talk.picture()).ask(**ask)
    chat = model.chat(talk.picture())
    adapted = model.with_adapter(plain).chat(talk.picture()).ask(**ask)
    assert chat.ask(**ask) == before != adapted
