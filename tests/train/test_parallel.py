"""Two processes learn what one learns with the whole batch, from the same configurations."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.commands import launch
from safetensors.torch import load_file

from groma import cli
from groma.data.examples import ExampleCollator
from groma.data.mixture import read_mixture
from groma.text.template import Template
from groma.train import run_log, starting
from groma.train.configuration import Start
from groma.train.instruction import GroundedConversations
from groma.train.run_log import read_log
from groma.train.stages import NEW_TOKENS, freeze_for, keep_old_words
from tests.train import tiny_language, two_processes
from tests.train.conftest import SIDE
from tests.train.shipped import ALIGNMENT
from tests.train.tiny_stages import (
    SIZES,
    sources,
    write_language_model,
    write_pictures,
    write_stage,
)

STAGES = ("detection", "instruction")
SHARDED = replace(ALIGNMENT, trains=("projector", "region_encoder", NEW_TOKENS))
ROOT = Path(__file__).parents[2]
PROCESSES = 2


@pytest.fixture(scope="module")
def learnt(tmp_path_factory) -> Path:
    """A folder with runs of one process and of two."""
    folder = tmp_path_factory.mktemp("parallel")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_log, "plot", lambda *_: None)
        patch.setattr(GroundedConversations, "shuffle_regions", False)
        files = learn_alone(folder)
    command = [
        *(sys.executable, "-m", launch.__name__, "--multi_gpu", "--num_machines=1"),
        *(
            f"--num_processes={PROCESSES}",
            "--num_cpu_threads_per_process=1",
            "--main_process_port=0",
        ),
        *("--mixed_precision=no", "--dynamo_backend=no", "-m", two_processes.__name__),
        *map(str, (folder, *files)),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


def learn_alone(folder: Path) -> list[Path]:
    """Two stages in this process, and one step of what is to be sharded; the configurations."""
    pictures, words = write_pictures(folder), write_language_model(folder / "language")
    detection = write_stage(
        folder,
        "detection",
        ["region_proposer"],
        SIZES,
        sources(pictures, "detection"),
        "epochs = 2\nclip = 0.5\n",
    )
    assert cli.main(["train", "detection", str(detection)]) == 0
    visual = folder / "detection" / "model"
    instruction = write_stage(
        folder,
        "instruction",
        ["projector", "region_encoder", "language_model"],
        f'[model]\nfolder = "{words}"\nvisual = "{visual}"',
        sources(pictures, "find"),
        "epochs = 2\nclip = 0.5\naccumulation = 2\n[stage.loss_weights]\nlanguage = 1.0\n",
    )
    assert cli.main(["train", "instruction", str(instruction)]) == 0
    template = Template(tiny_language.tokenizer(), tiny_language.tokens())
    examples = read_mixture(instruction).conversations(template, SIDE, 4)
    batch = ExampleCollator(template.tokens)([examples[i] for i in range(4)])
    model = str(folder / "instruction" / "model")
    torch.save({"model": model, "batch": batch, "stage": SHARDED}, folder / "sharded.pt")
    return [detection, instruction]


@pytest.mark.parametrize("stage", STAGES)
def test_losses_and_weights_are_those_of_one_process(learnt: Path, stage: str) -> None:
    alone, shared = (
        [row["loss"] for row in read_log(learnt / name) if "loss" in row]
        for name in (stage, f"{stage}-shared")
    )
    assert len(alone) >= 2
    assert alone[-1] < alone[0]
    assert shared == pytest.approx(alone, rel=1e-4)
    wanted = load_file(learnt / stage / "model" / "model.safetensors")
    found = load_file(learnt / f"{stage}-shared" / "model" / "model.safetensors")
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        torch.testing.assert_close(found[name], value, rtol=1e-3, atol=2e-4, msg=name)


def test_a_step_with_divided_weights_is_that_of_one_process(learnt: Path) -> None:
    saved = torch.load(learnt / "sharded.pt", weights_only=False)
    model, _ = starting.whole_model(Start(folder=saved["model"]))
    freeze_for(model, saved["stage"])
    objective = GroundedConversations(model, None, {"language": 1.0})
    objective.shuffle_regions = False
    loss = objective(**saved["batch"])["loss"]
    loss.backward()
    keep_old_words(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.optim.SGD([p for p in objective.parameters() if p.requires_grad], lr=0.1).step()
    found = torch.load(learnt / "learnt.pt")
    assert float(found["loss"]) == pytest.approx(float(loss.detach()), rel=1e-5)
    changed = {name for name, value in model.state_dict().items() if not value.equal(before[name])}
    assert {name.split(".")[0] for name in changed} == {
        "projector",
        "region_encoder",
        "language_model",
    }
    for name, value in model.state_dict().items():
        torch.testing.assert_close(found["state"][name], value, rtol=1e-4, atol=1e-5, msg=name)
