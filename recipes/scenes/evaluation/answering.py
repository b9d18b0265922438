"""Puts a scene's questions to a model: the picture is encoded once, answers are greedy."""

from collections.abc import Sequence
from typing import Any

from groma.chat.chat import Groma
from groma.eval.harness.asker import hold
from groma.image import boxes_to_pixels
from groma.types import Box
from recipes.scenes.evaluation.records import SceneRecord, Talked
from recipes.scenes.evaluation.scene_questions import Talk
from recipes.scenes.scene import Scene


def answer_scene(
    groma: Groma, scene: Scene, index: int, talks: Sequence[Talk], settings: dict[str, Any]
) -> SceneRecord:
    """Ask a model everything about one scene.

    Talks do not know of one another: each starts from an empty conversation. They share a `Chat`,
    so that what stands before the first question is read once.

    Args:
        groma: the model.
        scene: with pixels.
        index: of the scene.
        talks: what to ask.
        settings: fields of `GenerationSettings`.

    Raises:
        ValueError: if the scene is symbolic.
    """
    if scene.pixels is None:
        raise ValueError(f"Scene {scene.key} is symbolic: there is nothing to look at.")
    chat = groma.chat(scene.pixels, **settings)
    encoded = chat.image
    return SceneRecord(
        index=index,
        key=scene.key,
        size=scene.size,
        things=scene.things,
        stuff=tuple((stuff.name, stuff.box) for stuff in scene.stuff),
        proposals=_rounded(boxes_to_pixels(encoded.proposals.boxes, scene.size)),
        shown=_rounded([region.box for region in groma.regions(encoded, **settings)]),
        talks=tuple(Talked(talk.sample, talk.first, hold(chat, talk.sample)) for talk in talks),
    )


def _rounded(boxes: Sequence[Box]) -> tuple[Box, ...]:
    """Boxes to a hundredth of a pixel: there are many, and files of answers grow with them."""
    return tuple((round(a, 2), round(b, 2), round(c, 2), round(d, 2)) for a, b, c, d in boxes)
