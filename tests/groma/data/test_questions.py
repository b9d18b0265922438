from collections import Counter

import pytest

from groma.data.dataset import make_dice
from groma.data.mixture import Mixture
from groma.data.questions import PHRASINGS, SUBJECT, pose
from groma.data.sample import QA, GroundedSample, Mention, Phrase, plain_text


def sample(*turns: QA) -> GroundedSample:
    boxes = ((0.0, 0.0, 1.0, 1.0),) * 9
    return GroundedSample("x.jpg", (10, 10), boxes, ("thing",) * 9, turns)


def captions(count: int) -> GroundedSample:
    turns = [QA((Mention(i),), (f"caption {i}",), "region_caption") for i in range(count)]
    return sample(*turns)


@pytest.mark.parametrize("kind", PHRASINGS)
def test_every_task_is_asked_in_many_ways(kind: str) -> None:
    asked = PHRASINGS[kind]
    assert len(set(asked)) == len(asked) >= 10
    places = 0 if kind == "grounded_caption" else 1
    assert all(phrasing.count(SUBJECT) == places for phrasing in asked)


def test_every_kind_that_parsers_make_has_phrasings(conversations: Mixture) -> None:
    kinds = {
        turn.kind
        for source in conversations.opened
        for turn in source.samples[0].turns  # the first of every source is right
    }
    assert kinds == {*PHRASINGS, "chat"}


def test_words_of_the_question_survive_and_the_answer_stays() -> None:
    turn = QA(("the man on the left.",), (Phrase("the man on the left.", (0,)),), "rec")
    questions = Counter()
    for seed in range(200):
        (posed,) = pose(sample(turn), make_dice(seed)).turns
        text = plain_text(posed.question)
        assert "the man on the left" in text
        assert "left.." not in text
        assert SUBJECT not in text
        assert posed.answer == turn.answer
        questions[text] += 1
    assert len(questions) == len(PHRASINGS["rec"])


def test_a_region_stays_a_mention() -> None:
    (posed,) = pose(captions(1), make_dice(0)).turns
    assert [piece for piece in posed.question if isinstance(piece, Mention)] == [Mention(0)]


def test_conversations_keep_their_own_questions() -> None:
    chat = sample(*[QA((f"Why {i}?",), ("So.",)) for i in range(8)])
    assert pose(chat, make_dice(0), turns=3) == chat


def test_some_of_many_questions_stay() -> None:
    whole = captions(9)
    kept = [pose(whole, make_dice(seed), turns=4).turns for seed in range(50)]
    answers = [[turn.answer for turn in turns] for turns in kept]
    assert all(len(set(row)) == 4 for row in answers)
    assert len({answer for row in answers for answer in row}) == 9
    assert len(pose(captions(3), make_dice(0), turns=4).turns) == 3
    for turns in kept:
        for turn in turns:
            (mention,) = [piece for piece in turn.question if isinstance(piece, Mention)]
            assert turn.answer == (f"caption {mention.region}",)


def test_the_same_dice_ask_the_same() -> None:
    assert pose(captions(9), make_dice(1), 3) == pose(captions(9), make_dice(1), 3)
