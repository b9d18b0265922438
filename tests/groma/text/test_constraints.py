import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groma.text.grounding import GroundingGrammar
from groma.tokens import (
    GROUND_BOX,
    GROUNDING,
    IMAGE,
    NEW_TOKENS,
    PAD,
    PHRASE_CLOSE,
    PHRASE_OPEN,
    REFER_BOX,
    REFER_FEATURE,
    REGION,
    ROI_CLOSE,
    ROI_OPEN,
    SEP,
    TokenIds,
)

TOKENS = TokenIds(20)
EOS = 2
WORDS = set(range(20))
REGIONS = [0, 3, 7]
NAMES = {TOKENS.region(i) for i in REGIONS}
P, P_END, ROI, ROI_END = (TOKENS[t] for t in (PHRASE_OPEN, PHRASE_CLOSE, ROI_OPEN, ROI_CLOSE))


def allowed(*generated: int, limit: int | None = None, regions: list[int] = REGIONS) -> set[int]:
    grammar = GroundingGrammar(TOKENS, regions, EOS, limit)
    ids = torch.tensor([generated], dtype=torch.long)
    scores = grammar(ids, torch.zeros(1, 20 + len(NEW_TOKENS)))[0]
    return set((scores > -math.inf).nonzero().flatten().tolist())


@pytest.mark.parametrize(
    ("generated", "expected"),
    [
        ([], WORDS | {P, ROI}),
        ([5], WORDS | {P, ROI}),
        ([P], WORDS - {EOS} | {P_END}),
        ([5, P, 6], WORDS - {EOS} | {P_END}),
        ([P, 6, P_END], {ROI}),
        ([P, 6, P_END, ROI], NAMES),
        ([ROI], NAMES),
        ([ROI, TOKENS.region(3)], NAMES - {TOKENS.region(3)} | {ROI_END}),
        ([ROI, *sorted(NAMES)], {ROI_END}),
        ([ROI, TOKENS.region(3), ROI_END], WORDS | {P, ROI}),
        ([ROI, TOKENS.region(3), ROI_END, ROI], NAMES),
    ],
)
def test_what_may_follow(generated: list[int], expected: set[int]) -> None:
    assert allowed(*generated) == expected


def test_placeholders_and_padding_are_never_written() -> None:
    never = {PAD, SEP, "<img>", "</img>", IMAGE, REGION, REFER_BOX, GROUND_BOX, REFER_FEATURE}
    for generated in ([], [P], [P, P_END], [ROI], [ROI, TOKENS.region(0)]):
        assert not {TOKENS[t] for t in (*never, GROUNDING)} & allowed(*generated)


@pytest.mark.parametrize(
    ("generated", "limit", "expected"),
    [
        ([], 5, WORDS | {P, ROI}),
        ([], 4, WORDS | {ROI}),
        ([], 2, WORDS),
        ([P], 6, WORDS - {EOS} | {P_END}),
        ([P], 5, {P_END}),
        ([ROI, TOKENS.region(3)], 4, NAMES - {TOKENS.region(3)} | {ROI_END}),
        ([ROI, TOKENS.region(3)], 3, {ROI_END}),
    ],
)
def test_near_the_limit_tags_close(generated: list[int], limit: int, expected: set[int]) -> None:
    assert allowed(*generated, limit=limit) == expected


def test_without_regions_there_is_nothing_to_open() -> None:
    assert allowed(regions=[]) == WORDS


def test_rows_of_a_batch_are_apart_and_logits_stay() -> None:
    scores = torch.randn(2, 20 + len(NEW_TOKENS))
    before = scores.clone()
    result = GroundingGrammar(TOKENS, REGIONS, EOS)(torch.tensor([[5, P], [5, 6]]), scores)
    assert result[0, EOS] == -math.inf
    assert result[1, EOS] == scores[1, EOS]
    assert result[0, P_END] == scores[0, P_END]
    assert torch.equal(scores, before)


def parse(generated: list[int]) -> None:
    """Fails unless it reads (text | [<p>text</p>]<roi><rN>+</roi>)*."""
    rest = list(generated)
    while rest:
        token = rest.pop(0)
        if token == P:
            while (token := rest.pop(0)) != P_END:
                assert token in WORDS - {EOS}
            token = rest.pop(0)
            assert token == ROI
        if token == ROI:
            names = []
            while (token := rest.pop(0)) != ROI_END:
                names.append(token)
            assert names
            assert set(names) <= NAMES
            assert len(names) == len(set(names))
        else:
            assert token in WORDS


@given(
    seed=st.integers(0, 2**32),
    limit=st.integers(1, 40),
    bias=st.floats(0, 20),
    in_order=st.booleans(),
)
def test_random_logits_always_parse_and_close(
    seed: int, limit: int, bias: float, in_order: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    grammar = GroundingGrammar(TOKENS, REGIONS, EOS, limit, in_order)
    generated: list[int] = []
    while len(generated) < limit:
        scores = torch.randn(1, 20 + len(NEW_TOKENS), generator=generator)
        scores[:, 20:] += bias
        token = int(grammar(torch.tensor([generated], dtype=torch.long), scores).argmax())
        if token == EOS:
            break
        generated.append(token)
    parse(generated)
    if in_order:
        named = [token for token in generated if token in NAMES]
        assert len(named) == len(set(named)), "something is pointed at twice"


def test_in_order_what_was_named_is_not_named_again() -> None:
    first, second, *rest = (TOKENS.region(i) for i in REGIONS)
    grammar = GroundingGrammar(TOKENS, REGIONS, EOS, None, in_order=True)
    assert set(grammar.allowed([ROI]).tags) == NAMES
    assert set(grammar.allowed([ROI, second]).tags) == {*rest, ROI_END}, "only later ones"
    assert set(grammar.allowed([ROI, second, ROI_END, ROI]).tags) == {first, *rest}
    every = [token for name in (first, second, *rest) for token in (ROI, name, ROI_END)]
    assert not grammar.allowed(every).tags, "nothing is left to point at"
