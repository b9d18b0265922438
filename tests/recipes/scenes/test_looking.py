"""Where heads are taught to look, on conversations small enough to check by eye."""

import math

import pytest
import torch
from torch import Tensor

from groma.tokens import PAD, PHRASE_CLOSE, PHRASE_OPEN, REGION, ROI_CLOSE, ROI_OPEN, TokenIds
from recipes.scenes.objectives.looking import LESSONS, SINK, Looking, Talk, telling_tokens
from tests.groma.train import tiny_language

TOKENS = TokenIds(20)
BEGIN, ASK, DOG, CAT, WHERE, END = 1, 2, 3, 4, 5, 6
P, CLOSE, FEATURE = TOKENS[PHRASE_OPEN], TOKENS[PHRASE_CLOSE], TOKENS[REGION]
OPEN_ROI, CLOSE_ROI = TOKENS[ROI_OPEN], TOKENS[ROI_CLOSE]
R7, R3 = TOKENS.region(7), TOKENS.region(3)
TELLING = torch.zeros(134, dtype=torch.bool)
TELLING[[DOG, CAT]] = True

# Two regions; "where the dog?" - "<p> dog </p><roi> <r3> </roi>"; "a cat?" - "where" (a denial).
IDS = [BEGIN, R7, FEATURE, R3, FEATURE, WHERE, DOG, ASK]
IDS += [P, DOG, CLOSE, OPEN_ROI, R3, CLOSE_ROI, END]
IDS += [CAT, ASK, WHERE, END]
SAID = [*range(8, 15), 17, 18]


@pytest.fixture
def talk() -> Talk:
    ids = torch.tensor([IDS])
    labels = torch.full_like(ids, -100)
    labels[0, SAID] = ids[0, SAID]
    return Talk(ids, labels, TELLING, TOKENS)


def looks(pairs: dict[int, list[int]]) -> Tensor:
    """Attention of one head that looks from some places at others, elsewhere at itself."""
    attention = torch.eye(len(IDS))[None].clone()
    for start, ends in pairs.items():
        attention[0, start] = 0
        attention[0, start, ends] = 1 / len(ends)
    return attention


RIGHT = {
    "bind": {2: [1], 4: [3]},
    "echo": {12: [3, 4]},
    "heed": {7: [6], 16: [15]},
    "plan": {7: [3, 4], 16: [SINK]},
    "gather": {11: [9]},
    "phrase": {8: [3, 4]},
    "pointer": {11: [3, 4]},
}


@pytest.mark.parametrize("name", LESSONS)
def test_a_head_that_looks_there_has_no_loss(name: str, talk: Talk) -> None:
    loss = LESSONS[name].loss
    assert loss(looks(RIGHT[name]), talk).item() < 1e-5
    for start in RIGHT[name]:
        elsewhere = RIGHT[name] | {start: [5]}
        assert loss(looks(elsewhere), talk).item() > 5
    assert loss(looks({}), talk).item() > 10


def test_uniform_attention_costs_the_logarithm_of_the_choice(talk: Talk) -> None:
    uniform = torch.full((1, len(IDS), len(IDS)), 1 / len(IDS))
    loss = LESSONS["pointer"].loss(uniform, talk).item()
    assert math.isclose(loss, math.log(len(IDS) / 2), rel_tol=1e-4)


def test_an_answer_about_what_the_user_shows_looks_there() -> None:
    ids = torch.tensor([[BEGIN, R7, FEATURE, R3, FEATURE, WHERE, R7, ASK, DOG, END]])
    labels = torch.full_like(ids, -100)
    labels[0, 8:] = ids[0, 8:]
    talk = Talk(ids, labels, TELLING, TOKENS)
    there = torch.zeros(1, 10, 10)
    there[0, 7, 1:3] = 0.5
    assert LESSONS["plan"].loss(there, talk).item() < 1e-5
    assert LESSONS["plan"].loss(there.flip(2), talk).item() > 5


def test_padding_and_other_rows_change_nothing(talk: Talk) -> None:
    rows, length = 2, len(IDS) + 3
    ids = torch.full((rows, length), TOKENS[PAD])
    labels = torch.full((rows, length), -100)
    ids[:, : len(IDS)], labels[:, : len(IDS)] = talk.input_ids, talk.labels
    both = Talk(ids, labels, TELLING, TOKENS)
    torch.manual_seed(0)
    attention = torch.rand(rows, length, length).softmax(dim=-1)
    for lesson in LESSONS.values():
        alone = lesson.loss(attention[:1, : len(IDS), : len(IDS)], talk)
        twice = lesson.loss(attention[:1].repeat(2, 1, 1), both)
        torch.testing.assert_close(alone, twice)


def test_nothing_to_look_at_costs_nothing() -> None:
    ids = torch.tensor([[BEGIN, WHERE, ASK, END]])
    labels = torch.tensor([[-100, -100, -100, END]])
    attentions = [torch.rand(1, 4, 4, 4) for _ in range(6)]
    terms = Looking(TOKENS, TELLING)(attentions, ids, labels)
    assert set(terms) == {"looking", *LESSONS}
    assert all(term.item() == 0 for term in terms.values())


def test_telling_words_are_things_stuff_colours_and_sizes() -> None:
    tokenizer = tiny_language.tokenizer()
    telling = telling_tokens(tokenizer, len(tokenizer))
    for word, tells in (("dog", True), ("red", True), ("grass", True), ("small", True)):
        ids = tokenizer.encode(f" {word}", add_special_tokens=False)
        assert telling[ids].all() == tells
    assert not telling.all()
