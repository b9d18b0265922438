"""A tiny Groma that talks: random weights, a toy tokenizer, a picture."""

from functools import cache

import torch
from PIL import Image

from groma.chat.chat import Groma
from groma.shapes import Point
from groma.tokens import NEW_TOKENS
from groma.types import EncodedImage
from tests.groma.model.tiny import tiny_config, tiny_model
from tests.groma.text import toy

SIZE = (60, 80)
DOG = (10.0, 10.0, 40.0, 50.0)
CAT = (45.5, 5.25, 79.0, 30.0)


def tiny_groma(kind: str = "llama", longest: int = 1024, seed: int = 0, **changes) -> Groma:
    """A model with all weights drawn from `seed`; equal arguments give equal models."""
    tokenizer = toy.tokenizer(kind)
    text = tiny_config().text_config.to_dict() | {
        "vocab_size": len(tokenizer) + len(NEW_TOKENS),
        "max_position_embeddings": longest,
        "tie_word_embeddings": False,
    }
    model = tiny_model(seed, text_config=text, **changes)
    with torch.no_grad():
        # Logits far apart, and new tokens often: greedy answers are long, and full of regions.
        head = model.language_model.lm_head.weight
        head.mul_(20)
        head[len(tokenizer) :] *= 1.5
    return Groma(model, tokenizer)


@cache
def groma(kind: str = "llama") -> Groma:
    """One model that all tests may share: nothing changes it."""
    return tiny_groma(kind)


def picture(seed: int = 0) -> Image.Image:
    height, width = SIZE
    noise = torch.rand(height, width, 3, generator=torch.Generator().manual_seed(seed))
    return Image.fromarray((noise * 255).byte().numpy())


@cache
def encoded(kind: str = "llama") -> EncodedImage:
    return groma(kind).encode_image(picture())


def place() -> Point:
    """Somewhere on the surest proposal."""
    x1, y1, x2, y2 = encoded().proposals.boxes[0].clamp(0, 1).tolist()
    return Point(round((x1 + x2) / 2 * SIZE[1], 2), round((y1 + y2) / 2 * SIZE[0], 2))
