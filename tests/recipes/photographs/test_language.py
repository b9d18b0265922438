"""Language pretraining of the photograph model, at the size of a toy."""

import torch

from groma.dice import Dice
from groma.tokens import REGION
from recipes.photographs.photograph_language import (
    KINDS,
    PARTS,
    PHOTOGRAPHED,
    count,
    draw_names,
    region_code,
)
from recipes.photographs.photograph_scenes import PhotographScenes
from recipes.scenes.objectives.symbolic_pretraining import (
    SymbolicCollator,
    SymbolicConversations,
    SymbolicPretraining,
)
from tests.groma.train import tiny_language


def conversations() -> SymbolicConversations:
    return SymbolicConversations(
        PHOTOGRAPHED, PhotographScenes("train", 0), tiny_language.template(), 10, 200
    )


def test_a_sample_lists_its_regions_and_names_them_in_answers():
    tokens = tiny_language.tokens()
    for index in range(6):
        sample = conversations()[index]
        listed = int((sample["ids"] == tokens[REGION]).sum())
        assert listed == len(sample["regions"]["boxes"])
        names = {part: sample["regions"][part].shape[1] for part in PARTS}
        assert names == PARTS
        said = sample["labels"] >= tokens.region(0)
        assert torch.equal(sample["ids"][said], sample["labels"][said])


def test_the_users_regions_get_the_last_names():
    names = draw_names(5, torch.tensor([3, 1, 3]), _without_gaps())
    assert names.tolist() == [0, 4, 1, 3, 2]


def _without_gaps() -> Dice:
    return next(
        dice
        for seed in range(50)
        if Dice.of("val", seed, 0).chance() > 0.5 and (dice := Dice.of("val", seed, 0))
    )


def test_a_step_lowers_the_loss():
    torch.manual_seed(0)
    model = tiny_language.language_model()
    code = region_code(model.model.embed_tokens.weight, tiny_language.tokenizer())
    pretraining = SymbolicPretraining(model, code, tiny_language.tokens()).train()
    collate = SymbolicCollator(tiny_language.tokens())
    batch = collate([conversations()[i] for i in range(2)])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        loss = pretraining(**batch)["loss"]
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert not any(parameter.requires_grad for parameter in code.parameters())
    counted = count(pretraining.eval(), batch)
    assert counted.shape[0] == 2
    assert len(KINDS) == len(set(KINDS))
