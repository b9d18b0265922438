"""Tokenizers small enough to train in a test, of every kind that the LLaMA family uses."""

import io
from functools import cache

import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from groma.text.template import GREETING, SYSTEM
from groma.tokens import NEW_TOKENS, TokenIds

KINDS = ("llama", "llama-legacy", "byte-level")

_CORPUS = (
    SYSTEM,
    GREETING,
    "USER: Here is an image with region crops from it. Image: . Regions: . ASSISTANT:",
    "There is a dog on the left of the cat. What is this? Where is the small red ball?",
    "</ s> </s is <s s> <un k> <p> </p> region [1] [2]",
)


def tokenizer(kind: str) -> PreTrainedTokenizerBase:
    """A tokenizer of 450 or so tokens, without Groma's."""
    if kind == "byte-level":
        return _byte_level()
    return LlamaTokenizer(*llama_vocabulary(), legacy=kind == "llama-legacy")


def with_new_tokens(kind: str) -> PreTrainedTokenizerBase:
    """The same as a checkpoint brings it: Groma's tokens added, which drop spaces beside them."""
    full = tokenizer(kind)
    full.add_tokens([AddedToken(t, lstrip=True, rstrip=True, normalized=False) for t in NEW_TOKENS])
    return full


def token_ids(kind: str) -> TokenIds:
    return TokenIds(len(tokenizer(kind)))


@cache
def sentencepiece_model() -> sentencepiece.SentencePieceProcessor:
    """What the tokenizers of kind "llama" must agree with."""
    file = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(_CORPUS * 10),
        model_writer=file,
        vocab_size=450,
        model_type="bpe",
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        pad_id=-1,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=file.getvalue())


@cache
def llama_vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """The vocabulary and merges of the sentencepiece model, as transformers derives them."""
    model = sentencepiece_model()
    vocabulary = {model.IdToPiece(i): i for i in range(len(model))}
    # LLaMA's own vocabulary holds the halves of "</s>", so that letters can grow into it.
    for part in ("</", "s>"):
        vocabulary.setdefault(part, len(vocabulary))
    halves = [(t[:i], t[i:]) for t in vocabulary for i in range(1, len(t))]
    merges = [half for half in halves if half[0] in vocabulary and half[1] in vocabulary]
    return vocabulary, sorted(merges, key=lambda half: vocabulary["".join(half)])


@cache
def _trained_byte_level() -> str:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=450,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_CORPUS, trainer)
    return backend.to_str()


def _byte_level() -> PreTrainedTokenizerBase:
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained_byte_level()),
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        unk_token="<|endoftext|>",
    )
