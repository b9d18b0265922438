"""Puts a scene's questions to a model: the picture is encoded once, answers are greedy."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from groma.chat.chat import Chat, Groma
from groma.chat.conversation import GroundedReply
from groma.data.sample import GroundedSample, plain_text
from groma.image import boxes_to_pixels
from groma.types import Box, GromaError
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
    encoded = groma.encode_image(scene.pixels)
    chat = groma.chat(encoded, **settings)
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


def hold(chat: Chat, sample: GroundedSample) -> tuple[GroundedReply, ...]:
    """Ask all questions of a sample in a row, and leave the conversation as it was.

    Returns:
        One reply per turn. Where the model cannot take a question, because the conversation is
        too long or names run out, that reply and all after it are empty and "cancelled".
    """
    replies: list[GroundedReply] = []
    with suppress(GromaError):
        for number, turn in enumerate(sample.turns):
            text = plain_text(turn.question, sample.user_regions)
            boxes = new_boxes(sample, number)
            replies.append(chat.ask(text, boxes, grounding=turn.grounding))
    for _ in replies:
        chat.undo()
    missing = GroundedReply("", (), sample.size, "cancelled")
    return (*replies, *[missing] * (len(sample.turns) - len(replies)))


def new_boxes(sample: GroundedSample, number: int) -> list[Box]:
    """Boxes the user draws with one turn: those it mentions first, xyxy in pixels."""
    height, width = sample.size
    before, now = (len(_mentioned(sample, end)) for end in (number, number + 1))
    boxes = [sample.boxes[region] for region in sample.user_regions[before:now]]
    return [(x0 * width, y0 * height, x1 * width, y1 * height) for x0, y0, x1, y1 in boxes]


def _mentioned(sample: GroundedSample, num_turns: int) -> tuple[int, ...]:
    """Regions the user has pointed at within the first turns."""
    return GroundedSample("", sample.size, (), (), sample.turns[:num_turns]).user_regions
