"""A Groma whose proposals and answers are written down, for tests of the application.

Everything but the choice of words is real: names of regions, conversations, caches.
"""

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from weakref import ref

import torch
from PIL import Image, ImageDraw

from groma.chat.chat import Chat, Groma
from groma.text.grounding import GroundingGrammar
from groma.types import EncodedImage, Proposals
from tests import talk

SIZE = (640, 480)
"""Width and height of the picture."""

DOG = (96, 192, 288, 432)
BALL = (352, 336, 448, 432)
TREE = (448, 48, 608, 384)
THINGS = {"r0": DOG, "r1": BALL, "r2": TREE}

ANSWERS = {
    "Describe": "There is <p>a brown dog</p><roi><r0></roi> next to <p>a red ball</p><roi><r1>"
    "</roi>, and <p>a tree</p><roi><r2></roi> behind.",
    "How many": "There are <p>two things</p><roi><r0><r1></roi> on the ground.",
    "Where": "No, there is no such thing in the picture.",
    "What": "This is <p>the thing you mean</p><roi><r0></roi>.",
    "long": "word " * 400,
    "markup": "<img src=x onerror=alert(1)> **bold** & <p><b>dog</b></p><roi><r0></roi>",
}
_TAG = re.compile(r"(</?p>|</?roi>|<r\d+>)")


class ScriptedGroma(Groma):
    """Answers with the first of `ANSWERS` whose name occurs in the last question.

    Args:
        delay: seconds before every token.
        score_threshold: least objectness of a proposal.

    `encoded` holds every picture that was encoded, alive or not.
    """

    def __init__(self, delay: float = 0.0, score_threshold: float = 0.15) -> None:
        real = talk.tiny_groma(longest=4096, score_threshold=score_threshold)
        self.model, self.template = real.model, real.template
        self.delay = delay
        self.encoded: list[ref[EncodedImage]] = []

    def encode_image(self, image: object, **options: object) -> EncodedImage:
        if isinstance(image, EncodedImage):
            return image
        encoded = super().encode_image(image, **options)
        boxes = torch.tensor(list(THINGS.values())) / torch.tensor([*SIZE, *SIZE])
        proposals = Proposals(boxes, torch.tensor([0.9, 0.8, 0.7]))
        image = replace(encoded, proposals=proposals)
        self.encoded.append(ref(image))
        return image

    def chat(self, *args: object, **settings: object) -> Chat:
        chat = super().chat(*args, **settings)
        chat._decoder = _ScriptedDecoder(self)
        return chat


class _ScriptedDecoder:
    num_bytes, num_tokens = 1_000_000, 400

    def __init__(self, groma: ScriptedGroma) -> None:
        self._groma = groma
        self._answer = ""

    def release(self) -> None:
        pass

    def read(self, keys: Sequence[object], _: object) -> torch.Tensor:
        plain = self._groma.template.plain
        words = b"".join(plain.to_bytes(k) for k in keys if isinstance(k, int)).decode()
        question = words.rpartition("USER:")[2]
        self._answer = next((a for name, a in ANSWERS.items() if name in question), "Yes.")
        return torch.zeros(self._groma.config.text_config.vocab_size)

    def generate(
        self, _: object, grammar: GroundingGrammar, *__: object
    ) -> Iterator[tuple[int, torch.Tensor]]:
        template = self._groma.template
        # A proposal that a region of the user replaces is not listed: then that region is meant.
        meant = [*grammar._names]
        for part in _TAG.split(self._answer):
            ids = [template.tokens[part]] if _TAG.fullmatch(part) else template.plain.encode(part)
            for token in ids:
                if template.tokens.region_index(token) is not None and token not in meant:
                    token = meant[-1]
                time.sleep(self._groma.delay)
                # The first region named is far likelier than the others.
                logits = torch.zeros(self._groma.config.text_config.vocab_size)
                if part != "<r2>":
                    logits[token] = 3.0
                yield token, logits


def picture() -> Image.Image:
    """A scene with a dog, a ball and a tree, more or less."""
    image = Image.new("RGB", SIZE, "#cfe8ff")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 380, 640, 480), fill="#7cb342")
    draw.rounded_rectangle(DOG, 40, fill="#8d5a2b")
    draw.ellipse(BALL, fill="#d32f2f")
    draw.ellipse((448, 48, 608, 260), fill="#2e7d32")
    draw.rectangle((515, 240, 545, 384), fill="#5d4037")
    return image


def close_page(url: str) -> None:
    """End one application of several; the others of this process go on."""
    import gradio as gr

    for page in gr.Blocks.get_instances():
        if page.is_running and page.local_url == url:
            page.close()
