"""Public data that is not learnt from is measured while a stage trains."""

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader
from transformers import EvalPrediction

from groma.cli import main as cli
from groma.data.batches import ExampleCollator, collate_detection
from groma.data.mixture import read_mixture
from groma.loop import run_log
from groma.loop.curves import PLOT_NAME, read_log
from groma.text.template import Template
from groma.train import held_out, starting
from groma.train.configuration import Start, read_configuration
from groma.train.objectives.class_agnostic_detection import ClassAgnosticDetection
from groma.train.objectives.grounded_conversations import GroundedConversations
from tests.groma.train.conftest import SIDE
from tests.groma.train.tiny_stages import (
    SIZES,
    sources,
    write_language_model,
    write_pictures,
    write_stage,
)

EVALUATED = 4
EXPECTED = {
    "detection": {"eval_loss", "eval_recall50", "eval_recall75"},
    "alignment": {"eval_loss", "eval_tokens", "eval_pointers"},
}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Configurations of two stages that were trained, the plots being drawn."""
    folder = tmp_path_factory.mktemp("held-out")
    pictures, words = write_pictures(folder), write_language_model(folder / "language")
    starts = {
        "detection": (["region_proposer"], SIZES, ""),
        "alignment": (
            ["projector", "region_encoder"],
            f'[model]\nfolder = "{words}"\nvisual = "{folder}/detection/model"',
            "[stage.loss_weights]\nlanguage = 1.0\n",
        ),
    }
    files = {}
    for stage, (trains, model, weights) in starts.items():
        data = sources(pictures, "detection" if stage == "detection" else "find")
        _, _, unseen = data.partition("[[sources]]")
        data += "[[validation]]" + unseen
        file = write_stage(folder, stage, trains, model, data, f"steps = 2\n{weights}")
        text = file.read_text().replace(
            "eval_steps = 4", f"eval_steps = 1\nevaluated = {EVALUATED}"
        )
        file.write_text(text)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(run_log, "_PLOT_SECONDS", 1e9)  # drawn at the end alone
            assert cli.main(["train", stage, str(file)]) == 0
        files[stage] = file
    return files


@pytest.mark.parametrize("stage", EXPECTED)
def test_every_evaluation_is_logged_and_plotted(learnt: dict[str, Path], stage: str) -> None:
    out = read_configuration(learnt[stage]).out
    rows = [row for row in read_log(out) if "eval_loss" in row]
    assert [row["step"] for row in rows] == [1, 2]
    for row in rows:
        assert EXPECTED[stage] <= row.keys()
        assert row["eval_loss"] > 0
        assert all(0 <= row[name] <= 1 for name in EXPECTED[stage] - {"eval_loss"})
    assert (out / PLOT_NAME).stat().st_size > 1000


def test_what_is_logged_of_proposals_is_the_loss_of_the_model(learnt: dict[str, Path]) -> None:
    path = learnt["detection"]
    configuration = read_configuration(path)
    model = starting.detector(Start(folder=str(configuration.out / "model")))
    objective = ClassAgnosticDetection(model).eval()
    validation = read_mixture(path).validation
    examples = held_out.first(validation.detection(SIDE, 4), EVALUATED, 4)
    assert len(examples) == EVALUATED
    losses, boxes, counts = [], [], []
    for batch in DataLoader(examples, 4, collate_fn=collate_detection):
        counts.append(held_out.count_boxes(objective, batch))
        boxes.append(sum(map(len, batch["boxes"])))
        losses.append(float(objective(**batch)["loss"].detach()))
    metrics = held_out.summarise_boxes(EvalPrediction(torch.cat(counts).numpy(), None))
    mean = sum(a * b for a, b in zip(losses, boxes, strict=True)) / sum(boxes)
    assert metrics["loss"] == pytest.approx(mean, rel=1e-5)
    logged = [row["eval_loss"] for row in read_log(configuration.out) if "eval_loss" in row][-1]
    assert logged == pytest.approx(mean, rel=1e-3)
    assert 0 <= metrics["recall75"] <= metrics["recall50"] <= 1


def test_what_is_logged_of_words_is_the_loss_of_the_model(learnt: dict[str, Path]) -> None:
    path = learnt["alignment"]
    configuration = read_configuration(path)
    model, tokenizer = starting.whole_model(Start(folder=str(configuration.out / "model")))
    objective = GroundedConversations(model, {"language": 1.0}).eval()
    objective.shuffle_regions = False
    validation = read_mixture(path).validation
    examples = validation.conversations(Template(tokenizer, model.tokens), SIDE, 4)
    batch = ExampleCollator(model.tokens)([examples[i] for i in range(4)])
    counts = held_out.count_words(objective, batch)
    metrics = held_out.summarise_words(EvalPrediction(counts.numpy(), None))
    with torch.no_grad():
        assert metrics["loss"] == pytest.approx(float(objective(**batch)["loss"]), rel=1e-5)
    named = sum(map(len, batch["ground_boxes"]))
    assert counts[:, 3].sum() == named > 0
    assert (counts[:, 2] <= counts[:, 1]).all() and (counts[:, 4] <= counts[:, 3]).all()


def test_whole_batches_are_evaluated() -> None:
    ten = list(range(10))
    lengths = [len(held_out.first(ten, count, 4)) for count in (3, 4, 7, 8, 9, 10, 99)]
    assert lengths == [3, 4, 4, 8, 8, 8, 8]


def test_an_answer_that_is_certain_and_right_costs_nothing() -> None:
    counts = torch.tensor([[0.0, 8.0, 8.0, 2.0, 2.0], [4.0, 8.0, 4.0, 0.0, 0.0]])
    metrics = held_out.summarise_words(EvalPrediction(counts.numpy(), None))
    assert metrics == {"loss": 0.25, "tokens": 0.75, "pointers": 1.0}
