"""Put the photograph model together: a converted detector, the code, a trained language model."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import LlamaForCausalLM

from groma.checkpoint.load import load_tokenizer
from groma.config import ConvolutionalEncoderConfig, GromaConfig, RegionCodeConfig
from groma.model.groma import GromaForConditionalGeneration
from recipes.photographs.vocabulary import NOUN_INDEX, NOUNS, PHOTOGRAPHS, TABLE
from recipes.scenes.region_words import REGIONS_NAME

IMAGE_SIZE = 640
"""Pixels; the first look reduces the picture to 416."""
_SHARD = "9900KB"


def assemble(language: Path, detector: Path, classifier: Path, out: Path) -> None:
    """Write the whole model in 16 bit.

    Args:
        language: folder that the language stage has left.
        detector: file that `recipes.photographs.detector` has written.
        classifier: file that `recipes.photographs.classifier` has written.
        out: new or empty folder.
    """
    words = LlamaForCausalLM.from_pretrained(language, dtype=torch.float32)
    words.config.name_or_path = ""  # where it lay on the machine that trained it
    model = GromaForConditionalGeneration(configuration(words)).eval()
    model.language_model.load_state_dict(words.state_dict())
    model.image_encoder.detector.load_state_dict(load_file(detector))
    model.region_encoder.code.load_state_dict(load_file(language / REGIONS_NAME))
    naming = model.region_encoder.classifier
    naming.network.load_state_dict(load_file(classifier))
    naming.fold.copy_(fold())
    model.half().save_pretrained(out, max_shard_size=_SHARD)
    load_tokenizer(language).save_pretrained(out)


def configuration(words: LlamaForCausalLM) -> GromaConfig:
    """Sizes and settings of the photograph model."""
    return GromaConfig(
        vision_config=ConvolutionalEncoderConfig(),
        region_config=RegionCodeConfig(
            nouns=NOUNS,
            classifier=True,
            colourless=tuple(noun for noun in NOUNS if noun not in PHOTOGRAPHS.colourable),
        ),
        text_config=words.config.to_dict(),
        image_size=IMAGE_SIZE,
        nms_threshold=0.5,
        score_threshold=0.05,
        region_order="left_to_right",
        tie_word_embeddings=True,
    )


def fold() -> Tensor:
    """(1000,) for each of ImageNet's classes the noun that people say, or the number of nouns."""
    folded = torch.full((1000,), len(NOUNS))
    for noun, classes in TABLE["imagenet"].items():
        folded[classes] = NOUN_INDEX[noun]
    return folded
