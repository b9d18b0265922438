"""The symbolic region encoder beside a language model, which tells it what regions are."""

from dataclasses import replace
from pathlib import Path

from safetensors.torch import load_file
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from groma.train.configuration import Start
from groma.train.starting import folder_of, language_model
from groma.types import GromaError
from recipes.scenes.objectives.symbolic_pretraining import SymbolicRegionEncoder
from recipes.scenes.scene_configuration import SceneStart

REGIONS_NAME = "symbolic_regions.safetensors"
"""File of the symbolic region encoder, beside the weights of a model."""


def words_for_regions(start: SceneStart) -> SymbolicRegionEncoder:
    """The symbolic region encoder that speaks the words of the language model to come.

    Raises:
        GromaError: if there is no language model.
    """
    if start.words is None:
        raise GromaError(
            "[model] needs words, the folder that `python -m recipes.scenes language` has written."
        )
    words = replace(start, folder=str(start.words))
    return symbolic_regions(words, *language_model(words))


def symbolic_regions(
    start: Start, words: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> SymbolicRegionEncoder:
    """The symbolic region encoder of a folder, or a new one that starts from words."""
    regions = SymbolicRegionEncoder(words.config.hidden_size)
    file = Path(folder_of(start)) / REGIONS_NAME
    if file.is_file():
        regions.load_state_dict(load_file(file))
    else:
        regions.speak(words.model.embed_tokens.weight, tokenizer)
    return regions
