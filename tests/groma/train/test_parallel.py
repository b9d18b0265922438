"""Two processes learn what one learns with the whole batch, from the same configurations."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate.commands import launch
from safetensors.torch import load_file

from groma.cli import main as cli
from groma.finetune.lora_objective import AdapterObjective
from groma.finetune.lora_run import train
from groma.finetune.planning import prepare
from groma.loop import run_log
from groma.loop.curves import read_log
from groma.train.objectives.grounded_conversations import GroundedConversations
from tests.groma.finetune import lora_case
from tests.groma.train import two_processes
from tests.groma.train.tiny_stages import (
    SIZES,
    sources,
    write_language_model,
    write_pictures,
    write_stage,
)
from tests.paths import ROOT

STAGES = ("detection", "instruction", "detection_divided", "instruction_divided")
"""The last ones with the weights divided among the processes."""
LOSSES = ("loss", "eval_loss")
PROCESSES = 2


@pytest.fixture(scope="module")
def learnt(tmp_path_factory) -> Path:
    """A folder with runs of one process and of two."""
    folder = tmp_path_factory.mktemp("parallel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_log, "plot", lambda *_: None)
        patch.setattr(GroundedConversations, "shuffle_regions", False)
        patch.setattr(AdapterObjective, "varies", False)
        files = learn_alone(folder)
        teach_alone(folder)
    start_two(["--multi_gpu", "--dynamo_backend=no"], "share", folder, *files[:2])
    start_two(["--config_file", str(write_sharding(folder))], "divide", folder, *files[2:])
    return folder


def start_two(settings: list[str], how: str, *arguments: Path) -> None:
    command = [
        *(sys.executable, "-m", launch.__name__, *settings, "--num_machines=1"),
        *(f"--num_processes={PROCESSES}", "--num_cpu_threads_per_process=1"),
        *("--main_process_port=0", "--mixed_precision=no"),
        *("-m", two_processes.__name__, how, *map(str, arguments)),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]


def write_sharding(folder: Path) -> Path:
    """The shipped configuration for FSDP, for two processes that compute in fp32."""
    text = (ROOT / "groma" / "train" / "configs" / "fsdp.yaml").read_text(encoding="utf-8")
    text = re.sub("(num_processes): .*", rf"\1: {PROCESSES}", text)
    text = re.sub("(mixed_precision): .*", r"\1: 'no'", text)
    (folder / "fsdp.yaml").write_text(text, encoding="utf-8")
    return folder / "fsdp.yaml"


def learn_alone(folder: Path) -> list[Path]:
    """Runs in this process; their configurations."""
    pictures, words = write_pictures(folder), write_language_model(folder / "language")
    find, boxes = (with_validation(sources(pictures, task)) for task in ("find", "detection"))
    model = f'[model]\nfolder = "{words}"\nvisual = "{folder / "detection" / "model"}"'
    trains = ["projector", "region_encoder", "language_model"]
    more = "epochs = 2\nclip = 0.5\n"
    conversing = f"{more}accumulation = 2\n[stage.loss_weights]\nlanguage = 1.0\n"
    files = []
    for name in STAGES:
        stage = name.removesuffix("_divided")
        if stage == "detection":
            file = write_stage(folder, name, ["region_proposer"], SIZES, boxes, more)
        else:
            file = write_stage(folder, name, trains, model, find, conversing)
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(f'name = "{name}"', f'name = "{stage}"'), encoding="utf-8")
        assert cli.main(["train", stage, str(file)]) == 0
        files.append(file)
    return files


def with_validation(data: str) -> str:
    """Sources that are what they are evaluated on as well."""
    _, _, source = data.partition("[[sources]]")
    return f"{data}[[validation]]{source}"


def teach_alone(folder: Path) -> None:
    """An adapter in this process, and all that two others need for the same one."""
    base, pictures = lora_case.save_base(folder / "base"), folder / "examples"
    pictures.mkdir()
    examples = lora_case.samples(pictures, 4)
    for name, batch_size in (("lora", PROCESSES), ("lora-shared", 1)):
        settings = lora_case.settings(
            base, batch_size=batch_size, dropout=0.0, variation=0.0, held_out=0.0
        )
        run, _ = prepare(folder / name, settings, examples)
        if name == "lora":
            assert train(run)


@pytest.mark.parametrize("stage", STAGES)
def test_losses_and_weights_are_those_of_one_process(learnt: Path, stage: str) -> None:
    alone, shared = (
        {(row["step"], kind): row[kind] for row in read_log(run) for kind in LOSSES if kind in row}
        for run in (learnt / stage, learnt / f"{stage}-shared")
    )
    steps = max(step for step, _ in alone)
    assert steps >= 2 and alone[steps, "loss"] < alone[1, "loss"]
    assert (steps, "eval_loss") in alone
    assert shared == pytest.approx(alone, rel=1e-4)
    wanted = load_file(learnt / stage / "model" / "model.safetensors")
    found = load_file(learnt / f"{stage}-shared" / "model" / "model.safetensors")
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=2e-4, msg=name)


def test_an_adapter_is_that_of_one_process(learnt: Path) -> None:
    alone, shared = (
        [row["loss"] for row in read_log(learnt / name) if "loss" in row]
        for name in ("lora", "lora-shared")
    )
    assert len(alone) == 3
    assert shared == pytest.approx(alone, rel=1e-4)
    wanted, found = (
        load_file(learnt / name / "adapter" / "adapter_model.safetensors")
        for name in ("lora", "lora-shared")
    )
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=2e-4, msg=name)
