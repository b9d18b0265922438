"""The paper's three stages on files of every public format, as the command starts them, in bf16."""

import json
import math
from pathlib import Path

import pytest
import torch

from groma import machine
from groma.cli import main as cli
from groma.loop import run_log
from groma.loop.curves import read_log
from groma.train.objectives.class_agnostic_detection import ClassAgnosticDetection
from groma.train.objectives.grounded_conversations import GroundedConversations
from groma.train.stages import NEW_TOKENS
from tests.groma.train.tiny_stages import SIZES, write_language_model, write_stage

ONCE = "epochs = 1\nweight_decay = 0.0\n"
"""Every source has a batch, at least."""
WORDS = f"{ONCE}[stage.loss_weights]\nlanguage = 1.0\n"
OBJECTIVES = (ClassAgnosticDetection, GroundedConversations)


@pytest.fixture
def autocast(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each step computed in bf16, which this machine may be slow at."""
    seen: list[bool] = []
    monkeypatch.setattr(run_log, "plot", lambda *_: None)
    monkeypatch.setattr(machine, "trains_in_bf16", lambda: True)
    for objective in OBJECTIVES:
        forward = objective.forward

        def watched(self, _forward=forward, **batch):
            is_on = torch.is_autocast_enabled("cpu")
            seen.append(is_on and torch.get_autocast_dtype("cpu") is torch.bfloat16)
            return _forward(self, **batch)

        monkeypatch.setattr(objective, "forward", watched)
    return seen


def sources(public: Path, name: str) -> str:
    """All sources of a configuration, for one that lies elsewhere."""
    root = f"[mixture]\nroot = {json.dumps(str(public))}"
    return (public / f"{name}.toml").read_text().replace("[mixture]", root)


@pytest.mark.slow
def test_the_stages_of_the_paper_learn_from_every_format(
    public: Path, tmp_path: Path, autocast: list[bool]
) -> None:
    boxes, talks = sources(public, "detection"), sources(public, "conversations")
    words = write_language_model(tmp_path / "language")
    models = {name: tmp_path / name / "model" for name in ("detection", "alignment")}
    start = f'[model]\nfolder = "{words}"\nvisual = "{models["detection"]}"'
    onwards = f'[model]\nfolder = "{models["alignment"]}"'
    eyes = ["projector", "region_encoder"]
    stages = {
        "detection": (["region_proposer"], SIZES, boxes, ONCE),
        "alignment": ([*eyes, NEW_TOKENS], start, talks, WORDS),
        "instruction": ([*eyes, "language_model"], onwards, talks, WORDS),
    }
    for name, stage in stages.items():
        file = str(write_stage(tmp_path, name, *stage))
        assert cli.main(["train", name, file, "--save-steps", "100"]) == 0
        losses = [row["loss"] for row in read_log(tmp_path / name) if "loss" in row]
        assert len(losses) >= stage[2].count("[[sources]]")
        assert all(math.isfinite(loss) for loss in losses)
        assert len(autocast) >= len(losses)
        assert all(autocast)
        autocast.clear()
