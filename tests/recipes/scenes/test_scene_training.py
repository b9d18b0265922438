"""The stages on illustrated scenes, as the command starts them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from groma import machine
from groma.checkpoint import load as loading
from groma.loop import run_log
from groma.loop.curves import read_log
from groma.train.configuration import find, read_configuration, shipped
from groma.train.trainer import StageTrainer
from groma.types import GromaError
from recipes.scenes.__main__ import main
from recipes.scenes.region_words import REGIONS_NAME
from recipes.scenes.scene_configuration import FOLDER, SceneConfiguration
from tests.groma.train.tiny_stages import SCENES, SIZES, write_language_model, write_stage


@pytest.fixture(autouse=True)
def _without_plots(monkeypatch) -> None:
    monkeypatch.setattr(run_log, "plot", lambda *_: None)


def train(*arguments: object) -> int:
    return main(["train", *map(str, arguments)])


def losses(folder: Path) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in read_log(folder) if "loss" in row}


@pytest.mark.parametrize("name", shipped(FOLDER))
def test_every_shipped_configuration_can_be_read(name: str) -> None:
    configuration = read_configuration(find(name, FOLDER), kind=SceneConfiguration)
    assert configuration.stage.name == name.split("/")[1].split("-")[0]
    assert configuration.out.name == configuration.stage.name


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[scenes]\nevaluated = 2\n", "", "lacks scenes"),
        ("[scenes]", "[[sources]]\n[scenes]", "has no setting sources"),
        ("[scenes]", "[scenes]\neasi = 3", r"\[scenes\] has no setting easi; did you mean easy"),
        ("evaluated = 2", "evaluated = 2.5", "2.5, which is no whole number"),
        ("[scenes]", "[[validation]]\n[scenes]", "has no setting validation"),
        ("steps = 4", "epochs = 2", "scenes never end"),
        ("[model.sizes]", "[model]\nwords = 3\n[model.sizes]", "3, which is no text"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = write_stage(tmp_path, "detection", ["image_encoder"], SIZES)
    read_configuration(file, "detection", SceneConfiguration)
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(GromaError, match=message):
        read_configuration(file, "detection", SceneConfiguration)


def test_mistakes_end_in_one_sentence(tmp_path: Path, capsys) -> None:
    file = write_stage(tmp_path, "alignment", ["projector"], f'[model]\nfolder = "{tmp_path}/no"')
    assert train("alignment", "groma-mini/alignmnt") == 2
    assert "groma-mini/alignment" in capsys.readouterr().err
    assert train("alignment", file) == 2
    assert "run the stage before" in capsys.readouterr().err


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
def test_all_stages_on_scenes_make_a_model_that_loads(
    tmp_path: Path, capsys, monkeypatch, bf16: bool
) -> None:
    monkeypatch.setattr(machine, "trains_in_bf16", lambda: bf16)
    words = write_language_model(tmp_path / "language", layers=5)
    weights = "[stage.loss_weights]\ndetection = 1.0\nregion_name = 1.0\n"
    visual = ["image_encoder", "region_proposer", "region_encoder"]
    known = f'[model]\nwords = "{words}"\n{SIZES}'
    detection = write_stage(tmp_path, "detection", visual, known, more=f"muon_lr = 1e-3\n{weights}")
    assert train("detection", detection, "--steps", 2) == 0
    pointing = "[stage.loss_weights]\nlooking = 0.5\n"
    symbolic = write_stage(
        tmp_path, "symbolic", ["language_model"], f'[model]\nfolder = "{words}"', more=pointing
    )
    assert train("symbolic", symbolic, "--steps", 2) == 0
    assert "pointer" in read_log(tmp_path / "symbolic")[0]
    before = tmp_path / "symbolic" / "model"
    for name, trains in (
        ("alignment", ["projector", "region_encoder"]),
        ("reading", ["language_model"]),
        ("instruction", ["projector", "region_encoder", "language_model"]),
    ):
        model = f'[model]\nfolder = "{before}"\n'
        if name == "alignment":
            model += f'visual = "{tmp_path / "detection" / "model"}"\n'
        terms, data = "[stage.loss_weights]\nregion_token = 1.0\nlanguage = 1.0\n", SCENES
        if name == "reading":
            terms = "[stage.loss_weights]\nlanguage = 1.0\nlooking = 0.5\n"
            data = f"{SCENES}pictures = 5\n"
        file = write_stage(tmp_path, name, trains, model, data, terms)
        assert train(name, file, "--steps", 2, "--batch", 2) == 0
        assert sorted(losses(tmp_path / name)) == [1, 2]
        before = tmp_path / name / "model"
        assert (before / REGIONS_NAME).is_file()
    loading.load(before, device="cpu")
    changed = (before / "model.safetensors").stat().st_mtime_ns
    assert train("instruction", file, "--steps", 2, "--batch", 2) == 2
    assert "--resume" in capsys.readouterr().err
    assert train("instruction", file, "--steps", 2, "--batch", 2, "--resume") == 0
    assert (before / "model.safetensors").stat().st_mtime_ns == changed


def test_pictures_looked_at_once_need_frozen_eyes(tmp_path: Path, capsys) -> None:
    words = write_language_model(tmp_path / "language", layers=5)
    visual = ["image_encoder", "region_proposer", "region_encoder"]
    weights = "[stage.loss_weights]\ndetection = 1.0\n"
    known = f'[model]\nwords = "{words}"\n{SIZES}'
    detection = write_stage(tmp_path, "detection", visual, known, more=weights)
    assert train("detection", detection, "--steps", 1) == 0
    model = f'[model]\nfolder = "{words}"\nvisual = "{tmp_path / "detection" / "model"}"\n'
    file = write_stage(
        tmp_path, "reading", ["language_model", "projector"], model, f"{SCENES}pictures = 5\n"
    )
    assert train("reading", file) == 2
    assert "trains language_model alone" in capsys.readouterr().err


def test_a_killed_run_goes_on_as_if_nothing_had_been(tmp_path: Path, monkeypatch) -> None:
    words = write_language_model(tmp_path / "language")
    file = write_stage(tmp_path, "symbolic", ["language_model"], f'[model]\nfolder = "{words}"')
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert train("symbolic", file, "--out", whole) == 0
    step = StageTrainer.training_step

    def killed(trainer, *arguments, **options):
        if trainer.state.global_step == 3:
            raise KeyboardInterrupt
        return step(trainer, *arguments, **options)

    monkeypatch.setattr(StageTrainer, "training_step", killed)
    assert train("symbolic", file, "--out", broken, "--resume") == 130
    assert not (broken / "model").exists()
    monkeypatch.undo()
    assert train("symbolic", file, "--out", broken, "--resume") == 0
    assert losses(broken) == losses(whole)
    (broken / "model").rename(broken / "lost")
    assert train("symbolic", file, "--out", broken, "--resume") == 0
    for folder in ("model", "lost"):
        found = load_file(broken / folder / "model.safetensors")
        for name, value in load_file(whole / "model" / "model.safetensors").items():
            assert torch.equal(found[name], value), name
