import pytest
import torch
from transformers import DynamicCache

from groma.model.batched_step import step_rows
from tests import talk
from tests.groma.text import toy

LENGTHS = (3, 1, 17, 8)


@pytest.mark.parametrize("kind", toy.KINDS)
@torch.inference_mode()
def test_rows_get_what_they_get_alone(kind: str) -> None:
    words = talk.groma(kind).model.language_model
    table = words.get_input_embeddings()
    dice = torch.Generator().manual_seed(3)
    sequences = [torch.randint(0, words.config.vocab_size, (1, n), generator=dice) for n in LENGTHS]
    together, alone = ([DynamicCache() for _ in LENGTHS] for _ in range(2))
    for cache, ids in zip((*together, *alone), sequences * 2, strict=True):
        words(input_ids=ids, past_key_values=cache)
    tokens = torch.randint(0, words.config.vocab_size, (len(LENGTHS),), generator=dice)
    for _ in range(5):
        given = step_rows(words, table(tokens), together)
        expected = [
            words(input_ids=token[None, None], past_key_values=cache).logits[0, -1]
            for token, cache in zip(tokens, alone, strict=True)
        ]
        torch.testing.assert_close(given, torch.stack(expected), atol=1e-4, rtol=1e-4)
        tokens = given.argmax(dim=1)
    assert [cache.get_seq_length() for cache in together] == [n + 5 for n in LENGTHS]


@torch.inference_mode()
def test_a_row_does_not_see_the_others() -> None:
    words = talk.groma().model.language_model
    rows = words.get_input_embeddings()(torch.tensor([5, 6]))

    def read(first: int) -> torch.Tensor:
        caches = [DynamicCache() for _ in range(2)]
        for cache, token in zip(caches, (first, 9), strict=True):
            words(input_ids=torch.tensor([[token]]), past_key_values=cache)
        return step_rows(words, rows, caches)

    one, other = read(7), read(8)
    assert not torch.allclose(one[0], other[0])
    torch.testing.assert_close(one[1], other[1])
