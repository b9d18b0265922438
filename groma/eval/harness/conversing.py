"""Holds the conversation of a sample with a model: its questions, its boxes, answers of its own."""

from contextlib import suppress

from groma.chat.chat import Chat
from groma.chat.conversation import GroundedReply
from groma.data.sample import GroundedSample, plain_text
from groma.types import Box, GromaError


def hold(chat: Chat, sample: GroundedSample) -> tuple[GroundedReply, ...]:
    """Ask all questions of a sample in a row, and leave the conversation as it was.

    Returns one reply per turn. Where the model cannot take a question, because the conversation is
    too long or names run out, that reply and all after it are empty and "cancelled".
    """
    replies: list[GroundedReply] = []
    with suppress(GromaError):
        for number, turn in enumerate(sample.turns):
            text = plain_text(turn.question, sample.user_regions)
            boxes = _new_boxes(sample, number)
            replies.append(chat.ask(text, boxes, grounding=turn.grounding))
    for _ in replies:
        chat.undo()
    missing = GroundedReply("", (), sample.size, "cancelled")
    return (*replies, *[missing] * (len(sample.turns) - len(replies)))


def _new_boxes(sample: GroundedSample, number: int) -> list[Box]:
    """Boxes the user draws with one turn: those it mentions first, xyxy in pixels."""
    before, now = (len(_mentioned(sample, end)) for end in (number, number + 1))
    return [*sample.in_pixels(sample.user_regions[before:now])]


def _mentioned(sample: GroundedSample, num_turns: int) -> tuple[int, ...]:
    """Regions the user has pointed at within the first turns."""
    return GroundedSample("", sample.size, (), (), sample.turns[:num_turns]).user_regions
