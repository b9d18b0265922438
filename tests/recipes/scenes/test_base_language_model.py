import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from groma.checkpoint.load import load_tokenizer
from groma.text.template import PlainText
from groma.tokens import NEW_TOKENS
from recipes.scenes.base_language_model import add_new_tokens, choose_merges, prune, take_words
from tests.groma.text import toy

KEPT_TEXT = " There is a dog on the left of the cat."
SIZE = 330


@pytest.fixture(scope="module")
def pruned():
    full = toy.tokenizer("byte-level")
    return full, *prune(full, SIZE, [KEPT_TEXT])


@pytest.fixture(scope="module")
def plain(pruned) -> PlainText:
    return PlainText(pruned[1], SIZE)


def test_the_vocabulary_has_the_size_asked_for(pruned) -> None:
    _, small, kept = pruned
    assert len(small) == len(kept) == SIZE
    assert len({row for row in kept if row >= 0}) == sum(row >= 0 for row in kept)


def test_special_tokens_stay(pruned) -> None:
    full, small, kept = pruned
    for name in ("bos_token", "eos_token", "unk_token"):
        assert getattr(small, name) == getattr(full, name)
        assert kept[getattr(small, f"{name}_id")] == getattr(full, f"{name}_id")


@given(st.text())
def test_any_text_is_spelt_and_read_back(plain, text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    assert b"".join(map(plain.to_bytes, plain.encode(text))) == text.encode()


def test_words_that_need_no_lost_merge_keep_their_tokens(pruned) -> None:
    full, small, kept = pruned
    assert len(full) > SIZE
    old = full.encode(KEPT_TEXT, add_special_tokens=False)
    new = small.encode(KEPT_TEXT, add_special_tokens=False)
    assert [kept[i] for i in new] == old


def test_a_saved_tokenizer_is_the_same(pruned, tmp_path) -> None:
    small = pruned[1]
    small.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path)
    text = KEPT_TEXT + " Schrödinger's 猫 🐈 [1]\n\x04"
    assert again.encode(text) == small.encode(text)


def test_merges_are_kept_with_all_they_are_made_of() -> None:
    merges = [("a", "b"), ("c", "d"), ("ab", "cd"), ("e", "f"), ("abcd", "ef")]
    assert choose_merges(merges, 3, {"abcd"}) == merges[:3]
    assert choose_merges(merges, 2, {"ef"}) == [("a", "b"), ("e", "f")]
    with pytest.raises(ValueError, match="need 3 merges"):
        choose_merges(merges, 2, {"abcd"})


def test_embeddings_follow_their_words_and_new_tokens_come_last() -> None:
    config = LlamaConfig(
        vocab_size=30,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config)
    old = model.model.embed_tokens.weight.detach().clone()
    wanted = model(torch.tensor([[4, 9, 2]])).logits[..., [2, 4, 9]]
    model = take_words(model, [2, 4, 9, -1])
    torch.testing.assert_close(model(torch.tensor([[1, 2, 0]])).logits[..., :3], wanted)
    torch.testing.assert_close(model.model.embed_tokens.weight[3], old.mean(dim=0))
    model = add_new_tokens(model)
    rows = model.get_input_embeddings().weight
    assert model.lm_head.weight is rows
    assert len(rows) == model.config.vocab_size == 4 + len(NEW_TOKENS)
    assert len(rows[4:].unique(dim=0)) == len(NEW_TOKENS)
