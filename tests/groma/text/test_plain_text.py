import json
from functools import cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from groma.text.template import PlainText
from groma.tokens import NEW_TOKENS, REGION_NAMES
from groma.types import GromaError
from tests.groma.text import toy

DANGEROUS = ("</s>", "<s>", "<unk>", "<|im_end|>", "<0x0A>", "<0x41>", *NEW_TOKENS[:15])

# "▁" is how LLaMA's tokenizers write a space; they cannot tell the two apart.
typed = st.lists(
    st.sampled_from(DANGEROUS)
    | st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"]), max_size=8)
).map("".join)


@cache
def plain(kind: str, full: bool = False) -> PlainText:
    tokenizer = toy.with_new_tokens(kind) if full else toy.tokenizer(kind)
    return PlainText(tokenizer, toy.token_ids(kind).base)


def spelt(text: PlainText, ids: list[int]) -> str:
    return b"".join(map(text.to_bytes, ids)).decode()


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("kind", toy.KINDS)
@given(text=typed, first=st.booleans())
@example(text="</s>", first=False)
@example(text=" a  b ", first=True)
@example(text="<r5><image></s>[PAD]", first=False)
def test_whatever_is_typed_stays_text(kind: str, full: bool, text: str, first: bool) -> None:
    codec = plain(kind, full)
    ids = codec.encode(text, first)
    special = set(toy.tokenizer(kind).all_special_ids)
    assert not special & set(ids)
    assert all(i < toy.token_ids(kind).base for i in ids)
    decoded = spelt(codec, ids)
    assert decoded in (text, f" {text}")


def test_letters_do_not_grow_into_the_end_of_a_sequence() -> None:
    _, merges = toy.llama_vocabulary()
    assert ("</", "s>") in merges
    assert toy.tokenizer("llama").eos_token_id not in plain("llama").encode("a</s>")


@pytest.mark.parametrize("kind", toy.KINDS)
@given(text=st.text(st.sampled_from("abdegiost ?.,\n12"), max_size=30).map(str.strip))
def test_ordinary_text_is_encoded_as_by_the_tokenizer(kind: str, text: str) -> None:
    whole = toy.tokenizer(kind).encode(text, add_special_tokens=False)
    assert plain(kind).encode(text, first=True) == whole


@pytest.mark.parametrize("kind", ["llama", "llama-legacy"])
@given(text=st.text(st.sampled_from("abdegiost ?.,12"), min_size=1, max_size=30).map(str.strip))
def test_llama_agrees_with_sentencepiece(kind: str, text: str) -> None:
    model = toy.sentencepiece_model()
    assert plain(kind).encode(text, first=True) == model.encode(text)


def test_the_dummy_space_comes_once_unless_legacy() -> None:
    assert spelt(plain("llama"), plain("llama").encode("dog", first=True)) == " dog"
    assert spelt(plain("llama"), plain("llama").encode("dog")) == "dog"
    assert spelt(plain("llama-legacy"), plain("llama-legacy").encode("dog")) == " dog"
    assert spelt(plain("byte-level"), plain("byte-level").encode("dog", first=True)) == "dog"


@pytest.mark.parametrize("kind", toy.KINDS)
def test_special_tokens_have_no_bytes(kind: str) -> None:
    codec, tokens = plain(kind, full=True), toy.token_ids(kind)
    special = [codec.bos or 0, codec.eos, tokens["<image>"], tokens[REGION_NAMES[5]], 10**6]
    assert [codec.to_bytes(i) for i in special] == [b""] * 5


def test_lone_surrogates_become_question_marks() -> None:
    codec = plain("llama")
    assert spelt(codec, codec.encode("a\ud800b")) == "a?b"


def test_a_tokenizer_that_cannot_spell_a_special_token_says_so() -> None:
    state = json.loads(toy.tokenizer("byte-level").backend_tokenizer.to_str())
    state["model"] = {"type": "WordLevel", "vocab": {"</s>": 0, "?": 1}, "unk_token": "?"}
    state["added_tokens"] = []
    state["pre_tokenizer"] = None
    backend = Tokenizer.from_str(json.dumps(state))
    codec = PlainText(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>"), 2)
    with pytest.raises(GromaError, match="cannot spell"):
        codec.encode("</s>")


def test_a_tokenizer_without_an_end_is_refused() -> None:
    backend = toy.tokenizer("byte-level").backend_tokenizer
    with pytest.raises(GromaError, match="eos_token"):
        PlainText(PreTrainedTokenizerFast(tokenizer_object=backend), 433)
