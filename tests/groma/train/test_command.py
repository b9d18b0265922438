from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from groma.cli import main as cli
from groma.data.mixture import read_mixture
from groma.loop import run_log
from groma.loop.curves import read_log
from groma.train.configuration import find, read_configuration, shipped
from groma.train.stages import NEW_TOKENS, freeze_for, keep_old_words
from groma.train.trainer import _adamw_groups
from groma.types import GromaError
from tests.groma.train import tiny_language
from tests.groma.train.shipped import DETECTION
from tests.groma.train.tiny_stages import (
    SIZES,
    sources,
    write_pictures,
    write_stage,
)

GPUS = 8


@pytest.fixture(autouse=True)
def _without_plots(monkeypatch) -> None:
    monkeypatch.setattr(run_log, "plot", lambda *_: None)


def train(*arguments: object) -> int:
    return cli.main(["train", *map(str, arguments)])


def losses(folder: Path) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in read_log(folder) if "loss" in row}


@pytest.mark.parametrize("name", shipped())
def test_every_shipped_configuration_can_be_read(name: str) -> None:
    configuration = read_configuration(find(name))
    assert configuration.stage.name == name.split("/")[1]
    assert configuration.out.name == configuration.stage.name
    assert read_mixture(find(name)).sources


@pytest.mark.parametrize(
    ("stage", "trains", "epochs", "lr", "batch", "ratios"),
    [
        ("detection", {"region_proposer"}, 12, 2e-4, 64, {"sa1b": 0.18}),
        (
            "alignment",
            {"projector", "region_encoder", NEW_TOKENS},
            2,
            1e-4,
            128,
            {"visual-genome": 0.2, "grit": 0.1},
        ),
        (
            "instruction",
            {"projector", "region_encoder", "language_model"},
            1,
            1e-5,
            128,
            {"sharegpt4v": 0.23, "coco": 0.5},
        ),
    ],
)
def test_the_large_model_is_trained_as_in_the_paper(
    stage, trains, epochs, lr, batch, ratios
) -> None:
    path = find(f"groma-7b/{stage}")
    configuration = read_configuration(path, stage)
    found = configuration.stage
    assert set(found.trains) == trains
    assert (found.epochs, found.lr, found.schedule) == (epochs, lr, "cosine")
    assert found.batch_size * found.accumulation * GPUS == batch
    mixture = read_mixture(path)
    assert {s.name: s.ratio for s in mixture.sources if s.ratio != 1} == ratios


