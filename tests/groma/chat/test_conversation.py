import copy
from collections.abc import Callable
from typing import Any

import pytest

from groma.chat.conversation import Conversation, GroundedReply, Turn
from groma.chat.settings import GenerationSettings
from groma.named_regions import GroundedSpan, Region
from groma.types import GromaError
from tests.groma.text.test_template import mentioned, template

SIZE = (40, 50)


def region(i: int, user: int | None = None) -> Region:
    return Region(i, (1.0, 2.0, 3.0, 4.0 + i), (0.1, 0.2, 0.3, 0.4), 0.5, user)


def turn(question: str, text: str, *regions: Region, spans: tuple = ()) -> Turn:
    reply = GroundedReply(text, spans, SIZE)
    return Turn(question, regions, GenerationSettings(seed=3), reply, answer_ids=(1, 2))


CONVERSATION = Conversation(
    SIZE,
    (
        turn(
            "What is [1]?",
            "a dog",
            *(region(0), region(1), region(2, user=1)),
            spans=(GroundedSpan(0, 5, (region(1).ref(0.5), region(2, user=1).ref(0.25))),),
        ),
        turn("and this?", "a cat", region(3, user=2)),
    ),
)


def test_what_a_conversation_knows() -> None:
    assert [r.id for r in CONVERSATION.regions] == [0, 1, 2, 3]
    assert CONVERSATION.mentioned == {1, 2}
    assert CONVERSATION.turns[1].boxes == ((1.0, 2.0, 3.0, 7.0),)
    assert CONVERSATION.without_last().turns == CONVERSATION.turns[:1]
    assert CONVERSATION.without_last().with_turn(CONVERSATION.turns[1]) == CONVERSATION


def test_a_conversation_survives_json_but_for_its_tokens() -> None:
    again = Conversation.from_dict(CONVERSATION.to_dict())
    assert again == CONVERSATION
    assert again.turns[0].answer_ids is None


def test_without_turns_there_is_nothing_to_take_back() -> None:
    with pytest.raises(GromaError, match="no question"):
        Conversation(SIZE).without_last()


def spoil(*path: str | int, value: Any) -> Callable[[dict], None]:
    def change(data: dict) -> None:
        *way, last = path
        for step in way:
            data = data[step]
        data[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        spoil("image_size", value=[0, 1]),
        spoil("image_size", value=None),
        spoil("turns", value=3),
        spoil("turns", 0, value={}),
        spoil("turns", 0, "settings", value={"temperature": -1}),
        spoil("turns", 0, "settings", value={"colour": 1}),
        spoil("turns", 0, "settings", value={"max_new_tokens": "many"}),
        spoil("turns", 0, "settings", value={"grounding": "yes"}),
        spoil("turns", 0, "settings", value=[1]),
        spoil("turns", 0, "regions", value=[]),
        spoil("turns", 0, "regions", 0, "id", value=1),
        spoil("turns", 0, "regions", 0, "user", value=1),
        spoil("turns", 0, "regions", 0, "extent", value=[0, 0, 1, 1e30]),
        spoil("turns", 0, "regions", 0, "extent", value=[0, 0, 1]),
        spoil("turns", 0, "regions", 0, "box", value=[0, 0, 1, float("nan")]),
        spoil("turns", 0, "reply", "text", value=""),
        spoil("turns", 0, "reply", "image_size", value=[1, 1]),
        spoil("turns", 0, "reply", "finish", value="streaming"),
        spoil("turns", 0, "reply", "spans", 0, "start", value=7),
        spoil("turns", 0, "reply", "spans", 0, "start", value=-1),
        spoil("turns", 0, "reply", "spans", 0, "regions", value=[]),
        spoil("turns", 0, "reply", "spans", 0, "regions", 0, "id", value=99),
        spoil("turns", 0, "reply", "spans", 0, "regions", 0, "score", value="x"),
    ],
)
def test_a_spoilt_file_is_refused_in_one_sentence(change: Callable[[dict], None]) -> None:
    data = copy.deepcopy(CONVERSATION.to_dict())
    change(data)
    with pytest.raises(GromaError, match="no conversation that Groma saved"):
        Conversation.from_dict(data)


