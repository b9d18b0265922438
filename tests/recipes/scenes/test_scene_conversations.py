import copy
from dataclasses import replace

import pytest
import torch

from groma.data.augment import redraw
from groma.dice import Dice
from groma.model.groma import GromaForConditionalGeneration
from groma.ops.boxes import pairwise_iou
from groma.tokens import GROUND_BOX, REFER_BOX
from groma.train.configuration import Run
from groma.train.stages import freeze_for
from groma.train.trainer import StageTrainer, build_optimizer, training_arguments
from groma.types import IGNORED
from recipes.scenes.objectives.region_regression import RegionRegression, Truth
from recipes.scenes.objectives.scene_conversations import (
    ConversationCollator,
    SceneConversations,
    SceneInstruction,
    count,
)
from recipes.scenes.objectives.symbolic_pretraining import SymbolicRegionEncoder
from recipes.scenes.pictures.generator import SceneGenerator
from tests.groma.train import tiny_language
from tests.groma.train.conftest import SIDE, losses_of_steps
from tests.groma.train.shipped import ALIGNMENT, INSTRUCTION
from tests.groma.train.test_trainer import QUIET, losses, stop_after


@pytest.fixture(scope="module")
def conversations() -> SceneConversations:
    scenes = SceneGenerator("train", 0, SIDE, style="noto")
    return SceneConversations(scenes, tiny_language.template(), 64, limit=500)


@pytest.fixture(scope="module")
def batch(conversations) -> dict:
    return ConversationCollator(tiny_language.tokens())([conversations[i] for i in range(8)])


@pytest.fixture
def make_model(small_config):
    def make() -> GromaForConditionalGeneration:
        torch.manual_seed(0)
        return GromaForConditionalGeneration(copy.deepcopy(small_config))

    return make


def regions() -> SymbolicRegionEncoder:
    encoder = SymbolicRegionEncoder(tiny_language.WIDTH)
    words = tiny_language.language_model().model.embed_tokens.weight
    encoder.speak(words, tiny_language.tokenizer())
    return encoder


def test_every_placeholder_has_its_box(conversations) -> None:
    tokens = tiny_language.tokens()
    for index in range(12):
        sample = conversations[index]
        assert (sample["ids"] == tokens[REFER_BOX]).sum() == len(sample["refer_boxes"])
        assert (sample["ids"] == tokens[GROUND_BOX]).sum() == len(sample["ground_boxes"])
        supervised = sample["labels"] != IGNORED
        assert torch.equal(sample["labels"][supervised], sample["ids"][supervised])
        assert (sample["labels"] != tokens[REFER_BOX]).all()


def test_a_drawn_box_is_a_little_off() -> None:
    boxes = torch.tensor([[0.1, 0.2, 0.5, 0.6], [0.0, 0.0, 1.0, 1.0]])
    drawn = redraw(boxes, Dice.of("train", 0, 0))
    assert not torch.equal(drawn, boxes)
    assert (pairwise_iou(drawn, boxes).diagonal() > 0.75).all()
    assert ((drawn >= 0) & (drawn <= 1)).all()


def test_a_fragment_is_named_with_less_certainty() -> None:
    names = torch.eye(169)[:2]
    truth = Truth(
        torch.tensor([[0.0, 0.0, 0.4, 0.4], [0.6, 0.6, 1.0, 1.0]]),
        names,
        torch.ones(2, 10),
        torch.ones(2, 3),
    )
    shown = truth.at(
        torch.tensor([[0.01, 0.0, 0.4, 0.4], [0.6, 0.6, 0.7, 1.0], [0.4, 0.4, 0.6, 0.6]])
    )
    assert torch.equal(shown.names[0], names[0])
    torch.testing.assert_close(shown.names[1], 0.5 * names[1])
    assert (shown.names[2] == 0).all()
    assert shown.colours[1, 0] == shown.sizes[1, 0] == shown.names[1].sum()


def test_regression_is_zero_at_the_symbolic_token(words) -> None:
    shown = Truth(
        torch.rand(4, 4), torch.eye(169)[:4], torch.eye(10)[[3, 1, 4, 1]], torch.eye(4, 3)
    )
    weights = {part: getattr(shown, part) for part in words.parts}
    wanted = words(shown.boxes, **weights)
    regression = RegionRegression(words)
    right = regression([wanted], [shown])
    assert float(right["region_token"]) == pytest.approx(0, abs=1e-10)
    wrong = regression([wanted.roll(1, dims=0)], [shown])
    assert all(wrong[term] > right[term] + 1 for term in right)


def test_what_a_symbolic_token_says_can_be_read(words) -> None:
    boxes, names, colours = torch.rand(169, 4), torch.eye(169), torch.eye(10).repeat(17, 1)[:169]
    tokens = words(boxes, names=names, colours=colours, sizes=torch.zeros(169, 3))
    found, coloured = RegionRegression(words).read(tokens, boxes)
    assert found.tolist() == list(range(169))
    assert torch.equal(coloured, colours.argmax(dim=1))


def test_what_is_not_certain_is_no_name(words) -> None:
    names = 0.9 * torch.eye(169)[:2]
    shown = Truth(torch.rand(2, 4), names, torch.zeros(2, 10), torch.zeros(2, 3))
    terms = RegionRegression(words)([torch.randn(2, 48)], [shown])
    assert terms["region_name"] == terms["region_colour"] == 0
    assert terms["region_token"] > 0


@pytest.mark.parametrize("stage", [ALIGNMENT, INSTRUCTION], ids=lambda stage: stage.name)
def test_steps_lower_the_loss_and_touch_only_what_the_stage_trains(
    make_model, batch, stage
) -> None:
    model = make_model()
    freeze_for(model, stage)
    objective = SceneInstruction(model, regions(), stage.loss_weights)
    optimizer = build_optimizer(objective, replace(stage, lr=3e-3))
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    totals = losses_of_steps(objective, optimizer, batch)
    assert totals[-1] < totals[0]
    after = dict(model.named_parameters())
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}
    assert changed == set(stage.trains)


def test_answers_are_counted_on_the_expanded_rows(make_model, batch) -> None:
    objective = SceneInstruction(make_model(), regions(), INSTRUCTION.loss_weights).eval()
    counts = count(objective, batch)
    supervised = (batch["labels"] != IGNORED).sum(dim=1)
    assert counts[:, 0].tolist() == supervised.tolist()


def test_a_resumed_run_equals_an_unbroken_one(make_model, conversations, tmp_path) -> None:
    stage = replace(INSTRUCTION, batch_size=2, steps=4, warmup_steps=1)

    def make(folder):
        model = make_model()
        freeze_for(model, stage)
        return StageTrainer(
            stage,
            count,
            model=SceneInstruction(model, regions(), stage.loss_weights),
            args=training_arguments(stage, folder, Run(), **(QUIET | {"eval_strategy": "no"})),
            train_dataset=conversations,
            data_collator=ConversationCollator(tiny_language.tokens()),
        )

    make(tmp_path / "whole").train()
    first = make(tmp_path / "broken")
    stop_after(first, 3)
    first.train()
    make(tmp_path / "broken").train(
        resume_from_checkpoint=str(tmp_path / "broken" / "checkpoint-2")
    )
    assert losses(tmp_path / "broken") == losses(tmp_path / "whole")
