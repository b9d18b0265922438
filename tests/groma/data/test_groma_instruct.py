"""Groma-Instruct JSON comes back as it was, and nothing but its own syntax has a meaning."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groma.data.sample import QA, GroundedSample, Mention, Phrase, join_pieces
from groma.data.sources import groma_instruct
from groma.data.sources.groma_instruct import format_item, parse_item
from groma.data.sources.items import BrokenItem
from groma.types import GromaError

ITEM = {
    "file_name": "000000123.jpg",
    "height": 100,
    "width": 200,
    "id": 7,
    "boxes": [[20, 10, 60, 40], [100, 50, 110, 60], [0, 0, 10, 10]],
    "conversation": [
        {"from": "human", "value": "What is here?"},
        {
            "from": "gpt",
            "value": "There are <p>two dogs</p><roi><ground_box><ground_box></roi> and"
            " <p>a cat</p> <roi> <ground_box> </roi>.",
            "box_inds": [1, 0, 2],
        },
        {"from": "human", "value": "[grounding] Is <roi><refer_box></roi><refer_feat> big?",
         "box_inds": [2]},
        {"from": "gpt", "value": "No.", "box_inds": []},
    ],
}  # fmt: skip


def _with(turn: int, **fields: object) -> dict:
    said = [dict(message) for message in ITEM["conversation"]]
    said[turn] |= fields
    return ITEM | {"conversation": said}


def test_reads_what_the_released_data_has() -> None:
    sample = parse_item(ITEM)
    assert sample.picture == "000000123.jpg"
    assert sample.size == (100, 200)
    # The second box reaches over the right and lower edge.
    assert sample.boxes == ((0.1, 0.1, 0.4, 0.5), (0.5, 0.5, 1.0, 1.0), (0.0, 0.0, 0.05, 0.1))
    assert sample.names == ("two dogs", "two dogs", "a cat")
    assert sample.turns == (
        QA(
            ("What is here?",),
            ("There are ", Phrase("two dogs", (1, 0)), " and ", Phrase("a cat", (2,)), "."),
        ),
        QA(("Is ", Mention(2), " big?"), ("No.",)),
    )


def test_numbers_in_questions_mean_boxes_pointed_at_so_far() -> None:
    said = [
        {"from": "human", "value": "Compare [1] and [2], not [3]", "box_inds": [2, 0]},
        {"from": "gpt", "value": "[1] is big", "box_inds": []},
        {"from": "human", "value": "And this?", "box_inds": [1], "grounding": False},
        {"from": "gpt", "value": "A cat"},
        {"from": "human", "value": "And [3]?"},
        {"from": "gpt", "value": "The same"},
    ]
    first, second, third = parse_item(ITEM | {"conversation": said}).turns
    assert first.question == ("Compare ", Mention(2), " and ", Mention(0), ", not ", Mention(1))
    assert first.answer == ("[1] is big",)
    assert second.question == ("And this? ", Mention(1))
    assert not second.grounding
    assert third.question == ("And ", Mention(1), "?")
    # Where nothing is pointed at, [1] is plain text.
    alone = parse_item(_with(0, value="See [1] for more"))
    assert alone.turns[0].question == ("See ", Mention(2), " for more")
    assert parse_item(ITEM | {"conversation": said[4:]}).turns[0].question == ("And [3]?",)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({}, "no field 'boxes'"),
        (ITEM | {"boxes": [[0, 0, 0, 5], *ITEM["boxes"][1:]]}, "without area"),
        (ITEM | {"boxes": [[0, 0, "wide", 5], *ITEM["boxes"][1:]]}, "wrong type"),
        (ITEM | {"boxes": [[400, 0, 5, 5], *ITEM["boxes"][1:]]}, "outside the picture"),
        ({k: v for k, v in ITEM.items() if k not in ("height", "width")}, "no size"),
        (ITEM | {"conversation": []}, "alternate"),
        (ITEM | {"conversation": ITEM["conversation"][:3]}, "alternate"),
        (_with(0, **{"from": "robot"}), "alternate"),
        (_with(0, value=" "), "empty"),
        (_with(3, value=""), "empty"),
        (_with(1, box_inds=[0, 1]), "another number of boxes"),
        (_with(1, box_inds=[0, 1, 3]), "does not exist"),
        (_with(1, box_inds=[0, 1, True]), "does not exist"),
        (_with(2, box_inds=[]), "another number of boxes"),
        (_with(3, value="<p>No"), "do not belong together"),
        (_with(3, value="<roi><ground_box></roi>", box_inds=[0]), "no words mean"),
        (_with(3, value="<refer_box>"), "do not belong together"),
        (_with(3, value=5), "wrong type"),
        (_with(3, value=None), "wrong type"),
    ],
)
def test_broken_items_have_a_reason(item: dict, reason: str) -> None:
    with pytest.raises(BrokenItem, match=reason) as error:
        parse_item(item)
    assert isinstance(error.value, GromaError)


TEXT = st.one_of(
    # Without digits: a number in brackets would be a mention.
    st.text(st.characters(exclude_characters="0123456789"), max_size=12),
    st.lists(
        st.sampled_from(
            (
                *("<p>", "</p>", "<roi>", "</roi>", "<ground_box>", "<refer_box>"),
                *("<refer_feat>", "&lt;p>", "&amp;lt;roi>", "&amp;", "<", ">", "<r5>"),
                *("<image>", "</s>", "[grounding]", "[", "a", " "),
            )
        ),
        max_size=5,
    ).map("".join),
)


@settings(max_examples=50)
@given(TEXT)
def test_escaped_text_holds_no_tag_and_comes_back(text: str) -> None:
    escaped = groma_instruct.escape(text)
    assert not groma_instruct.TAG.search(escaped)
    assert groma_instruct.unescape(escaped) == text


SOLID = TEXT.filter(str.strip).map(str.strip)
PHRASES = st.builds(
    Phrase, SOLID, st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True).map(tuple)
)
MENTIONS = st.builds(Mention, st.integers(0, 3))


def _pieces(other: st.SearchStrategy) -> st.SearchStrategy:
    """Never empty, without spaces around it."""
    lists = st.lists(st.one_of(TEXT, other), max_size=4)
    return st.builds(lambda a, b, c: join_pieces([a, *b, c]), SOLID, lists, SOLID)


@settings(max_examples=25)
@given(st.lists(st.builds(QA, _pieces(MENTIONS), _pieces(PHRASES)), min_size=1, max_size=3))
def test_samples_come_back(turns: list[QA]) -> None:
    boxes = ((0.0, 0.0, 0.5, 0.5), (0.25, 0.5, 1.0, 1.0), (0.125, 0.25, 0.5, 0.75), (0, 0, 1, 1))
    sample = GroundedSample("a.png", (64, 128), boxes, ("",) * 4, tuple(turns))
    item = json.loads(json.dumps(format_item(sample)))
    found = parse_item(item)
    assert replace(found, names=("",) * 4) == sample


def test_ungrounded_turns_stay_so() -> None:
    turns = (QA(("Hi",), ("Hello",), grounding=False), QA(("Hi",), ("Hello",)))
    sample = GroundedSample("a.png", (0, 0), (), (), turns)
    assert parse_item(format_item(sample)) == sample
