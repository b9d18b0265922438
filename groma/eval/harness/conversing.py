"""Holds the conversation of a sample with a model: its questions, its boxes, answers of its own."""

from contextlib import suppress

from groma.chat.chat import Chat
from groma.chat.conversation import GroundedReply
from groma.data.sample import GroundedSample, plain_text
from groma.types import GromaError


def hold(chat: Chat, sample: GroundedSample) -> tuple[GroundedReply, ...]:
    """Ask all questions of a sample in a row, and leave the conversation as it was.

    Returns one reply per turn. Where the model cannot take a question, because the conversation is
    too long or names run out, that reply and all after it are empty and "cancelled".
    """
    replies: list[GroundedReply] = []
    with suppress(GromaError):
        for turn, new in zip(sample.turns, sample.drawn, strict=True):
            text = plain_text(turn.question, sample.user_regions)
            replies.append(chat.ask(text, sample.in_pixels(new), grounding=turn.grounding))
    for _ in replies:
        chat.undo()
    missing = GroundedReply("", (), sample.size, "cancelled")
    return (*replies, *[missing] * (len(sample.turns) - len(replies)))
