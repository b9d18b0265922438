"""What writers may write: notation, quality, templates, prompts."""

import base64
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from groma.data.sample import QA, Mention, Phrase
from groma.data.sources.groma_instruct import parse_item
from groma.endpoint import ChatEndpoint, Message
from groma.instruct.conversation_maker import to_item
from groma.instruct.described_pictures import Material
from groma.instruct.draft_faults import Complaint, QualityRules, find_faults
from groma.instruct.draft_notation import (
    BrokenDraftError,
    _read_turn,
    read_conversation,
    read_draft,
    write_conversation,
    write_draft,
)
from groma.instruct.endpoint_writer import (
    _EXAMPLES,
    _INSTRUCTIONS,
    EndpointWriter,
    Estimate,
    _build_messages,
    _count_tokens,
)
from groma.instruct.template_writer import TemplateWriter
from tests.groma.instruct.fake_server import GOOD, completion, serving

BOXES = ((0.1, 0.1, 0.3, 0.3), (0.5, 0.1, 0.9, 0.4), (0.2, 0.6, 0.8, 0.9), (0.0, 0.5, 0.1, 0.6))


def test_notation_says_what_is_pointed_at() -> None:
    turn = _read_turn("What does  <3> do near <1>?", "[Two  dogs](1, 2) watch [it](3).", 3)
    assert turn.question == ("What does ", Mention(2), " do near ", Mention(0), "?")
    assert turn.answer == (Phrase("Two dogs", (0, 1)), " watch ", Phrase("it", (2,)), ".")
    assert turn.grounding
    assert not _read_turn("Why?", "Nobody knows (3).", 3).grounding


WORDS = st.text("abc ',.?-éß", min_size=1, max_size=12).map(str.strip).filter(bool)
MENTIONS = st.integers(0, 3).map(Mention)
PHRASES = st.builds(Phrase, WORDS, st.lists(st.integers(0, 3), min_size=1, unique=True).map(tuple))


def pieces(pointing: st.SearchStrategy) -> st.SearchStrategy:
    """Words and what points, in turns."""
    pairs = st.lists(st.tuples(WORDS.map(lambda text: f"{text} "), pointing), max_size=3)
    return st.tuples(pairs, WORDS).map(
        lambda drawn: (
            (*(piece for pair in drawn[0] for piece in pair), f" {drawn[1]}")
            if drawn[0]
            else (drawn[1],)
        )
    )


@settings(max_examples=50)
@given(st.lists(st.tuples(pieces(MENTIONS), pieces(PHRASES)), min_size=1, max_size=4))
def test_what_is_written_is_read(rounds: list) -> None:
    def turn(question: tuple, answer: tuple) -> QA:
        grounded = any(isinstance(piece, Phrase) for piece in answer)
        squeezed = [
            tuple(
                replace(piece, text=" ".join(piece.text.split()))
                if isinstance(piece, Phrase)
                else piece
                for piece in part
            )
            for part in (question, answer)
        ]
        return QA(squeezed[0], squeezed[1], kind="instruct", grounding=grounded)

    turns = tuple(turn(*each) for each in rounds)
    for write, read in ((write_draft, read_draft), (write_conversation, read_conversation)):
        found = read(write(turns), 4)
        assert read(write(found), 4) == found
        assert [write_draft([a]).split() for a in found] == [
            write_draft([a]).split() for a in turns
        ]


@pytest.mark.parametrize(
    ("draft", "reason"),
    [
        ("Of course!", "not JSON"),
        ("[" * 5000, "not JSON"),
        (f"Here: {json.dumps(GOOD)}", "not JSON"),
        (json.dumps(GOOD["conversation"]), "no object"),
        (json.dumps(GOOD | {"note": 1}), "no object"),
        ('{"conversation": {}}', "no list"),
        ('{"conversation": [{"question": "?"}]}', "no list"),
        ('{"conversation": [{"question": "?", "answer": 3}]}', "no list"),
        ('{"conversation": [{"question": "", "answer": "Yes."}]}', "empty"),
        ('{"conversation": [{"question": "What is <5>?", "answer": "A dog."}]}', "no mark 5"),
        ('{"conversation": [{"question": "What is [a dog](1)?", "answer": "Yes."}]}', "nothing"),
        ('{"conversation": [{"question": "What?", "answer": "It is <1>."}]}', "nothing"),
        ('{"conversation": [{"question": "What?", "answer": "See [3]."}]}', "nothing"),
        ('{"conversation": [{"question": "What?", "answer": "A [dog](one)."}]}', "nothing"),
        ('{"conversation": [{"question": "What?", "answer": "A [](1)."}]}', "No words"),
        ('{"conversation": [{"question": "What?", "answer": "<p>dog</p>"}]}', "nothing"),
    ],
)
def test_other_drafts_are_refused_with_a_reason(draft: str, reason: str) -> None:
    with pytest.raises(BrokenDraftError, match=reason):
        read_draft(draft, 4)


