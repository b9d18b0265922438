from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from groma.chat.decoder import PrefixDecoder
from groma.chat.settings import GenerationSettings
from groma.text.grounding import GroundingGrammar
from groma.tokens import TokenIds

VOCABULARY = 130
FREE = GroundingGrammar(TokenIds(VOCABULARY - 114), [], eos=0)


def language_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config).eval()


MODEL = language_model()


def embed(ids: list[int], start: int) -> Tensor:
    return MODEL.get_input_embeddings()(torch.tensor(ids[start:]))


def read(decoder: PrefixDecoder, ids: list[int]) -> Tensor:
    return decoder.read(ids, lambda start: embed(ids, start))


def uncached(ids: list[int]) -> Tensor:
    with torch.no_grad():
        return MODEL(torch.tensor([ids])).logits[0, -1]


sequences = st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=8), min_size=1, max_size=5)


@given(sequences=sequences, more=st.lists(st.integers(1, 3), max_size=3))
def test_cached_logits_are_uncached_logits(sequences: list[list[int]], more: list[int]) -> None:
    decoder = PrefixDecoder(MODEL)
    for ids in sequences:
        torch.testing.assert_close(read(decoder, ids), uncached(ids), atol=1e-5, rtol=1e-5)
    for token in more:
        ids = [*ids, token]
        torch.testing.assert_close(decoder.extend(token), uncached(ids), atol=1e-5, rtol=1e-5)


def test_only_what_is_new_is_read() -> None:
    decoder, starts = PrefixDecoder(MODEL), []

    def spy(ids: list[int]) -> None:
        decoder.read(ids, lambda start: starts.append(start) or embed(ids, start))

    spy([1, 2, 3])
    decoder.extend(4)
    spy([1, 2, 3, 4, 5, 6])
    spy([1, 2, 9])
    spy([1, 2, 9])
    spy([7])
    assert starts == [0, 4, 2, 2, 0]


def test_a_failure_leaves_nothing_behind() -> None:
    decoder = PrefixDecoder(MODEL)
    read(decoder, [1, 2, 3])

    def fail(start: int) -> Tensor:
        raise MemoryError(start)

    with pytest.raises(MemoryError):
        decoder.read([1, 2, 4], fail)
    assert decoder.num_bytes == 0
    torch.testing.assert_close(read(decoder, [1, 2, 4]), uncached([1, 2, 4]))


def test_memory_is_counted_and_released() -> None:
    decoder = PrefixDecoder(MODEL)
    assert decoder.num_bytes == 0
    read(decoder, [1, 2, 3])
    assert decoder.num_bytes >= 2 * 2 * 3 * 2 * 8 * 4
    decoder.release()
    assert decoder.num_bytes == 0


def test_what_another_one_has_read_is_taken_over() -> None:
    decoder, other = PrefixDecoder(MODEL), PrefixDecoder(MODEL)
    read(other, [1, 2, 3, 4])
    decoder.take_over(other)
    starts: list[int] = []

    def embed(start: int) -> Tensor:
        starts.append(start)
        return MODEL.get_input_embeddings()(torch.tensor([1, 2, 3, 9, 5][start:]))

    torch.testing.assert_close(decoder.read([1, 2, 3, 9, 5], embed), uncached([1, 2, 3, 9, 5]))
    assert starts == [3]
    torch.testing.assert_close(other.extend(6), uncached([1, 2, 3, 4, 6]))


def test_tokens_are_added_in_place_beyond_the_room_that_was_taken() -> None:
    decoder, ids = PrefixDecoder(MODEL), [1, 2, 3]
    read(decoder, ids)
    sizes = set()
    for at in range(150):
        ids.append(5 + at % 7)
        logits = decoder.extend(ids[-1])
        sizes.add(decoder.num_bytes)
    torch.testing.assert_close(logits, uncached(ids))
    assert 1 < len(sizes) < 5


def generate(limit: int = 12, **settings) -> list[int]:
    decoder = PrefixDecoder(MODEL)
    logits = read(decoder, [5, 6, 7])
    steps = decoder.generate(logits, FREE, GenerationSettings(**settings), limit, eos=0)
    return [token for token, _ in steps]


def test_greedy_is_what_transformers_generates() -> None:
    model: Any = MODEL
    expected = model.generate(
        torch.tensor([[5, 6, 7]]),
        max_new_tokens=12,
        do_sample=False,
        eos_token_id=0,
        pad_token_id=0,
        suppress_tokens=list(range(16, VOCABULARY)),
    )
    assert generate() == expected[0, 3:].tolist()


def test_a_seed_repeats_an_answer() -> None:
    drawn = [generate(temperature=1.0, seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert generate(temperature=1.0) != generate(temperature=1.0)


def test_a_small_nucleus_is_greedy() -> None:
    assert generate(temperature=1.0, top_p=1e-6, seed=3) == generate()


def test_the_limit_and_the_end_stop() -> None:
    assert len(generate(limit=3)) == 3
    first = generate()[0]
    decoder = PrefixDecoder(MODEL)
    logits = read(decoder, [5, 6, 7])
    assert not list(decoder.generate(logits, FREE, GenerationSettings(), 12, eos=first))
