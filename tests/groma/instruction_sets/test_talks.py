"""A talk becomes a sample that means the same."""

from groma.chat.conversation import Conversation, GroundedReply, Turn
from groma.chat.settings import GenerationSettings
from groma.data.sample import QA, Mention, Phrase
from groma.data.sources.groma_instruct import format_item, parse_item
from groma.instruction_sets.talks import talk_to_sample
from groma.named_regions import GroundedSpan, Region

SIZE = (100, 200)


def _region(number: int, box: tuple, user: int | None = None) -> Region:
    return Region(number, box, (0.0, 0.0, 1.0, 1.0), 1.0, user)


def _turn(question: str, regions: list[Region], text: str, spans: dict, grounding: bool = True):
    grounded = tuple(
        GroundedSpan(start, end, tuple(region.ref(0.5) for region in meant))
        for (start, end), meant in spans.items()
    )
    settings = GenerationSettings(grounding=grounding)
    return Turn(question, tuple(regions), settings, GroundedReply(text, grounded, SIZE))


DOG, CAT = _region(0, (20, 10, 80, 50)), _region(1, (100, 50, 200, 100))
USER = _region(2, (0, 0, 50, 50), 1)
LATER = _region(3, (10, 10, 20, 20), 2)
TALK = Conversation(
    SIZE,
    (
        _turn("What is [1], as in [7]?", [DOG, CAT, USER], "A dog <p> or it",
              {(0, 5): [DOG], (13, 15): [CAT, USER]}),
        _turn("And this?", [LATER], "Nothing.", {(7, 7): [CAT]}, grounding=False),
    ),
)  # fmt: skip


def test_a_talk_becomes_a_sample() -> None:
    sample = talk_to_sample("a.png", TALK)
    assert sample.boxes[0] == (0.0, 0.0, 0.25, 0.5)
    assert sample.names == ("it", "region", "A dog", "it")
    assert sample.turns == (
        QA(
            ("What is ", Mention(0), ", as in [7]?"),
            (Phrase("A dog", (2,)), " <p> or ", Phrase("it", (3, 0))),
        ),
        QA(("And this? ", Mention(1)), ("Nothing.",), grounding=False),
    )


def test_and_comes_back_from_groma_instruct() -> None:
    sample = talk_to_sample("a.png", TALK)
    found = parse_item(format_item(sample))
    assert (found.boxes, found.names, found.turns) == (sample.boxes, sample.names, sample.turns)