@pytest.mark.parametrize(
    "text", ["hello", "Q: One?", "A: 1\nQ: 2", "Q: 1\nQ: 2\nA: 3", "x\nQ: a\nA: b"]
)
def test_edited_text_must_keep_its_turns(text: str) -> None:
    with pytest.raises(BrokenDraftError):
        read_conversation(text, 4)


def test_examples_are_as_good_as_they_ask_for() -> None:
    for example in _EXAMPLES:
        turns = read_draft(example.draft, len(example.material.boxes))
        assert find_faults(turns, example.material.boxes, QualityRules()) == ()
        assert len(parse_item(to_item(example.material, turns)).turns) == len(turns)


def faults(*answers: str, question: str = "What is <1>?") -> str:
    """What is wrong with a conversation that is good but for these answers."""
    good = [*read_draft(json.dumps(GOOD), 4)]
    changed = [
        _read_turn(question if i == 0 else f"Question {'I' * i}?", answer, 4)
        for i, answer in enumerate(answers)
    ]
    return " ".join(find_faults([*changed, *good[len(changed) :]], BOXES, QualityRules()))


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("[Three dogs](1, 2) run.", "does not mean 2 regions"),
        ("[A dog](1, 2) runs.", "does not mean 2 regions"),
        ("[Both](1, 2, 3) run.", "does not mean 3 regions"),
        ("[...](1) runs.", "no words"),
        ("[A dog. It runs](1).", "more than a name"),
        ("[a b c d e f g h i j k](1)", "more than 10 words"),
        ("This is region 3, [a dog](1).", "speaks of"),
        ("The bounding box holds [a dog](1).", "speaks of"),
        ("According to the description, [a dog](1).", "speaks of"),
        ("As an AI I see [a dog](1).", "declines"),
        ("I'm sorry, but [it](1) is dark.", "declines"),
        ("word " * 151, "more than 150 words"),
        ("?!", "no words"),
        ("[A dog](2) is to the left of [a cat](1).", "deny"),
        ("[A dog](1) is on the right of [a cat](2).", "deny"),
        ("[A dog](3) stands above [a cat](1).", "deny"),
    ],
)
def test_faults_are_found(answer: str, fault: str) -> None:
    assert fault in faults(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "[A dog](1) is to the left of [a cat](2).",
        "[A dog](1) stands above [a cat](3).",
        "[A pair of shoes](1) and [a cup and a plate](2, 3).",
        "[Two dogs](1, 2), [dogs](1, 2, 3), [one](4), [two eggs](3).",
        "There are tyre marks on [the road](2), labelled bottles and a box of tea.",
    ],
)
def test_good_answers_have_no_faults(answer: str) -> None:
    assert faults(answer) == ""


def test_whole_conversations_are_judged() -> None:
    turns = read_draft(json.dumps(GOOD), 4)
    assert "2 rounds" in " ".join(find_faults(turns[:2], BOXES, QualityRules()))
    assert "asked twice" in " ".join(find_faults([*turns, turns[0]], BOXES, QualityRules()))
    assert "given twice" in faults(*["[This](1) is the answer."] * 2)
    dull = [_read_turn(f"Why {'so ' * n}?", f"Because {n}.", 4) for n in range(3)]
    assert "Fewer than 50%" in " ".join(find_faults([*dull, turns[0]], BOXES, QualityRules()))
    assert "fewer than 2 different" in " ".join(find_faults(dull, BOXES, QualityRules()))
    # Asking the same of other regions is another question.
    asked = [_read_turn(f"What is <{n}>?", f"[Thing {'x' * n}]({n})", 4) for n in (1, 2, 3)]
    assert find_faults(asked, BOXES, QualityRules()) == ()


