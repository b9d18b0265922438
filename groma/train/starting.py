"""The models that stages start from, put together from what earlier stages left."""

import copy
from pathlib import Path
from typing import Any

import torch
from transformers import Dinov2Config, Dinov2Model, LlamaForCausalLM, PreTrainedTokenizerBase

from groma import machine
from groma.checkpoint.load import load_tokenizer
from groma.config import GromaConfig
from groma.model.groma import GromaForConditionalGeneration
from groma.tokens import NEW_TOKENS
from groma.train.checkpoints import load_visual_parts
from groma.train.configuration import Start
from groma.types import GromaError


def detector(start: Start) -> GromaForConditionalGeneration:
    """A new model of which detection pretraining trains the visual parts.

    Its language model has the right width and no layer.

    Args:
        start: with sizes, or the folder of a model to go on from; a pretrained image
            encoder, if it names one.

    Raises:
        GromaError: if there are no sizes, they make no sense, or the folder holds no model.
    """
    if start.folder is not None:
        return _read_model(start.folder)
    config = sizes(start)
    config.text_config.num_hidden_layers = 0
    if start.image_encoder is not None:
        config.vision_config = _read_pretrained(Dinov2Config, start.image_encoder)
    config.vision_config._attn_implementation = machine.image_attention()
    model = GromaForConditionalGeneration(config)
    if start.image_encoder is not None:
        model.image_encoder.vit = _read_pretrained(
            Dinov2Model, start.image_encoder, dtype=torch.float32
        )
    return model


def whole_model(start: Start) -> tuple[GromaForConditionalGeneration, PreTrainedTokenizerBase]:
    """A model with pictures and words, and its tokenizer.

    Args:
        start: the folder of a whole model; or that of a language model, and what detection
            pretraining has left.

    Raises:
        GromaError: if a folder is missing or the parts do not fit.
    """
    folder = folder_of(start)
    if start.visual is None:
        model = _read_model(folder)
        model.language_model.set_attn_implementation(machine.text_attention())
        return model, load_tokenizer(Path(folder))
    words, tokenizer = language_model(start)
    return compose(words, start), tokenizer


def compose(words: LlamaForCausalLM, start: Start) -> GromaForConditionalGeneration:
    """Put what detection pretraining has trained in front of a language model.

    The model is built around an empty language model, so that no weights lie in memory twice.
    """
    assert start.visual is not None
    trained = start.visual / "config.json"
    config = GromaConfig.from_pretrained(start.visual) if trained.is_file() else sizes(start)
    config.tie_word_embeddings = words.config.tie_word_embeddings
    config.text_config = copy.deepcopy(words.config)
    config.text_config.num_hidden_layers = 0
    model = GromaForConditionalGeneration(config)
    model.language_model = words
    model.config.text_config = words.config
    load_visual_parts(model, start.visual)
    return model


def language_model(start: Start) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """A language model that knows Groma's tokens, and its tokenizer.

    Raises:
        GromaError: if the folder is missing, or has words that are neither the tokenizer's nor
            Groma's.
    """
    folder = folder_of(start)
    tokenizer = load_tokenizer(Path(folder))
    model = _read_pretrained(
        LlamaForCausalLM, folder, dtype=torch.float32, attn_implementation=machine.text_attention()
    )
    count = model.config.vocab_size
    if count == len(tokenizer):
        model.resize_token_embeddings(count + len(NEW_TOKENS), mean_resizing=False)
    elif count != len(tokenizer) + len(NEW_TOKENS):
        raise GromaError(
            f"The language model in {folder} has {count} words, but its tokenizer {len(tokenizer)} "
            f"({len(tokenizer) + len(NEW_TOKENS)} with Groma's)."
        )
    return model, tokenizer


def sizes(start: Start) -> GromaConfig:
    """The configuration of a new model.

    Raises:
        GromaError: if they are missing or make no sense.
    """
    if not start.sizes:
        raise GromaError("[model] needs sizes, or the folder of a model.")
    try:
        return GromaConfig(**start.sizes)
    except (TypeError, ValueError) as error:
        raise GromaError(f"[model.sizes] makes no model: {error}") from error


def _read_model(folder: str) -> GromaForConditionalGeneration:
    """A whole model in fp32.

    Raises:
        GromaError: if there is none.
    """
    return _read_pretrained(GromaForConditionalGeneration, folder, dtype=torch.float32)


def _read_pretrained(kind: Any, folder: str, **options: Any) -> Any:
    """What transformers reads from a folder or the Hub.

    Raises:
        GromaError: if there is nothing of this kind.
    """
    try:
        return kind.from_pretrained(folder, **options)
    except (OSError, ValueError) as error:
        if isinstance(error, GromaError):
            raise
        raise GromaError(
            f"{folder} holds no {kind.__name__}; run the stage before, or name another folder."
        ) from error


def folder_of(start: Start) -> str:
    """Folder or Hub id of what to start from.

    Raises:
        GromaError: if there is none.
    """
    if start.folder is None:
        raise GromaError("[model] needs the folder of the model to start from.")
    return start.folder