DATA = "[[sources]]\nname = 'coco'\n"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("lr = ", "learning = 1\nlr = ", r"\[stage\] has no setting learning"),
        ("warmup_steps", "warmup_step", "did you mean warmup_steps"),
        ("batch_size = 4", 'batch_size = "four"', "'four', which is no whole number"),
        ("steps = 4", "steps = 4\nepochs = 2", "either steps or epochs"),
        ("[[sources]]", "[scenes]", "has no setting scenes"),
        ('trains = ["image_encoder"]', 'trains = ["perceiver"]', "trains 'perceiver'"),
        ('trains = ["image_encoder"]', 'trains = ["new_tokens"]', "needs weight_decay = 0"),
        ("lr = 3e-3\n", "", "lacks lr"),
        ("lr = 3e-3", 'schedule = "square"\nlr = 3e-3', "'square', not one of 'flat', 'cosine'"),
        ("[stage]", "[stage", "not valid TOML"),
        ("[stage]", "deep = " + "[" * 9000 + "\n[stage]", "nested too deeply"),
        ('name = "detection"', 'name = "symbolic"', "of the stage symbolic, not of detection"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = write_stage(tmp_path, "detection", ["image_encoder"], SIZES, DATA)
    read_configuration(file, "detection")
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(GromaError, match=message):
        read_configuration(file, "detection")


def test_mistakes_end_in_one_sentence(tmp_path: Path, capsys) -> None:
    data = sources(write_pictures(tmp_path), "find")
    model = f'[model]\nfolder = "{tmp_path}/no"'
    file = write_stage(tmp_path, "alignment", ["projector"], model, data)
    assert train("alignment", "groma-7b/alignmnt") == 2
    assert "groma-7b/alignment" in capsys.readouterr().err
    assert train("alignment", file) == 2
    assert "run the stage before" in capsys.readouterr().err
    assert train("detection", "groma-7b/detection", "--data", tmp_path) == 2
    assert "There is no file or folder" in capsys.readouterr().err


def test_public_data_trains_the_stages_of_the_paper(tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path)
    data = sources(pictures, "detection")
    more = "epochs = 2\nweight_decay = 0.0\n"
    file = write_stage(tmp_path, "detection", ["region_proposer"], SIZES, data, more)
    assert train("detection", file) == 0
    assert sorted(losses(tmp_path / "detection")) == [1, 2, 3, 4]
    plain = tmp_path / "language"
    words = tiny_language.language_model()
    words.resize_token_embeddings(len(tiny_language.tokenizer()))
    words.save_pretrained(plain)
    tiny_language.tokenizer().save_pretrained(plain)
    model = f'[model]\nfolder = "{plain}"\nvisual = "{tmp_path / "detection" / "model"}"'
    file = write_stage(
        tmp_path,
        "alignment",
        ["projector", "region_encoder", NEW_TOKENS],
        model,
        sources(pictures, "find"),
        f"{more}[stage.loss_weights]\nlanguage = 1.0\n",
    )
    assert train("alignment", file) == 0
    aligned = load_file(tmp_path / "alignment" / "model" / "model.safetensors")
    seen = load_file(tmp_path / "detection" / "model" / "model.safetensors")
    old, new = words.state_dict(), len(tiny_language.tokenizer())
    for name, value in aligned.items():
        if name.startswith(("image_encoder", "region_proposer")):
            assert torch.equal(value, seen[name]), name
        elif name.startswith("language_model.") and "embed_tokens" not in name:
            assert torch.equal(value, old[name.removeprefix("language_model.")]), name
    embedding = aligned["language_model.model.embed_tokens.weight"]
    assert torch.equal(embedding[:new], old["model.embed_tokens.weight"])
    assert len(embedding) == new + 114


def test_only_new_words_get_a_gradient(tiny_model) -> None:
    stage = replace(DETECTION, trains=(NEW_TOKENS,), weight_decay=0.0)
    freeze_for(tiny_model, stage)
    tables = [tiny_model.get_input_embeddings(), tiny_model.get_output_embeddings()]
    assert {p for p in tiny_model.parameters() if p.requires_grad} == {t.weight for t in tables}
    for table in tables:
        table.weight.grad = torch.ones_like(table.weight)
    keep_old_words(tiny_model)
    for table in tables:
        assert (table.weight.grad[: tiny_model.tokens.base] == 0).all()
        assert (table.weight.grad[tiny_model.tokens.base :] == 1).all()


def test_rates_depend_on_the_name(tiny_model) -> None:
    stage = replace(DETECTION, muon_lr=None, lr=1.0, lr_factors={"sampling_offsets": 0.1})
    rates = {
        id(p): group["lr"] for group in _adamw_groups(tiny_model, stage) for p in group["params"]
    }
    named = dict(tiny_model.named_parameters())
    assert len(rates) == sum(p.requires_grad for p in named.values())
    for name, parameter in named.items():
        if id(parameter) in rates:
            assert rates[id(parameter)] == (0.1 if "sampling_offsets" in name else 1.0)
    assert any("sampling_offsets" in name for name in named)


def test_a_path_comes_before_a_shipped_name(tmp_path: Path, monkeypatch) -> None:
    assert find("groma-7b/detection").is_file()
    (tmp_path / "groma-7b").mkdir()
    (tmp_path / "groma-7b" / "detection").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert find("groma-7b/detection") == Path("groma-7b/detection")
