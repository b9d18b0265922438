"""A language model of a few thousand weights that reads conversations about scenes."""

from functools import cache

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from groma.text.template import Template
from groma.tokens import NEW_TOKENS, TokenIds
from tests.groma.text import toy

WIDTH = 48


def tokenizer() -> PreTrainedTokenizerBase:
    return toy.tokenizer("byte-level")


@cache
def tokens() -> TokenIds:
    return TokenIds(len(tokenizer()))


@cache
def template() -> Template:
    return Template(tokenizer(), tokens())


def text_config() -> dict:
    return {
        "vocab_size": len(tokenizer()) + len(NEW_TOKENS),
        "hidden_size": WIDTH,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
    }


def language_model(seed: int = 0, layers: int = 2) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    return LlamaForCausalLM(LlamaConfig(**text_config() | {"num_hidden_layers": layers}))