MATERIAL = Material(
    "park/1.jpg",
    (480, 640),
    BOXES,
    (
        ("a brown dog",),
        ("The KITE is flying high, above the trees.",),
        ("long green grass — wet",),
        ("<weird>", "a ball"),
    ),
    ("A dog plays in the park.",),
    (("What season is it?", "Summer."),),
)


@given(st.integers(0, 999), st.integers(3, 5), st.integers(0, 1))
def test_templates_write_what_is_true_and_good(seed: int, rounds: int, refused: int) -> None:
    complaints = (Complaint("", ("bad",)),) * refused
    draft = TemplateWriter(seed).write(MATERIAL, rounds, complaints)
    assert draft == TemplateWriter(seed).write(MATERIAL, rounds, complaints)
    turns = read_draft(draft, 4)
    assert len(turns) == rounds
    assert find_faults(turns, BOXES, QualityRules()) == ()
    names = {0: "a brown dog", 1: "the KITE", 2: "long green grass", 3: "a ball"}
    for turn in turns:
        for piece in turn.answer:
            if isinstance(piece, Phrase):
                (region,) = piece.regions
                assert piece.text.casefold() == names[region].casefold()
    assert "weird" not in draft


def test_templates_leave_out_what_two_regions_are_called() -> None:
    alike = replace(MATERIAL, descriptions=(("a dog",), ("A dog",), ("a cat",), ()), captions=())
    for seed in range(20):
        assert "dog" not in TemplateWriter(seed).write(alike, 5)


def test_the_prompt_shows_marks_and_notes_and_complaints() -> None:
    image = Image.new("RGB", (320, 240), "white")
    complaint = Complaint('{"x": 1}', ("It has 2 rounds.", "No."))
    messages = _build_messages(MATERIAL, image, 4, (complaint,))
    roles = [message["role"] for message in messages]
    assert roles == ["system", *["user", "assistant"] * len(_EXAMPLES), "user", "assistant", "user"]
    assert messages[0]["content"] == _INSTRUCTIONS
    picture, text = messages[-3]["content"]
    assert picture["image_url"]["url"].startswith("data:image/jpeg;base64,")
    said = text["text"]
    assert "1 (10-30% from the left, 10-30% from the top): a brown dog" in said
    for part in ("A dog plays in the park.", "What season is it? Summer.", "Write 4 questions"):
        assert part in said
    assert messages[-2]["content"] == complaint.draft
    assert "It has 2 rounds." in messages[-1]["content"]
    assert _build_messages(MATERIAL, image, 4) == messages[:-2]


def pictured(size: tuple[int, int]) -> Message:
    file = BytesIO()
    Image.new("RGB", size).save(file, "JPEG")
    url = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    said = {"type": "text", "text": "1234" * 10}
    return {"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}, said]}


def test_estimates() -> None:
    assert _count_tokens([pictured((9, 9))]) == 4 + 10 + 85 + 170
    assert _count_tokens([pictured((600, 9))]) == 4 + 10 + 85 + 340
    assert _count_tokens([{"role": "user", "content": "12345"}]) == 4 + 2
    total = Estimate.total([Estimate(1, 269, 100), Estimate(1, 439, 100)])
    assert total == Estimate(2, 269 + 439, 200)
    assert total.cost(2.0, 10.0) == pytest.approx((708 * 2 + 200 * 10) / 1e6)
    assert total.scaled(2.5).requests == 5
    assert Estimate.total([]) == Estimate(0, 0, 0)


def test_what_is_on_disk_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "park").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "park" / "1.jpg")
    with serving(lambda *_: completion("Hi.")) as server:
        endpoint = ChatEndpoint(server.url, "m", tmp_path, settings={"max_tokens": 100})
        writer = EndpointWriter(endpoint, tmp_path)
        before = writer.estimate(MATERIAL, 3)
        assert (before.requests, before.output_tokens) == (1, 100)
        assert before.input_tokens > 600
        writer.write(MATERIAL, 3)
        assert writer.estimate(MATERIAL, 3) == Estimate(0, 0, 0)
