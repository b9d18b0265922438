"""The language model that photographs start from: groma-mini's, with the words for photographs.

It has learnt on illustrated scenes to point, count and compare; what it lacks is the names of
things. These come from SmolLM2's words, brought into the small model's space as its own were.
"""

from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from groma.checkpoint.load import load, load_tokenizer
from groma.text.template import GREETING, SYSTEM
from groma.tokens import NEW_TOKENS
from groma.types import GromaError
from recipes.photographs.photograph_language import region_code
from recipes.photographs.photograph_scenes import PhotographScenes
from recipes.photographs.photograph_talk import talk
from recipes.scenes.base_language_model import prune, read_gguf, said_in, spoken
from recipes.scenes.language.conversations import language_dice
from recipes.scenes.objectives.symbolic_pretraining import TURNS
from recipes.scenes.region_words import REGIONS_NAME
from recipes.scenes.small_language_model import BASE_VOCABULARY

_CONVERSATIONS = 6000
"""Conversations whose words the vocabulary keeps in any case."""
_OF_SCENES = 4000
"""As many groma-mini's vocabulary was made of."""


def make_words(gguf: Path, start: Path, out: Path) -> None:
    """Write a language model that knows the words, its tokenizer and its region code.

    Args:
        gguf: SmolLM2-135M-Instruct, whose words both models borrow.
        start: folder of groma-mini, or of a language model with its words.
        out: new or empty folder.

    Raises:
        GromaError: if `start` was made from other words.
    """
    model, old = read_language_model(start)
    big, tokenizer = read_gguf(gguf)
    preamble = [SYSTEM, GREETING]
    again, old_rows = prune(tokenizer, BASE_VOCABULARY, [*preamble, *spoken(_OF_SCENES)])
    if again.get_vocab() != old.get_vocab():
        raise GromaError(f"{start} has other words than {gguf} gives; make it anew.")
    new, new_rows = prune(tokenizer, BASE_VOCABULARY, [*preamble, *spoken_about_photographs()])
    words = big.model.embed_tokens.weight.data
    table = project(words, old_rows, new_rows, model.config.hidden_size)
    replace_words(model, table, old, new)
    model.save_pretrained(out)
    new.save_pretrained(out)
    save_file(region_code(table, new).state_dict(), out / REGIONS_NAME)


def read_language_model(folder: Path) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """The language model of a Groma, or one by itself, in fp32; and its tokenizer."""
    if (folder / REGIONS_NAME).is_file():
        words = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return words, load_tokenizer(folder)
    model, tokenizer = load(folder, device="cpu", dtype="float32")
    return model.language_model, tokenizer


def spoken_about_photographs() -> Iterable[str]:
    """Everything that is said in some conversations."""
    scenes = PhotographScenes("train", 0)
    for index in range(_CONVERSATIONS):
        dice = language_dice("train", 0, index)
        yield from said_in(talk(scenes[index], dice, (TURNS, TURNS)))


def project(words: Tensor, known: list[int], wanted: list[int], width: int) -> Tensor:
    """Bring words of a larger model into the space that a small one has taken from it.

    Args:
        words: (V, E) of the larger model.
        known: its rows that the small model was made of, -1 where there was none.
        wanted: the rows to bring.
        width: D of the small model.

    Returns:
        (W, D) of norm 1, as `small_language_model` begins with.
    """
    mean = words.mean(dim=0)
    basis, chosen = (
        torch.where((rows >= 0)[:, None], words[rows.clamp(min=0)], mean)
        for rows in (torch.tensor(known), torch.tensor(wanted))
    )
    centre = basis.mean(dim=0)
    directions = torch.linalg.svd(basis - centre, full_matrices=False).Vh[:width]
    return F.normalize((chosen - centre) @ directions.mT, dim=1)


def replace_words(
    model: LlamaForCausalLM,
    table: Tensor,
    old: PreTrainedTokenizerBase,
    new: PreTrainedTokenizerBase,
) -> None:
    """Give a model another vocabulary, in place: what it knows it keeps, the rest is as in `table`.

    Args:
        model: with Groma's new tokens at the end of its (tied) embedding.
        table: (W, D) untrained rows of the new vocabulary.
        old: its tokenizer.
        new: the tokenizer from now on.
    """
    rows = model.model.embed_tokens.weight.detach()
    before, after = old.get_vocab(), new.get_vocab()
    # What is said often has grown longer in training: a word must be as long to be said at all.
    often = rows[: -len(NEW_TOKENS)].norm(dim=1).median()
    words = table * often
    for word, row in after.items():
        if word in before:
            words[row] = rows[before[word]]
    embedding = nn.Embedding(len(words) + len(NEW_TOKENS), rows.shape[1])
    embedding.weight.data.copy_(torch.cat([words, rows[-len(NEW_TOKENS) :]]))
    model.set_input_embeddings(embedding)
    model.config.vocab_size = len(embedding.weight)
    model.lm_head = nn.Linear(rows.shape[1], len(embedding.weight), bias=False)
    model.tie_weights()
