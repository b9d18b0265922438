"""The small language model starts with its words, and inclined to point."""

import math

import torch
from transformers import LlamaConfig

from groma.tokens import PHRASE_CLOSE, PHRASE_OPEN, TokenIds
from groma.train.presets import small_text_config
from groma.train.small_language_model import (
    bind_loss,
    gather_loss,
    pointer_loss,
    small_language_model,
)

TOKENS = TokenIds(20)


def ids(*numbers: int) -> list[int]:
    return [TOKENS.region(number) for number in numbers]


def test_words_keep_their_likeness() -> None:
    torch.manual_seed(0)
    groups = torch.randn(12, 64).repeat_interleave(5, dim=0) + 0.1 * torch.randn(60, 64)
    words = torch.cat([groups, torch.zeros(100, 64)])
    config = small_text_config(160, layers=1) | {
        "hidden_size": 32,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
    }
    model = small_language_model(LlamaConfig(**config), words, new_words=100)
    rows = model.model.embed_tokens.weight.detach()
    likeness = rows[:60] @ rows[:60].mT
    same = torch.block_diag(*[torch.ones(5, 5)] * 12).bool()
    assert likeness[same].min() > 0.9 > likeness[~same].max()
    assert rows[60:].norm(dim=1).allclose(torch.ones(100))
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_a_head_that_looks_there_has_no_loss() -> None:
    input_ids = torch.tensor([[1, *ids(7), 2, *ids(3), 2, 5, 6]])
    labels = torch.tensor([[-100, -100, -100, -100, -100, -100, *ids(3)]])
    there = torch.zeros(1, 7, 7)
    there[0, 5, 3:5] = 0.5
    elsewhere = torch.zeros(1, 7, 7)
    elsewhere[0, 5, 1:3] = 0.5
    assert pointer_loss(there, input_ids, labels, TOKENS).item() < 1e-5
    assert pointer_loss(elsewhere, input_ids, labels, TOKENS).item() > 10
    uniform = torch.full((1, 7, 7), 1 / 7)
    assert math.isclose(
        pointer_loss(uniform, input_ids, labels, TOKENS).item(), math.log(3.5), rel_tol=1e-4
    )


def test_words_of_the_phrase_are_gathered() -> None:
    open_, close = TOKENS[PHRASE_OPEN], TOKENS[PHRASE_CLOSE]
    input_ids = torch.tensor([[*ids(3), 2, open_, 5, close, open_, 8, 9, close, 4]])
    labels = torch.full((1, 10), -100)
    labels[0, -1] = TOKENS.region(3)
    words = torch.zeros(1, 10, 10)
    words[0, 8, 6:8] = 0.5
    earlier = torch.zeros(1, 10, 10)
    earlier[0, 8, 3] = 1.0
    assert gather_loss(words, input_ids, labels, TOKENS).item() < 1e-5
    assert gather_loss(earlier, input_ids, labels, TOKENS).item() > 10


def test_a_regions_token_looks_at_its_name() -> None:
    input_ids = torch.tensor([[1, *ids(7), 2, *ids(3), 2, 5, *ids(7)]])
    bound = torch.zeros(1, 7, 7)
    bound[0, 2, 1] = bound[0, 4, 3] = 1.0
    assert bind_loss(bound, input_ids, TOKENS).item() < 1e-5
    bound[0, 4] = torch.tensor([0, 1.0, 0, 0, 0, 0, 0])
    assert bind_loss(bound, input_ids, TOKENS).item() > 5


def test_nothing_to_point_at_costs_nothing() -> None:
    input_ids = torch.tensor([[1, *ids(7), 2, 4]])
    labels = torch.full((1, 4), -100)
    assert pointer_loss(torch.rand(1, 4, 4), input_ids, labels, TOKENS).item() == 0
