"""Examples that are made by hand, without a browser."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.canvas.region_canvas import Drawing
from app.chat.chat_tab import ChatTab, Settings
from app.finetune.example_canvas import ExampleCanvas, ExampleValue
from app.finetune.finetune_html import render_made
from app.finetune.own_examples import Draft, OwnSet
from app.shared.error_border import without_folders
from app.shared.models_at_hand import Models
from app.shared.sessions import Sessions
from groma.data.sample import GroundedSample, Mention, Phrase
from groma.instruction_sets.readers.reading import read_set
from groma.instruction_sets.readers.set_items import to_samples
from groma.types import GromaError
from tests.app.scripted import BALL, DOG, SIZE, ScriptedGroma, picture


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    picture().save(tmp_path / "scene.png")
    answer = ("The ", Phrase("dog & <p>", (1,)), " and ", Phrase("both 🐕", (1, 0)), ". ")
    return Draft(tmp_path / "scene.png", (BALL, DOG), " What is [1], <roi>? ", answer)


@pytest.fixture
def own():
    own = OwnSet()
    folders: list[Path | None] = []

    class Watched(OwnSet):
        def keep(self, draft: Draft) -> OwnSet:
            kept = super().keep(draft)
            folders.append(kept.folder)
            return kept

    yield Watched(**vars(own))
    for folder in folders:
        OwnSet(folder).close()
        assert folder is not None
        assert not folder.exists()


def learnt(own: OwnSet) -> list[GroundedSample]:
    """What training reads of a set."""
    assert own.folder is not None
    return to_samples(read_set(own.folder))


def test_what_is_kept_is_what_is_learnt(own: OwnSet, draft: Draft) -> None:
    own = own.keep(draft)
    (sample,) = learnt(own)
    (turn,) = sample.turns
    assert turn.question == ("What is ", Mention(0), ", <roi>?")
    assert turn.answer == (*draft.answer[:-1], ".")
    height, width = sample.size
    pixels = [
        tuple(side * (width, height)[i % 2] for i, side in enumerate(box)) for box in sample.boxes
    ]
    assert [pytest.approx(box, abs=1e-2) for box in (BALL, DOG)] == pixels
    zipped = own.pack()
    assert own.pack() == zipped
    unzipped = to_samples(read_set(zipped, folder=zipped.parent / "again"))
    assert [replace(one, picture="") for one in unzipped] == [replace(sample, picture="")]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"picture": None}, "open a picture"),
        ({"picture": Path("gone.png")}, "picture is gone"),
        ({"question": " "}, "write a question"),
        ({"answer": (" ",)}, "write the answer"),
        ({"question": "[3]?"}, r"speaks of \[3\], but there are 2 boxes only"),
        ({"question": "Where?", "answer": (Phrase("it", (0,)),)}, "Box 2 means nothing yet"),
        ({"boxes": (), "question": "Where?"}, "a box that is gone"),
        ({"boxes": (BALL, (5.0, 5.0, 5.0, 5.0))}, "Box 2"),
    ],
)
def test_mistakes_are_a_sentence_and_change_nothing(
    own: OwnSet, draft: Draft, changes: dict, sentence: str
) -> None:
    kept = own.keep(draft)
    before = learnt(kept)
    with pytest.raises(GromaError, match=sentence):
        kept.keep(replace(draft, **changes))
    assert learnt(kept) == before


def test_examples_are_edited_and_deleted_one_by_one(own: OwnSet, draft: Draft) -> None:
    other = replace(draft, question="Is this [1] <b>bad</b>?", boxes=(DOG, BALL))
    own = own.keep(draft).keep(other).keep(draft)
    assert own.folder is not None
    assert len(list(own.folder.glob("*.png"))) == 1
    html = render_made(own)
    assert html.count("<svg") == html.count("data-edit") == 3
    assert "<b>bad" not in html
    own = own.edit(Draft(draft.picture), 2)
    assert (own.loaded.content, own.editing) == (other.content, 2)
    assert "being edited" in render_made(own)
    with pytest.raises(GromaError, match="being edited"):
        own.delete(2)
    own = own.keep(replace(own.loaded, question="What is [1]?"))
    assert own.editing is None
    own = own.delete(1)
    assert [kept.number for kept in own.examples] == [2, 3]
    assert [sample.turns[0].question[0] for sample in learnt(own)] == ["What is "] * 2
    for action in (own.delete, lambda number: own.edit(Draft(), number)):
        for wrong in (1, None, "2"):
            with pytest.raises(GromaError, match="gone already"):
                action(wrong)


def test_a_copy_lives_on_alone(own: OwnSet, draft: Draft) -> None:
    own = own.keep(draft).keep(replace(draft, question="And [1]?"))
    copy = own.edit(Draft(), 1).copy()
    assert (copy.editing, copy.loaded) == (None, Draft())
    assert len(learnt(own.delete(1))) == 1
    before = learnt(copy)
    own.close()
    assert len(before) == len(learnt(copy)) == 2
    first = copy.examples[0].draft
    assert first.picture is not None
    assert first.picture.is_file()
    assert len(learnt(copy.edit(Draft(), 1).keep(replace(first, question="Or [1]?")))) == 2
    copy.close()
    assert OwnSet().copy() == OwnSet()


def test_work_that_nobody_kept_is_never_replaced(own: OwnSet, draft: Draft) -> None:
    own = own.keep(draft).keep(draft)
    with pytest.raises(GromaError, match="keep or discard"):
        own.edit(Draft(question="Half a"), 1)
    own = own.edit(Draft(), 1)
    assert own.edit(own.loaded, 2).editing == 2
    with pytest.raises(GromaError, match="keep or discard"):
        own.edit(replace(own.loaded, boxes=(DOG, DOG)), 2)
    assert own.discard().edit(Draft(draft.picture), 2).editing == 2


def test_the_last_answer_of_a_talk_is_corrected(own: OwnSet, draft: Draft) -> None:
    tab = ChatTab(Sessions(Models("mini", ScriptedGroma()), budget=10**9))
    session = tab.sessions.get("me")
    with pytest.raises(GromaError, match="no answer yet"):
        own.correct(Draft(), session.picture, session.conversation)
    assert draft.picture is not None
    for boxes, question in (((DOG,), "What is [1]?"), ((BALL,), "Describe [2] beside [1].")):
        list(tab.ask("me", Drawing(draft.picture, boxes), question, Settings()))
    own = own.correct(Draft(), session.picture, session.conversation)
    loaded = own.loaded
    assert loaded.question == "Describe [1] beside [2]."
    assert own.from_chat
    assert [piece.text for piece in loaded.answer if isinstance(piece, Phrase)] == [
        "a brown dog",
        "a red ball",
        "a tree",
    ]
    assert loaded.boxes[:2] == (pytest.approx(BALL), pytest.approx(DOG))
    with pytest.raises(GromaError, match="keep or discard"):
        own.correct(replace(loaded, question="?"), session.picture, session.conversation)
    moved = (*loaded.boxes[:-1], (440.0, 40.0, 600.0, 380.0))
    kept = own.keep(replace(loaded, boxes=moved))
    (sample,) = learnt(kept)
    assert not kept.from_chat
    x1, *_ = sample.boxes[-1]
    assert x1 * SIZE[0] == pytest.approx(440, abs=1e-2)
    assert sample.turns[-1].grounding


def test_what_was_said_before_stays_in_the_example(own: OwnSet, draft: Draft) -> None:
    tab = ChatTab(Sessions(Models("mini", ScriptedGroma()), budget=10**9))
    session = tab.sessions.get("me")
    assert draft.picture is not None
    for boxes, question in (((BALL, DOG), "What is [2]?"), ((), "Describe [2].")):
        list(tab.ask("me", Drawing(draft.picture, boxes), question, Settings()))
    own = own.correct(Draft(), session.picture, session.conversation)
    loaded = own.loaded
    canvas = ExampleCanvas()
    sent = ExampleValue.model_validate_json(canvas.postprocess(loaded).model_dump_json())
    (earlier,) = sent.earlier
    assert (earlier.question, earlier.answer) == ("What is [1]?", "This is the thing you mean.")
    back = canvas.preprocess(sent)
    assert (back.content, back.earlier) == (loaded.content, None)
    (sample,) = learnt(own.keep(back))
    first, last = sample.turns
    assert first.question == ("What is ", Mention(0), "?")
    assert last.question == ("Describe ", Mention(0), ".")  # the same box, not one like it
    assert len(sample.boxes) == 2
    kept = own.keep(back)
    assert "after 1 earlier turn<" in render_made(kept)
    assert kept.edit(Draft(), 1).loaded.has_earlier
    alone = own.keep(replace(back, has_earlier=False))
    (sample,) = learnt(alone)
    assert len(sample.turns) == 1
    assert "earlier" not in render_made(alone)


def test_any_answer_of_a_talk_is_corrected(own: OwnSet, draft: Draft) -> None:
    tab = ChatTab(Sessions(Models("mini", ScriptedGroma()), budget=10**9))
    session = tab.sessions.get("me")
    assert draft.picture is not None
    for boxes, question in (((BALL, DOG), "What is [2]?"), ((), "Describe [2]."), ((), "And [1]?")):
        list(tab.ask("me", Drawing(draft.picture, boxes), question, Settings()))
    for place, question, earlier in ((0, "What is [1]?", 0), (1, "Describe [1].", 1)):
        loaded = own.correct(Draft(), session.picture, session.conversation, place).loaded
        assert loaded.question == question
        assert loaded.boxes[0] == pytest.approx(DOG)
        assert len(loaded.earlier.turns if loaded.earlier else ()) == earlier
    for gone in (3, -2, None, "1", 0.5):
        with pytest.raises(GromaError, match="gone already"):
            own.correct(Draft(), session.picture, session.conversation, gone)


def test_the_workbench_goes_round(draft: Draft) -> None:
    canvas = ExampleCanvas()
    for one in (draft, replace(draft, grounding=False), Draft()):
        sent = ExampleValue.model_validate_json(canvas.postprocess(one).model_dump_json())
        assert canvas.preprocess(sent) == one
    assert canvas.preprocess(None) == Draft()
    assert not any(mark in canvas.html_template for mark in ("${", "{{", "`", "\\"))


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("/srv/my models/mini exists already.", "mini exists already."),
        ("The picture 'C:\\data\\x y\\a.png' is missing.", "The picture 'a.png' is missing."),
        ("Give 1/2 and/or https://a.org/b/c.", "Give 1/2 and/or https://a.org/b/c."),
    ],
)
def test_no_sentence_tells_where_a_file_is(sentence: str, said: str) -> None:
    assert without_folders(sentence) == said
