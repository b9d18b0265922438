"""Conversations as HTML: nothing a model or a user says becomes markup."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.canvas.shown_boxes import Pending, as_said, colour_of, doubts, shown_boxes
from app.chat.talk_html import render_question, render_reply, render_talk
from groma.chat.conversation import Conversation, GroundedReply, Turn
from groma.chat.settings import GenerationSettings
from groma.named_regions import GroundedSpan, Region, RegionRef
from groma.shapes import Box

SIZE = (60, 80)
DOG = RegionRef(0, (1, 2, 30, 40), 0.9, 0.8)
CAT = RegionRef(1, (5, 5, 20, 20), 0.3, 0.6)
MINE = RegionRef(2, (0, 0, 10, 10), 0.7, 1.0, user=1)


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def reply(text: str, *spans: GroundedSpan, finish: str = "stop") -> GroundedReply:
    return GroundedReply(text, spans, SIZE, finish)


def talk(*replies: GroundedReply) -> Conversation:
    boxes = [Region(r.id, r.box, (0, 0, 1, 1), r.objectness, r.user) for r in (DOG, CAT, MINE)]
    settings = GenerationSettings()
    turns = [
        Turn(f"What is [1]? {i}", tuple(boxes) if i == 0 else (), settings, answer)
        for i, answer in enumerate(replies)
    ]
    return Conversation(SIZE, tuple(turns))


def test_phrases_carry_their_regions_colours_and_scores() -> None:
    html = render_reply(reply("A dog and a cat.", GroundedSpan(0, 5, (DOG, CAT))), certain=0.5)
    ((tag, attributes),) = Tags(html).found
    assert tag == "span"
    assert json.loads(attributes["data-regions"]) == ["r0", "r1"]
    assert attributes["data-tip"] == "uncertain: 90 % sure, 30 % sure"
    assert "groma-uncertain" in attributes["class"]
    assert colour_of(DOG) in attributes["style"]
    assert colour_of(CAT) in attributes["style"]
    assert Tags(html).text == "A dog and a cat."


def test_the_first_of_several_needs_less() -> None:
    dogs = [replace(DOG, id=i, score=score) for i, score in enumerate((0.3, 0.45, 0.9))]
    several, one = GroundedSpan(0, 5, tuple(dogs)), GroundedSpan(0, 5, (dogs[0],))
    assert doubts(reply("Dogs.", several), several, certain=0.5) == []
    assert doubts(reply("A dog.", one), one, certain=0.5) == [dogs[0]]


@pytest.mark.parametrize("certain", [0.0, 0.5])
def test_what_an_answer_is_not_sure_of_is_uncertain(certain: float) -> None:
    text = "Here is a dog. There may be a fox, but I am not sure. A cat sleeps."
    surest = RegionRef(0, (1, 2, 3, 4), 0.99, objectness=0.25)
    spans = [
        GroundedSpan(text.index(name), text.index(name) + 5, (replace(surest, id=id),))
        for id, name in enumerate(("a dog", "a fox", "A cat"))
    ]
    said = reply(text, *spans)
    assert [bool(doubts(said, span, certain)) for span in spans] == [False, certain > 0, False]
    assert [span.regions[0].score for span in as_said(said).spans] == [0.99, 0.25, 0.99]
    assert render_reply(said, certain).count("groma-uncertain") == (certain > 0)


def test_certain_phrases_are_not_marked_uncertain() -> None:
    assert "groma-uncertain" not in render_reply(reply("A dog.", GroundedSpan(0, 5, (DOG,))), 0.9)


@given(st.text(), st.data())
def test_text_stays_text(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    html = render_reply(reply(text, GroundedSpan(start, end, (DOG,))))
    assert {tag for tag, _ in Tags(html).found} <= {"span", "br"}
    assert len([tag for tag, _ in Tags(html).found if tag == "span"]) == 1
    html = render_question(text)
    assert {tag for tag, _ in Tags(html).found} <= {"span", "br"}


def test_markup_is_shown_literally() -> None:
    evil = '<img src=x onerror="alert(1)"> <r12> & **x** [a](b)'
    assert Tags(render_reply(reply(evil))).text == evil
    assert Tags(render_talk(talk(), note=evil)).text == evil


def test_questions_show_numbers_as_chips() -> None:
    ((_, chip),) = Tags(render_question("What is [1]? [0] [999] [x]")).found
    assert json.loads(chip["data-regions"]) == ["u1"]
    assert colour_of(MINE) in chip["style"]


def test_endings_are_told() -> None:
    assert "stopped" in render_reply(reply("Well", finish="cancelled"))
    assert "length limit" in render_reply(reply("Well", finish="length"))
    assert "groma-cursor" in render_reply(reply("Well", finish="streaming"))


def test_colours_are_stable_and_known_before_asking() -> None:
    shown = shown_boxes(talk(reply("A dog.", GroundedSpan(0, 5, (MINE, DOG)))))
    colours = {region["key"]: region["colour"] for region in shown["regions"]}
    assert colours == {"u1": colour_of(MINE), "r0": colour_of(DOG)}
    assert shown["colours"][0]["colour"] == colour_of(MINE)
    assert shown_boxes(None)["colours"] == shown["colours"]


def test_one_box_has_one_colour_and_is_drawn_once() -> None:
    """Whoever adopts what a reply named goes on in its colour; phrases of it mean the same box."""
    before = talk(reply("A dog.", GroundedSpan(0, 5, (DOG,))))
    mine = Region(3, (1.04, 2, 30, 40), (0, 0, 1, 1), 1.0, user=2)
    answer = reply("This dog.", GroundedSpan(0, 8, (DOG,)))
    after = before.with_turn(Turn("What is [2]?", (mine,), GenerationSettings(), answer))
    pending = Pending("What is [2]?", (Box(*mine.box),))
    for shown in (shown_boxes(before, pending=pending), shown_boxes(after)):
        (found,) = (
            region for region in shown["regions"] if "r0" in (region["key"], region["twin"])
        )
        assert (found["key"], found["twin"], found["user"]) == ("u2", "r0", 2)
        assert found["colour"] == colour_of(DOG)
    assert found["label"] == "This dog"
    for html in (render_talk(before, pending), render_talk(after)):
        chip = [tag for _, tag in Tags(html).found if tag.get("data-regions") == '["u2"]'][-1]
        assert f"--colour: {colour_of(DOG)}" in chip["style"]


def test_proposals_without_a_name_give_no_colour() -> None:
    """They are numbered anew when the question is asked."""
    assert not shown_boxes(Conversation(SIZE), [Region(0, DOG.box, DOG.box, 0.8)])["named"]
    assert shown_boxes(talk(reply("No.")))["named"]


def test_boxes_of_the_user_are_never_uncertain() -> None:
    doubtful = replace(MINE, score=0.1)
    shown = shown_boxes(talk(reply("A dog.", GroundedSpan(0, 5, (doubtful,)))), certain=0.5)
    (mine,) = (region for region in shown["regions"] if region["key"] == "u1")
    assert not mine["uncertain"]
    assert mine["score"] == "10 % sure"


def test_shown_regions_are_those_drawn_or_meant() -> None:
    first = reply("A dog.", GroundedSpan(0, 5, (DOG,)))
    second = reply("My cat", GroundedSpan(3, 6, (CAT,)))
    shown = shown_boxes(talk(first, second), certain=0.5)
    found = {region["key"]: region for region in shown["regions"]}
    assert set(found) == {"u1", "r0", "r1"}
    labels = [found[key]["labels"] for key in ("u1", "r0", "r1")]
    assert labels == [{}, {"0": "A dog"}, {"1": "cat"}]
    assert (shown["turns"], shown["growing"]) == (2, False)
    assert (found["r1"]["label"], found["r1"]["uncertain"]) == ("cat", True)
    assert shown["next"] == 2
    assert [proposal["key"] for proposal in shown["proposals"]] == ["r0", "r1"]


def test_growing_answer_shows_the_boxes_of_its_question() -> None:
    pending = Pending(
        "What is [2]?", (Box(1, 1, 9, 9),), reply("My cat", GroundedSpan(3, 6, (CAT,)))
    )
    shown = shown_boxes(talk(reply("No.")), pending=pending)
    assert {region["key"] for region in shown["regions"]} == {"u1", "u2", "r1"}
    assert shown["next"] == 3
    assert (shown["turns"], shown["growing"]) == (2, True)
    assert "My" in render_talk(talk(), pending)
