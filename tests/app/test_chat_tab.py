"""What the handlers of the chat tab do, without a browser."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from app.canvas.region_canvas import Drawing
from app.chat.chat_tab import (
    BEGUN_ANEW,
    NEW_TALK,
    OTHER_MODEL,
    REWRITTEN,
    ChatTab,
    Settings,
    View,
)
from app.chat.status_line import describe
from app.shared.error_border import UNFORESEEN
from app.shared.models_at_hand import Models
from app.shared.picture_files import MOST_BYTES
from app.shared.sessions import MOST_FORMER, Sessions
from groma.shapes import Mask
from groma.types import Box, GromaError
from tests.app.scripted import BALL, SIZE, ScriptedGroma, picture

BOX = (300.0, 300.0, 460.0, 450.0)
POINT = {"point": [400.0, 380.0]}
SCRIBBLE = {"scribble": [[[360.0, 350.0], [380.0, 400.0]], [[420.0, 390.0]]], "width": 9.6}
LASSO = {"polygon": [[480.0, 260.0], [570.0, 260.0], [560.0, 400.0]]}
MASK = Mask.of(np.arange(480)[:, None] + np.arange(640) > 900).to_json()


@pytest.fixture
def tab() -> ChatTab:
    def fail() -> ScriptedGroma:
        raise GromaError("/somewhere/else/broken is damaged.")

    others = {"other": lambda: ScriptedGroma(score_threshold=0.75), "broken": fail}
    return ChatTab(Sessions(Models("mini", ScriptedGroma(), others), budget=10**9))


@pytest.fixture
def drawing(tmp_path: Path) -> Drawing:
    picture().save(tmp_path / "scene.png")
    return Drawing(tmp_path / "scene.png")


def opened(tab: ChatTab, drawing: Drawing) -> Drawing:
    assert tab.open("me", drawing, Settings()).warning is None
    return drawing


def ask(tab: ChatTab, drawing: Drawing, question: str = "Describe", **settings) -> list[View]:
    return list(tab.ask("me", drawing, question, Settings(**settings)))


def keys(view: View) -> set[str]:
    return {region["key"] for region in view.shown["regions"]}


def test_opening_a_picture_finds_proposals(tab: ChatTab, drawing: Drawing) -> None:
    view = tab.open("me", drawing, Settings())
    assert [proposal["key"] for proposal in view.shown["proposals"]] == ["r0", "r1", "r2"]
    assert view.drawing is None
    assert NEW_TALK not in view.talk
    assert NEW_TALK in tab.open("me", drawing, Settings()).talk


def test_a_file_of_many_megabytes_is_one_sentence(
    tab: ChatTab, drawing: Drawing, tmp_path: Path
) -> None:
    opened(tab, drawing)
    large = tmp_path / "large.png"
    large.write_bytes((tmp_path / "scene.png").read_bytes() + bytes(MOST_BYTES))
    view = tab.open("me", Drawing(large), Settings())
    assert view.warning and view.warning.startswith("The picture's file has 25 MB; at most 25 MB")
    assert "a tree" in ask(tab, drawing)[-1].talk


def test_answer_streams_and_colours_as_phrases_close(tab: ChatTab, drawing: Drawing) -> None:
    first, *middle, last = ask(tab, opened(tab, drawing))
    assert (first.question, first.is_answering, last.is_answering) == ("", True, False)
    assert "Describe" in first.talk
    counts = [view.talk.count("groma-phrase") for view in middle]
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2, 3}
    assert keys(last) == {"r0", "r1", "r2"}


def test_regions_drawn_with_a_question_keep_their_number(tab: ChatTab, drawing: Drawing) -> None:
    drawing = opened(tab, drawing)
    views = ask(tab, Drawing(drawing.picture, (BOX,)), "What is [1]?")
    assert views[0].drawing == drawing
    assert "u1" in keys(views[0])
    (turn,) = tab.sessions.get("me").conversation.turns
    assert turn.boxes == (BOX,)
    last = ask(tab, drawing, "How many are left of [1]?")[-1]
    assert "u1" in keys(last)
    assert last.shown["next"] == 2


def test_mistakes_lose_nothing(tab: ChatTab, drawing: Drawing) -> None:
    (view,) = ask(tab, Drawing(), "Describe")[-1:]
    assert "choose a picture" in view.warning
    drawing = opened(tab, drawing)
    ask(tab, drawing)
    bad = Drawing(drawing.picture, ((700.0, 10.0, 800.0, 20.0),))
    view = ask(tab, bad, "What is [1]?")[-1]
    assert "outside the picture" in view.warning
    assert (view.drawing, view.question, view.is_answering) == (bad, "What is [1]?", False)
    assert view.talk.count("groma-answer") == 1
    assert "question is empty" in ask(tab, drawing, "  ")[-1].warning
    assert "temperature" in ask(tab, drawing, temperature=99)[-1].warning


def test_unexpected_errors_are_one_sentence(
    tab: ChatTab, drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawing = opened(tab, drawing)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret path")

    monkeypatch.setattr("groma.chat.chat.Chat.stream", fail)
    view = ask(tab, drawing)[-1]
    assert "Something went wrong" in view.warning
    assert (view.question, view.is_answering) == ("Describe", False)


def test_unreadable_picture_keeps_the_talk(tab: ChatTab, drawing: Drawing, tmp_path: Path) -> None:
    ask(tab, opened(tab, drawing))
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 broken")
    view = tab.open("me", Drawing(tmp_path / "bad.jpg"), Settings())
    assert view.warning
    assert view.drawing == drawing
    assert len(tab.sessions.get("me").conversation.turns) == 1


def test_pictures_that_browsers_cannot_show_are_converted(tab: ChatTab, tmp_path: Path) -> None:
    picture().save(tmp_path / "scene.tiff")
    view = tab.open("me", Drawing(tmp_path / "scene.tiff"), Settings())
    with Image.open(view.drawing.picture) as shown:
        assert (shown.format, shown.size) == ("PNG", SIZE)


def test_stop_keeps_what_was_said(tab: ChatTab, drawing: Drawing) -> None:
    stream = tab.ask("me", opened(tab, drawing), "a long story", Settings())
    next(stream)
    next(stream)
    tab.stop("me")
    assert "stopped" in list(stream)[-1].talk
    assert "stopped" not in ask(tab, drawing)[-1].talk.rpartition("groma-question")[2]


def test_stop_before_the_answer_starts(tab: ChatTab, drawing: Drawing) -> None:
    drawing = opened(tab, drawing)
    tab.begin("me")
    tab.stop("me")
    assert "stopped" in ask(tab, drawing, "a long story")[-1].talk
    assert "stopped" not in ask(tab, drawing)[-1].talk.rpartition("groma-question")[2]


def test_stop_after_the_answer_does_not_stop_the_next(tab: ChatTab, drawing: Drawing) -> None:
    drawing = opened(tab, drawing)
    tab.stop("me")
    tab.begin("me")
    assert "stopped" not in ask(tab, drawing)[-1].talk


def test_regenerate_replaces_the_answer(tab: ChatTab, drawing: Drawing) -> None:
    assert "choose a picture" in list(tab.regenerate("me", Settings()))[-1].warning
    opened(tab, drawing)
    assert "no question" in list(tab.regenerate("me", Settings()))[-1].warning
    ask(tab, drawing)
    views = list(tab.regenerate("me", Settings()))
    assert views[0].talk.count("groma-question") == 1
    assert len(tab.sessions.get("me").conversation.turns) == 1
    assert all(view.drawing is None for view in views)


def test_undo_gives_question_and_shapes_back(tab: ChatTab, drawing: Drawing) -> None:
    drawing = opened(tab, drawing)
    ask(tab, Drawing(drawing.picture, (BOX, SCRIBBLE)), "What is [1]?")
    ask(tab, drawing, "Describe")
    view = tab.undo("me", drawing, Settings())
    assert (view.talk.count("groma-answer"), view.question) == (1, "Describe")
    view = tab.undo("me", Drawing(drawing.picture, (POINT,)), Settings())
    assert (view.question, view.drawing.regions) == ("What is [1]?", ([*BOX], SCRIBBLE, POINT))
    assert view.shown["next"] == 1
    assert "no question" in tab.undo("me", drawing, Settings()).warning


def test_any_question_can_be_asked_anew(tab: ChatTab, drawing: Drawing) -> None:
    drawing = opened(tab, drawing)
    for question in ("What is [1]?", "Describe", "How many?"):
        ask(tab, Drawing(drawing.picture, (BOX,) if "1" in question else ()), question)
    said = tab.sessions.get("me").conversation
    for place in (-1, 3):
        assert "no such question" in tab.rewrite("me", drawing, place, Settings()).warning
    view = tab.rewrite("me", drawing, 1, Settings())
    assert (view.question, view.talk.count("groma-answer")) == ("Describe", 1)
    assert REWRITTEN.format(2) in view.talk
    view = tab.restore("me", drawing, Settings())
    assert view.talk.count("groma-answer") == 3
    assert tab.sessions.get("me").conversation == said
    assert ask(tab, drawing, "Where?")[-1].talk.count("groma-answer") == 4


@pytest.mark.parametrize("change", ["clear", "open", "switch"])
def test_what_replaced_a_talk_can_be_undone(tab: ChatTab, drawing: Drawing, change: str) -> None:
    drawing = opened(tab, drawing)
    ask(tab, Drawing(drawing.picture, (BOX,)), "What is [1]?")
    before = tab.redraw("me", Settings())
    drawn = Drawing(drawing.picture, (POINT,))
    if change == "clear":
        view = tab.clear("me", drawn, Settings())
        assert view.drawing.regions == ()
        assert len(view.shown["proposals"]) == 3
    elif change == "open":
        view = tab.open("me", drawing, Settings())
    else:
        *_, view = tab.switch("me", drawn, "other", Settings())
    assert "data-restore" in view.talk
    assert "groma-answer" not in view.talk
    view = tab.restore("me", drawing, Settings())
    assert (view.shown, view.talk.count("groma-answer")) == (before.shown, 1)
    assert view.drawing == (drawing if change == "open" else drawn)
    assert tab.sessions.get("me").model == "mini"
    assert "nothing to bring back" in tab.restore("me", drawing, Settings()).warning
    assert ask(tab, drawing, "How many?")[-1].talk.count("groma-answer") == 2


def test_former_talks_are_few_and_every_one_can_be_chosen(tab: ChatTab, drawing: Drawing) -> None:
    opened(tab, drawing)
    questions = [f"Describe {number}" for number in range(MOST_FORMER + 2)]
    for question in questions:
        ask(tab, drawing, question, max_new_tokens=64)
        tab.clear("me", Drawing(drawing.picture, (POINT,)), Settings())
    session = tab.sessions.get("me")
    first = [talk.turns[0].question for talk in session.former.values()]
    assert first == questions[-MOST_FORMER:]
    ask(tab, drawing, "How many?")
    key = next(iter(session.former))
    view = tab.restore("me", Drawing(drawing.picture, (BOX,)), Settings(), key)
    assert view.drawing.regions == (POINT,)
    assert questions[-MOST_FORMER] in view.talk
    assert session.settings["max_new_tokens"] == 64
    assert (len(session.former), key in session.former) == (MOST_FORMER, False)
    *_, last = session.former.values()
    assert (last.turns[0].question, last.drawn) == ("How many?", (BOX,))
    assert "nothing to bring back" in tab.restore("me", drawing, Settings(), key).warning
    assert tab.sessions.get("somebody else").former == {}


def test_nothing_is_kept_of_a_talk_without_words(tab: ChatTab, drawing: Drawing) -> None:
    opened(tab, drawing)
    assert "data-restore" not in tab.clear("me", drawing, Settings()).talk
    assert "nothing to bring back" in tab.restore("me", drawing, Settings()).warning


@pytest.mark.parametrize("shape", [POINT, SCRIBBLE, LASSO, MASK])
def test_what_was_drawn_is_shown_as_it_was_drawn(
    tab: ChatTab, drawing: Drawing, shape: dict
) -> None:
    drawing = opened(tab, drawing)
    for view in ask(tab, Drawing(drawing.picture, (BOX, shape)), "What is [2]?"):
        shown = {region["key"]: region["shape"] for region in (view.shown or {}).get("regions", ())}
        assert not shown or (shown["u1"], shown["u2"]) == (None, shape)


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ({"scribble": [[[1, 2]] * 10_000]}, "Region 1: It has more than 2,000 points."),
        ({"scribble": [[[1, 2]]] * 10_000}, "Region 1: A scribble must be a list of 1 to 100"),
        ({"point": [9999, 1]}, "Region 1: It lies outside the picture."),
        ({"point": ["a", None]}, "Region 1: A point must be two numbers"),
        ({"star": []}, "Region 1: A region must be a box"),
        ((1.0, 2.0, float("inf"), 4.0), "Box 1"),
    ],
)
def test_a_wrong_shape_is_one_sentence_and_the_question_stays(
    tab: ChatTab, drawing: Drawing, shape: Any, told: str
) -> None:
    drawn = Drawing(opened(tab, drawing).picture, (shape,))
    (view,) = ask(tab, drawn, "What is [1]?")
    assert view.warning.startswith(told)
    assert (view.question, view.drawing) == ("What is [1]?", drawn)


def test_a_picture_is_looked_at_as_closely_as_the_settings_say(
    tab: ChatTab, drawing: Drawing
) -> None:
    def tiles() -> int:
        seen = tab.sessions.get("me").chat.image.tiles
        return 0 if seen is None else len(seen.windows)

    opened(tab, drawing)
    assert tiles() == 0
    assert len(tab.redraw("me", Settings(detail=2)).shown["proposals"]) == 3
    assert tiles() == 4
    before = keys(ask(tab, drawing, detail=2)[-1])
    assert tiles() == 4
    # Looked at anew in the middle of a talk, which goes on with the names it has.
    assert keys(ask(tab, drawing, detail=3)[-1]) == before
    assert tiles() == 9
    assert len(tab.sessions.get("me").conversation.turns) == 2
    tab.undo("me", Settings())
    assert tiles() == 9
    assert "detail must be one of" in ask(tab, drawing, detail=7)[-1].warning
    assert tab.open("me", drawing, Settings(detail="auto")).warning is None
    assert tiles() == 9
    line = describe(tab.sessions)
    assert "tiles" not in line
    session = tab.sessions.get("me")
    tab.sessions.peek = lambda _: session
    assert "looked at in 3 x 3 tiles as well" in describe(tab.sessions)


def test_settings_change_what_is_shown(tab: ChatTab, drawing: Drawing) -> None:
    opened(tab, drawing)
    assert len(tab.redraw("me", Settings(score_threshold=0.75)).shown["proposals"]) == 2
    ask(tab, drawing)
    assert "groma-uncertain" in tab.redraw("me", Settings(certain=1.0)).talk
    assert "groma-uncertain" not in tab.redraw("me", Settings(certain=0.0)).talk
    assert tab.redraw("nobody", Settings()) == View()


def test_a_picture_that_the_session_lacks_is_opened_with_the_question(
    tab: ChatTab, drawing: Drawing
) -> None:
    view = ask(tab, drawing)[-1]
    assert view.warning is None
    assert keys(view) == {"r0", "r1", "r2"}


def test_a_forgotten_talk_is_told_and_the_question_stays(drawing: Drawing) -> None:
    now = [0.0]
    tab = ChatTab(
        Sessions(Models("mini", ScriptedGroma()), 10**9, lifetime=60, clock=lambda: now[0])
    )
    ask(tab, opened(tab, drawing))
    now[0] = 100.0
    told = "left alone for too long"
    assert told in tab.undo("me", drawing, Settings()).warning
    assert told in tab.clear("me", drawing, Settings()).warning
    assert told in list(tab.regenerate("me", Settings()))[-1].warning
    assert tab.redraw("me", Settings()) == View()
    (view,) = ask(tab, drawing, "How many?")
    assert (view.warning, view.question, view.drawing) == (BEGUN_ANEW, "How many?", drawing)
    assert "groma-answer" not in view.talk
    assert view.is_answering is False
    assert ask(tab, drawing, "How many?")[-1].warning is None
    now[0] = 200.0
    assert NEW_TALK in tab.resume("me", drawing.picture, None, Settings()).talk


def come_back(tab: ChatTab, ticket: str, question: str = "", boxes: tuple[Box, ...] = ()) -> View:
    return tab.come_back("later", Drawing(regions=boxes), question, ticket, Settings())


def test_who_comes_back_sees_the_talk_and_what_was_not_asked(
    tab: ChatTab, drawing: Drawing
) -> None:
    ask(tab, Drawing(opened(tab, drawing).picture, (BOX,)), "What is [1]?")
    before = tab.redraw("me", Settings())
    other = (10.0, 10.0, 60.0, 60.0)
    view = come_back(tab, tab.sessions.ticket("me"), "And [2]?", (other,))
    assert (view.talk, view.shown) == (before.talk, before.shown)
    assert view.drawing == Drawing(drawing.picture, (other,))
    assert (view.question, view.warning) == ("And [2]?", None)
    views = list(tab.ask("later", view.drawing, view.question, Settings()))
    assert views[-1].talk.count("groma-answer") == 2
    assert tab.undo("later", drawing, Settings()).talk == before.talk
    assert come_back(tab, tab.sessions.ticket("me")).question is None


def test_who_has_no_talk_to_come_back_to_gets_a_ticket(tab: ChatTab, drawing: Drawing) -> None:
    view = come_back(tab, "nonsense", "What is it?", (BOX,))
    assert view == View(question="What is it?", ticket=tab.sessions.ticket("later"))
    tab.open("later", drawing, Settings())
    again = tab.come_back("last", Drawing(), "", view.ticket, Settings())
    assert again.drawing == drawing


def test_a_talk_or_a_picture_that_is_no_more_is_told_to_who_comes_back(drawing: Drawing) -> None:
    now = [0.0]
    tab = ChatTab(
        Sessions(Models("mini", ScriptedGroma()), 10**9, lifetime=60, clock=lambda: now[0])
    )
    ask(tab, opened(tab, drawing))
    ticket = tab.sessions.ticket("me")
    drawing.picture.unlink()
    assert come_back(tab, ticket).warning == "The picture is gone; please choose it again."
    now[0] = 100.0
    view = come_back(tab, ticket, question="How many?")
    assert "left alone for too long" in view.warning
    assert (view.talk, view.drawing, view.question) == (None, None, "How many?")
    assert view.ticket == tab.sessions.ticket("later")


def test_an_example_or_a_saved_talk_says_that_it_is_a_new_one(
    tab: ChatTab, drawing: Drawing
) -> None:
    assert NEW_TALK not in tab.resume("me", drawing.picture, None, Settings()).talk
    assert NEW_TALK not in tab.resume("me", drawing.picture, None, Settings()).talk
    ask(tab, drawing)
    saved = tab.sessions.get("me").conversation
    assert NEW_TALK in tab.resume("me", drawing.picture, None, Settings(), "Where?").talk
    ask(tab, drawing)
    view = tab.resume("me", drawing.picture, saved, Settings())
    assert NEW_TALK in view.talk
    assert view.talk.count("groma-answer") == 1


def test_a_region_that_there_is_not_loses_nothing(tab: ChatTab, drawing: Drawing) -> None:
    drawn = Drawing(opened(tab, drawing).picture, (BOX,))
    view = ask(tab, drawn, "What is [7]?")[-1]
    assert view.warning == "There is no region [7]; draw it, or name [1]."
    assert (view.question, view.drawing) == ("What is [7]?", drawn)
    assert tab.sessions.get("me").conversation.turns == ()


ACTIONS = {
    "open": lambda tab, drawing: tab.open("me", drawing, Settings()),
    "resume": lambda tab, drawing: tab.resume("me", drawing.picture, None, Settings()),
    "undo": lambda tab, drawing: tab.undo("me", drawing, Settings()),
    "rewrite": lambda tab, drawing: tab.rewrite("me", drawing, 0, Settings()),
    "clear": lambda tab, drawing: tab.clear("me", drawing, Settings()),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (torch.OutOfMemoryError("2 GiB of /secret"), "The GPU's memory is full"),
        (RuntimeError("/secret"), UNFORESEEN),
    ],
)
def test_whatever_fails_is_one_sentence_and_the_talk_stays(
    tab: ChatTab,
    drawing: Drawing,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    error: Exception,
    sentence: str,
) -> None:
    ask(tab, opened(tab, drawing))
    tab.sessions.free()

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr("groma.chat.chat.Groma.encode_image", fail)
        patch.setattr(ScriptedGroma, "encode_image", fail)
        view = ACTIONS[action](tab, drawing)
    assert view.warning.startswith(sentence)
    assert "secret" not in view.warning
    assert view.talk is None
    assert len(tab.sessions.get("me").conversation.turns) == 1
    assert ask(tab, drawing)[-1].warning is None


def test_other_settings_that_do_not_fit_in_memory_are_one_sentence(
    tab: ChatTab, drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    opened(tab, drawing)
    monkeypatch.setattr(ScriptedGroma, "regions", fail)
    assert "memory is full" in tab.redraw("me", Settings()).warning
    monkeypatch.undo()
    assert tab.redraw("me", Settings()).warning is None


def test_model_markup_is_escaped(tab: ChatTab, drawing: Drawing) -> None:
    view = ask(tab, opened(tab, drawing), "show markup")[-1]
    assert "<img" not in view.talk
    assert "&lt;img" in view.talk


def test_two_tabs(tab: ChatTab, drawing: Drawing) -> None:
    ask(tab, opened(tab, drawing))
    other = tab.open("you", drawing, Settings())
    assert "groma-answer" not in other.talk
    assert BALL in {tuple(p["box"]) for p in other.shown["proposals"]}


def switch(tab: ChatTab, drawing: Drawing, model: str, who: str = "me") -> View:
    *_, last = tab.switch(who, drawing, model, Settings(score_threshold=0.15, max_regions=100))
    assert last.coming == ""
    return last


def test_another_model_begins_a_new_talk_with_the_same_boxes(
    tab: ChatTab, drawing: Drawing
) -> None:
    later = (10.0, 10.0, 60.0, 60.0)
    ask(tab, Drawing(opened(tab, drawing).picture, (BOX,)), "What is [1]?")
    drawn = Drawing(drawing.picture, (later,))
    first, last = tab.switch("me", drawn, "other", Settings(score_threshold=0.15))
    assert first == View(coming="other")
    assert OTHER_MODEL.format("other") in last.talk
    assert last.drawing == Drawing(drawing.picture, ([*BOX], later))
    assert (last.question, last.warning, last.shown["next"]) == (None, None, 1)
    # Its own threshold, not that of the model before.
    assert [proposal["key"] for proposal in last.shown["proposals"]] == ["r0", "r1"]
    session = tab.sessions.get("me")
    assert (session.model, session.conversation.turns) == ("other", ())
    assert tab.sessions.answering(session) is tab.sessions.models.get("other")
    assert ask(tab, last.drawing, "What is [2]?")[-1].shown["next"] == 3
    assert tab.sessions.get("you").model == "mini"


def test_a_note_stays_until_something_is_said(tab: ChatTab, drawing: Drawing) -> None:
    opened(tab, drawing)
    switch(tab, drawing, "other")
    assert tab.redraw("me", Settings()).talk is None


def test_the_model_comes_back_with_the_page_even_without_a_picture(
    tab: ChatTab, drawing: Drawing
) -> None:
    assert switch(tab, Drawing(), "other") == View(coming="")
    assert come_back(tab, tab.sessions.ticket("me")).drawing is None
    assert tab.sessions.peek("later").model == "other"
    tab.open("later", drawing, Settings())
    assert tab.sessions.answering(tab.sessions.get("later")) is tab.sessions.models.get("other")


@pytest.mark.parametrize(
    ("model", "sentence"), [("broken", "broken is damaged."), ("../etc", "no such model")]
)
def test_a_model_that_cannot_answer_leaves_the_old_one_and_its_talk(
    tab: ChatTab, drawing: Drawing, model: str, sentence: str
) -> None:
    ask(tab, opened(tab, drawing))
    view = switch(tab, drawing, model)
    assert sentence in view.warning
    assert "somewhere" not in view.warning
    assert (view.talk, view.drawing) == (None, None)
    assert tab.sessions.get("me").model == "mini"
    assert ask(tab, drawing)[-1].talk.count("groma-answer") == 2


def test_a_picture_that_is_gone_leaves_the_old_model(tab: ChatTab, drawing: Drawing) -> None:
    ask(tab, opened(tab, drawing))
    drawing.picture.unlink()
    assert "picture is gone" in switch(tab, drawing, "other").warning
    assert tab.sessions.get("me").model == "mini"


def test_the_same_model_changes_nothing(tab: ChatTab, drawing: Drawing) -> None:
    ask(tab, opened(tab, drawing))
    assert switch(tab, drawing, "mini") == View(coming="")
    assert len(tab.sessions.get("me").conversation.turns) == 1
