"""The language model the embedded Groma starts from, made out of SmolLM2.

A GGUF file becomes a plain folder: a vocabulary cut down so that the embedding stays small, and
Groma's new tokens at its end. Byte-level BPE keeps any text representable. By default only the
words are kept, for a small model that learns the rest (see `small_language_model`); SmolLM2 itself
takes ten times as long to train.
"""

import json
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import (
    AutoTokenizer,
    GgufConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)

from groma.data.sample import GroundedSample, plain_text
from groma.text.template import GREETING, SYSTEM, byte_letters
from groma.tokens import NEW_TOKENS
from recipes.scenes.language.conversations import converse, language_dice
from recipes.scenes.small_language_model import (
    BASE_VOCABULARY,
    small_language_model,
    small_text_config,
)
from recipes.scenes.symbols import SymbolicScenes

logger = logging.getLogger(__name__)

Merge = tuple[str, str]
_CONVERSATIONS = 4000


def write_language_model(
    gguf: Path,
    folder: Path,
    whole: bool = False,
    vocabulary: int = BASE_VOCABULARY,
    texts: Iterable[str] | None = None,
) -> None:
    """Make the folder that the first language stage starts from.

    Args:
        gguf: SmolLM2-135M-Instruct.
        folder: where model and tokenizer go.
        whole: keep SmolLM2's layers, all 135 M parameters, instead of its words alone.
        vocabulary: how many words are kept.
        texts: whose words are kept in any case; by default conversations about scenes.
    """
    model, tokenizer = read_gguf(gguf)
    talk = spoken(_CONVERSATIONS) if texts is None else texts
    small, kept = prune(tokenizer, vocabulary, [SYSTEM, GREETING, *talk])
    model = take_words(model, kept)
    model = add_new_tokens(model)
    if not whole:
        model = shrink(model)
    model.save_pretrained(folder)
    small.save_pretrained(folder)
    logger.info("%s knows %d tokens.", folder, model.config.vocab_size)


def shrink(model: LlamaForCausalLM) -> LlamaForCausalLM:
    """A small language model with the same words."""
    ids = {key: getattr(model.config, key) for key in ("bos_token_id", "eos_token_id")}
    config = LlamaConfig(**small_text_config(model.config.vocab_size), **ids)
    return small_language_model(config, model.model.embed_tokens.weight.data, len(NEW_TOKENS))


def read_gguf(file: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """The model in fp32, unpacked, and its tokenizer."""
    tokenizer: Any = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    model = LlamaForCausalLM.from_pretrained(
        file.parent,
        gguf_file=file.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.float32,
    )
    return model, tokenizer


def spoken(count: int) -> Iterable[str]:
    """Everything that is said in `count` conversations about scenes."""
    scenes = SymbolicScenes("train", 0)
    for index in range(count):
        yield from said_in(converse(scenes[index], language_dice("train", 0, index)))


def said_in(sample: GroundedSample) -> Iterable[str]:
    """Everything that is said in one conversation."""
    for turn in sample.turns:
        yield f" {plain_text(turn.question, sample.user_regions)}"
        yield plain_text(turn.answer)


def prune(
    tokenizer: PreTrainedTokenizerBase, size: int, texts: Iterable[str]
) -> tuple[PreTrainedTokenizerFast, list[int]]:
    """Cut a byte-level BPE vocabulary down.

    Kept are bos, eos and unk, all 256 bytes, the merges that spell `texts`, and then the most
    frequent merges. Merges keep their order, so a text that needs no other merge is spelt as
    before.

    Args:
        tokenizer: byte-level BPE in which every merge makes another token.
        size: V of the new vocabulary.
        texts: whose tokens are kept in any case.

    Returns:
        The smaller tokenizer, and for each of its tokens the old id, -1 where there was none.

    Raises:
        ValueError: if `size` is too small for what must be kept.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    old: dict[str, int] = state["model"]["vocab"]
    special = [
        str(token) for token in (tokenizer.unk_token, tokenizer.bos_token, tokenizer.eos_token)
    ]
    always = [*dict.fromkeys(special), *byte_letters()]
    merges = [_pair(merge) for merge in state["model"]["merges"]]
    kept = choose_merges(merges, size - len(always), _words(tokenizer, texts))
    vocabulary = [*always, *(left + right for left, right in kept)]
    state["model"]["vocab"] = {token: i for i, token in enumerate(vocabulary)}
    state["model"]["merges"] = [list(merge) for merge in kept]
    state["added_tokens"] = [
        token | {"id": vocabulary.index(token["content"])}
        for token in state["added_tokens"]
        if token["content"] in special
    ]
    unk, bos, eos = special
    smaller = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)),
        unk_token=unk,
        bos_token=bos,
        eos_token=eos,
        clean_up_tokenization_spaces=False,
    )
    return smaller, [old.get(token, -1) for token in vocabulary]


def choose_merges(merges: Sequence[Merge], count: int, words: set[str]) -> list[Merge]:
    """The merges that spell `words`, and the first others, as many as there is room for.

    Args:
        merges: most frequent first.
        count: how many to keep.
        words: tokens that must stay.

    Raises:
        ValueError: if the words alone need more.
    """
    made_of = {left + right: (left, right) for left, right in merges}
    needed: set[str] = set()
    pending = [word for word in words if word in made_of]
    while pending:
        token = pending.pop()
        if token not in needed:
            needed.add(token)
            pending += [part for part in made_of[token] if part in made_of]
    if len(needed) > count:
        raise ValueError(f"The texts need {len(needed)} merges, but there is room for {count}.")
    room = count - len(needed)
    others = [left + right for left, right in merges if left + right not in needed][:room]
    kept = needed.union(others)
    return [merge for merge in merges if merge[0] + merge[1] in kept]


def _words(tokenizer: PreTrainedTokenizerBase, texts: Iterable[str]) -> set[str]:
    encodings = tokenizer.backend_tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return {token for encoding in encodings for token in encoding.tokens}


def _pair(merge: Any) -> Merge:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left, right


def take_words(model: LlamaForCausalLM, kept: Sequence[int]) -> LlamaForCausalLM:
    """Keep some rows of the (tied) embedding, in this order; -1 makes the mean of all."""
    old = model.model.embed_tokens.weight.data
    rows = torch.tensor(kept)
    chosen = torch.where((rows >= 0)[:, None], old[rows.clamp(min=0)], old.mean(dim=0))
    return _with_embedding(model, chosen)


def add_new_tokens(model: LlamaForCausalLM, seed: int = 0) -> LlamaForCausalLM:
    """Append Groma's tokens to the embedding, each at random among the words (paper 3.2).

    Every name `<rN>` gets a direction of its own, which is what a pointer needs.
    """
    old = model.model.embed_tokens.weight.data
    noise = torch.randn(
        len(NEW_TOKENS), old.shape[1], generator=torch.Generator().manual_seed(seed)
    )
    return _with_embedding(model, torch.cat([old, old.mean(dim=0) + noise * old.std(dim=0)]))


def _with_embedding(model: LlamaForCausalLM, rows: Tensor) -> LlamaForCausalLM:
    """Give a model other words."""
    embedding = nn.Embedding(len(rows), rows.shape[1])
    embedding.weight.data.copy_(rows)
    model.set_input_embeddings(embedding)
    model.lm_head = nn.Linear(rows.shape[1], rows.shape[0], bias=False)
    model.config.vocab_size = len(rows)
    model.tie_weights()
    return model
