"""The models that stages start from, put together from what earlier stages left."""

import copy
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import Dinov2Config, Dinov2Model, LlamaForCausalLM, PreTrainedTokenizerBase
from transformers.utils import SAFE_WEIGHTS_NAME

from groma import machine
from groma.checkpoint.load import load_tokenizer
from groma.config import GromaConfig
from groma.model.groma import GromaForConditionalGeneration
from groma.tokens import NEW_TOKENS
from groma.train.configuration import Start
from groma.types import GromaError

_VISUAL_PARTS = ("image_encoder", "region_proposer", "region_encoder")
_FULL = {"dtype": torch.float32}


def detector(start: Start) -> GromaForConditionalGeneration:
    """A new model of which detection pretraining trains the visual parts.

    Its language model has the right width and no layer. `start` has sizes, and perhaps names a
    pretrained image encoder; or it has the folder of a model to go on from. Raises `GromaError` if
    there are no sizes, they make no sense, or the folder holds no model.
    """
    if start.folder is not None:
        return _read_pretrained(GromaForConditionalGeneration, start.folder, **_FULL)
    config = _read_sizes(start)
    config.text_config.num_hidden_layers = 0
    if start.image_encoder is not None:
        config.vision_config = _read_pretrained(Dinov2Config, start.image_encoder)
    config.vision_config._attn_implementation = machine.image_attention()
    model = GromaForConditionalGeneration(config)
    if start.image_encoder is not None:
        model.image_encoder.vit = _read_pretrained(Dinov2Model, start.image_encoder, **_FULL)
    return model


def whole_model(start: Start) -> tuple[GromaForConditionalGeneration, PreTrainedTokenizerBase]:
    """A model with pictures and words, and its tokenizer.

    `start` has the folder of a whole model; or that of a language model, and what detection
    pretraining has left. Raises `GromaError` if a folder is missing or the parts do not fit.
    """
    folder = folder_of(start)
    if start.visual is None:
        model = _read_pretrained(GromaForConditionalGeneration, folder, **_FULL)
        model.language_model.set_attn_implementation(machine.text_attention())
        return model, load_tokenizer(Path(folder))
    words, tokenizer = language_model(start)
    return _compose(words, start, start.visual), tokenizer


def _compose(words: LlamaForCausalLM, start: Start, visual: Path) -> GromaForConditionalGeneration:
    """Put what detection pretraining has trained in front of a language model.

    The model is built around an empty language model, so that no weights lie in memory twice.
    """
    is_model = (visual / "config.json").is_file()
    config = GromaConfig.from_pretrained(visual) if is_model else _read_sizes(start)
    config.tie_word_embeddings = words.config.tie_word_embeddings
    config.text_config = copy.deepcopy(words.config)
    config.text_config.num_hidden_layers = 0
    model = GromaForConditionalGeneration(config)
    model.language_model = words
    model.config.text_config = words.config
    load_visual_parts(model, visual)
    return model


def language_model(start: Start) -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    """A language model that knows Groma's tokens, and its tokenizer.

    Raises `GromaError` if the folder is missing, or has words that are neither the tokenizer's nor
    Groma's.
    """
    folder = folder_of(start)
    tokenizer = load_tokenizer(Path(folder))
    attention = machine.text_attention()
    model = _read_pretrained(LlamaForCausalLM, folder, attn_implementation=attention, **_FULL)
    count = model.config.vocab_size
    if count == len(tokenizer):
        model.resize_token_embeddings(count + len(NEW_TOKENS), mean_resizing=False)
    elif count != len(tokenizer) + len(NEW_TOKENS):
        raise GromaError(
            f"The language model in {folder} has {count} words, but its tokenizer {len(tokenizer)} "
            f"({len(tokenizer) + len(NEW_TOKENS)} with Groma's)."
        )
    return model, tokenizer


def folder_of(start: Start) -> str:
    """Folder or Hub id of what to start from; raises `GromaError` if there is none."""
    if start.folder is None:
        raise GromaError("[model] needs the folder of the model to start from.")
    return start.folder


def load_visual_parts(model: GromaForConditionalGeneration, folder: Path) -> None:
    """Fill the parts that detection pretraining trains from a checkpoint of it, or what it left.

    The projection of regions to the width of the language model stays as it is where that width is
    another one than in detection pretraining. Raises `GromaError` if the folder has no weights, or
    they do not fit.
    """
    if not (folder / SAFE_WEIGHTS_NAME).is_file():
        raise GromaError(f"{folder} holds no {SAFE_WEIGHTS_NAME}.")
    weights = load_file(folder / SAFE_WEIGHTS_NAME)
    for name in _VISUAL_PARTS:
        prefix = f"{name}."
        part = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        if name == "region_encoder" and not _fits(part, model.region_encoder.projection):
            own = model.region_encoder.projection.state_dict()
            part |= {f"projection.{key}": value for key, value in own.items()}
        try:
            getattr(model, name).load_state_dict(part)
        except RuntimeError as error:
            raise GromaError(f"The {name} in {folder} does not fit: {error}") from error


def _fits(weights: dict[str, Tensor], projection: nn.Linear) -> bool:
    stored = weights.get("projection.weight")
    return stored is None or stored.shape == projection.weight.shape


def _read_sizes(start: Start) -> GromaConfig:
    """The sizes of a new model; raises `GromaError` if they are missing or make no sense."""
    if not start.sizes:
        raise GromaError("[model] needs sizes, or the folder of a model.")
    try:
        return GromaConfig(**start.sizes)
    except (TypeError, ValueError) as error:
        raise GromaError(f"[model.sizes] makes no model: {error}") from error


def _read_pretrained(kind: Any, folder: str, **options: Any) -> Any:
    """What transformers reads from a folder or the Hub; raises `GromaError` if it cannot."""
    try:
        return kind.from_pretrained(folder, **options)
    except (OSError, ValueError) as error:
        if isinstance(error, GromaError):
            raise
        raise GromaError(
            f"{folder} holds no {kind.__name__}; run the stage before, or name another folder."
        ) from error
