from collections import Counter
from functools import cache

import pytest

from groma.types import GromaError
from recipes.scenes.evaluation.scene_judging import is_judged
from recipes.scenes.evaluation.scene_questions import (
    ALL_KINDS,
    CONVERSATION,
    SHARES,
    Questionnaire,
    chosen_kinds,
)
from recipes.scenes.language.conversations import KINDS
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.symbols import SymbolicScenes

SCENES = SymbolicScenes("test", 0)
TARGETED = (
    *("rec_name", "rec_colour", "rec_size", "rec_position", "rec_relation", "find_absent"),
    *("find_all", "count", "region_name"),
)
POINTED = {"region_colour": "colour", "region_size": "size", "region_where": "where"}


def ask(index, split="test", seed=0, **settings):
    return Questionnaire(**settings).ask(SCENES[index], split, seed, index)


@cache
def many(count=500):
    return [ask(index) for index in range(count)]


def last_kinds(talks):
    kinds = [
        talk.sample.turns[-1].kind for talk in talks if len(talk.sample.turns) - talk.first == 1
    ]
    return [POINTED.get(kind, kind) for kind in kinds]


def test_the_same_scene_is_asked_the_same():
    assert ask(7) == ask(7)
    assert ask(7) != ask(7, "val") != ask(7, "val", 1)


def test_fewer_kinds_leave_the_others_as_they_are():
    alone = ask(3, kinds=("rec_name", "count"), density=40)
    assert [talk for talk in ask(3, density=40) if talk in alone] == alone
    assert len(alone) == 2


def test_a_denser_run_asks_all_of_a_thinner_one():
    for index in range(20):
        thin, dense = ask(index), ask(index, density=3)
        assert [talk for talk in dense if talk in thin] == thin
    assert sum(len(ask(i, density=3)) for i in range(20)) > 1.5 * sum(map(len, many()[:20]))


def test_every_kind_gets_enough_cases():
    counts = Counter(kind for talks in many() for kind in last_kinds(talks))
    assert set(counts) == set(KINDS)
    assert min(counts[kind] for kind in TARGETED) >= 110
    conversations = [t for talks in many() for t in talks if len(t.sample.turns) - t.first > 1]
    assert len(conversations) >= 25
    assert all(3 <= len(talk.sample.turns) <= 8 and not talk.first for talk in conversations)


def test_a_run_stays_affordable():
    turns = sum(len(talk.sample.turns) for talks in many() for talk in talks)
    assert 6 <= turns / len(many()) <= 10


def test_no_question_is_put_whose_answer_cannot_be_judged():
    for talk in (talk for talks in many() for talk in talks):
        assert any(is_judged(turn.expected) for turn in talk.sample.turns[talk.first :])


def test_follow_ups_come_after_the_turn_they_refer_to():
    talks = [talk for talks in many() for talk in talks]
    follow_ups = [t for t in talks if t.sample.turns[-1].kind.startswith("follow_") and t.first]
    assert len(follow_ups) > 200
    assert all(len(talk.sample.turns) == 2 and talk.first == 1 for talk in follow_ups)


def test_drawn_scenes_are_asked_about_like_symbolic_ones():
    scene = SceneGenerator("test", 0, 96)[4]
    talks = Questionnaire(density=40).ask(scene, "test", 0, 4)
    assert len(talks) > 30
    assert {talk.sample.picture for talk in talks} == {"test/0/4"}


def test_kinds_are_chosen_by_their_beginnings():
    assert chosen_kinds(()) == ALL_KINDS
    assert chosen_kinds(("count", "rec")) == (
        *("rec_name", "rec_colour", "rec_size", "rec_position", "rec_relation", "rec_ordinal"),
        *("rec_stuff", "count"),
    )
    assert chosen_kinds((CONVERSATION,)) == (CONVERSATION,)
    with pytest.raises(GromaError, match="'re'; these exist: rec_name, "):
        chosen_kinds(("count", "re"))


@pytest.mark.parametrize("settings", [{"kinds": ("nonsense",)}, {"kinds": ()}, {"density": 0}])
def test_senseless_questionnaires_are_refused(settings):
    with pytest.raises(GromaError):
        Questionnaire(**settings)


def test_shares_are_of_kinds_that_exist():
    assert set(SHARES) <= set(ALL_KINDS)
    assert all(0 < share <= 1 for share in SHARES.values())
