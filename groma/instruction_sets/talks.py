"""A talk about a picture as a sample to learn from."""

from groma.chat.conversation import Conversation, GroundedReply, Turn
from groma.data.sample import QA, GroundedSample, Phrase, Piece, Pieces, join_pieces
from groma.data.sources.groma_instruct import UNNAMED, name_new, numbered
from groma.named_regions import Region, RegionRef
from groma.types import Box, Size


def talk_to_sample(picture: str, conversation: Conversation) -> GroundedSample:
    """What was said about a picture, the name of a file, as if all of it were right.

    Boxes are the regions the user drew, in order, then those a reply means. Regions that the model
    gave without words are left out.
    """
    drawn = [region for region in conversation.regions if region.user is not None]
    found: dict[int, tuple[Box, str]] = {region.id: (region.box, UNNAMED) for region in drawn}
    for region, phrase in _meant(conversation):
        box, name = found.get(region.id, (region.box, UNNAMED))
        found[region.id] = box, phrase if name == UNNAMED else name
    row = {region_id: index for index, region_id in enumerate(found)}
    return GroundedSample(
        picture,
        conversation.image_size,
        _normalise([box for box, _ in found.values()], conversation.image_size),
        tuple(name for _, name in found.values()),
        tuple(_turns(conversation, row)),
    )


def _turns(conversation: Conversation, row: dict[int, int]) -> list[QA]:
    turns = []
    # All of them from the start: a number is a mention wherever a sample has such a region.
    users = [row[region.id] for turn in conversation.turns for region in _drawn(turn)]
    for turn in conversation.turns:
        new = [row[region.id] for region in _drawn(turn)]
        # As the template reads it.
        question = join_pieces(name_new(numbered(turn.question.strip(), users), new))
        turns.append(QA(question, _answer(turn.reply, row), grounding=turn.settings.grounding))
    return turns


def _answer(reply: GroundedReply, row: dict[int, int]) -> Pieces:
    pieces: list[Piece] = []
    at = 0
    for span in reply.spans:
        pieces.append(reply.text[at : span.start])
        if phrase := reply.phrase(span):
            pieces.append(Phrase(phrase, tuple(row[region.id] for region in span.regions)))
        at = span.end
    return join_pieces([*pieces, reply.text[at:]])


def _meant(conversation: Conversation) -> list[tuple[RegionRef, str]]:
    """Regions and the words that mean them."""
    return [
        (region, phrase)
        for turn in conversation.turns
        for span in turn.reply.spans
        for region in span.regions
        if (phrase := turn.reply.phrase(span))
    ]


def _drawn(turn: Turn) -> list[Region]:
    return [region for region in turn.regions if region.user is not None]


def _normalise(boxes_px: list[Box], size: Size) -> tuple[Box, ...]:
    height, width = size
    return tuple((x1 / width, y1 / height, x2 / width, y2 / height) for x1, y1, x2, y2 in boxes_px)