@pytest.mark.parametrize("data", [None, [], "x", 3, {}])
def test_another_file_is_refused(data: Any) -> None:
    with pytest.raises(GromaError, match="no conversation"):
        Conversation.from_dict(data)


def test_more_regions_than_names_are_refused() -> None:
    many = [region(i) for i in range(101)]
    with pytest.raises(GromaError):
        Conversation.from_dict(Conversation(SIZE, (turn("x", "y", *many),)).to_dict())


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"temperature": -0.5},
        {"temperature": float("nan")},
        {"temperature": 1e-9},
        {"top_p": 0},
        {"top_p": 1.5},
        {"seed": -1},
        {"score_threshold": 2},
        {"max_regions": 0},
        {"max_regions": 101},
    ],
)
def test_settings_out_of_range_are_named(wrong: dict) -> None:
    (name,) = wrong
    with pytest.raises(GromaError, match=f"^{name} must be .*, not .*\\.$"):
        GenerationSettings(**wrong)


@pytest.mark.parametrize(
    ("wrong", "wanted"),
    [
        ({"temperature": "hot"}, "a number, not 'hot'"),
        ({"temperature": True}, "a number, not True"),
        ({"top_p": None}, "a number, not None"),
        ({"max_new_tokens": "64"}, "a whole number, not '64'"),
        ({"max_new_tokens": 64.5}, "a whole number, not 64.5"),
        ({"max_new_tokens": False}, "a whole number, not False"),
        ({"seed": [1]}, "a whole number, not"),
        ({"score_threshold": "low"}, "a number, not 'low'"),
        ({"max_regions": {}}, "a whole number, not {}"),
        ({"grounding": "yes"}, "true or false, not 'yes'"),
        ({"grounding": 1}, "true or false, not 1"),
    ],
)
def test_settings_of_another_kind_are_named(wrong: dict, wanted: str) -> None:
    (name,) = wrong
    with pytest.raises(GromaError) as error:
        GenerationSettings(**wrong)
    assert str(error.value).startswith(f"{name} must be {wanted}")


def test_settings_by_name() -> None:
    given = {"temperature": 1, "seed": None, "score_threshold": 0}
    assert GenerationSettings.from_dict(given) == GenerationSettings(**given)
    with pytest.raises(GromaError, match=r"no setting 'colour'; there are max_new_tokens, temp"):
        GenerationSettings.from_dict({"colour": 1})
    for data in ([1], "temperature", 3, None):
        with pytest.raises(GromaError, match="values by name"):
            GenerationSettings.from_dict(data)


def said(question: str, reply: GroundedReply, *regions: Region, **fields: Any) -> Turn:
    return Turn(question, regions, GenerationSettings(), reply, **fields)


def test_exchanges_of_a_conversation() -> None:
    write = template("llama")
    size = SIZE
    dog = GroundedSpan(2, 7, (region(0).ref(0.5),))
    conversation = Conversation(
        size,
        (
            said("and [1]?", GroundedReply("A big dog", (dog,), size), region(0)),
            said("stopped", GroundedReply("", (), size, "cancelled"), region(1, 1)),
            said("this?", GroundedReply("yes", (), size), region(2, 2), answer_ids=(5, 6)),
            said("[1]", GroundedReply("no", (), size)),
        ),
    )
    exchanges = conversation.exchanges(write)
    assert len(exchanges) == 3
    (first, answer), (third, exact), (last, _) = exchanges
    assert mentioned(first) == []
    assert mentioned(third) == [write.tokens.region(2)]
    assert exact == (5, 6)
    assert mentioned(last) == [write.tokens.region(1)]
    assert answer == write.answer("A big dog", [(2, 7, [write.tokens.region(0)])])
