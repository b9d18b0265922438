"""Models that are no models: one that knows the truth, and some that always say the same."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import torch

from groma.chat.conversation import GroundedReply
from groma.data.sample import QA, GroundedSample, Phrase, plain_text
from groma.named_regions import GroundedSpan, RegionRef
from groma.types import Proposals
from recipes.scenes.evaluation.scene_questions import Talk
from recipes.scenes.scene import Scene

Speaker = Callable[[Scene, tuple], GroundedReply]


def boxes_px(sample: GroundedSample) -> list:
    height, width = sample.size
    return [(a * width, b * height, c * width, d * height) for a, b, c, d in sample.boxes]


def say(sample: GroundedSample, pieces: Sequence) -> GroundedReply:
    """Pieces of an answer as the reply of a model that points at the true boxes."""
    text, spans, boxes = "", [], boxes_px(sample)
    for piece in pieces:
        start = len(text)
        text += plain_text((piece,), sample.user_regions)
        if isinstance(piece, Phrase):
            refs = tuple(RegionRef(i, boxes[i], 1.0, 1.0) for i in piece.regions)
            spans.append(GroundedSpan(start, len(text), refs))
    return GroundedReply(text, tuple(spans), sample.size)


def answer_of(sample: GroundedSample, turn: QA) -> GroundedReply:
    return say(sample, turn.answer)


def _regions(scene: Scene) -> list:
    return [part.box for part in (*scene.things, *scene.stuff)]


class FakeChat:
    """Remembers what was asked; what it answers is up to `speak`."""

    def __init__(self, image: SimpleNamespace, speak: Speaker) -> None:
        self.image, self.scene, self.speak = image, image.scene, speak
        self.asked: tuple[tuple, ...] = ()

    def ask(self, text: str, boxes: Sequence, grounding: bool) -> GroundedReply:
        self.asked = (*self.asked, (text, tuple(boxes), grounding))
        return self.speak(self.scene, self.asked)

    def undo(self) -> None:
        self.asked = self.asked[:-1]


class FakeGroma:
    """Proposes the true boxes of pictures it knows, and answers as it is told.

    Args:
        scenes: the pictures.
        speak: a scene and everything asked so far -> reply.
    """

    def __init__(self, scenes: Sequence[Scene], speak: Speaker) -> None:
        self.scenes = {scene.pixels.tobytes(): scene for scene in scenes}
        self.speak = speak
        self.encoded: list[str] = []

    def encode_image(self, pixels) -> SimpleNamespace:
        if isinstance(pixels, SimpleNamespace):
            return pixels
        scene = self.scenes[pixels.tobytes()]
        self.encoded.append(scene.key)
        height, width = scene.size
        boxes = torch.tensor(_regions(scene)) / torch.tensor([width, height, width, height])
        return SimpleNamespace(scene=scene, proposals=Proposals(boxes, torch.ones(len(boxes))))

    def regions(self, image: SimpleNamespace, **_: object) -> list:
        return [SimpleNamespace(box=box) for box in _regions(image.scene)]

    def chat(self, image: object, **_: object) -> FakeChat:
        return FakeChat(self.encode_image(image), self.speak)


def oracle(asked: Sequence[tuple[Scene, Sequence[Talk]]]) -> Speaker:
    """Answers every question of these talks as the generator would."""
    known = {}
    for scene, talks in asked:
        for sample in (talk.sample for talk in talks):
            history: tuple[tuple, ...] = ()
            for turn, new in zip(sample.turns, sample.drawn, strict=True):
                text = plain_text(turn.question, sample.user_regions)
                history = (*history, (text, sample.in_pixels(new), turn.grounding))
                known[scene.key, history] = answer_of(sample, turn)
    return lambda scene, history: known[scene.key, history]


def constant(text: str) -> Speaker:
    """Always says the same and never points."""
    return lambda scene, _: GroundedReply(text, (), scene.size)
