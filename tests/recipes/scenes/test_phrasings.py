import re

import pytest

from recipes.scenes.language import smalltalk
from recipes.scenes.language.conversations import KINDS, OPENERS, TWIN_WEIGHTS, WEIGHTS
from recipes.scenes.language.expressions import PLACES
from recipes.scenes.language.phrasings import TABLES
from recipes.scenes.language.wording import draw_wording, fill

SPLIT = {"follow_other"}
"""Tables whose groups are asked in different situations: each needs ten of its own."""


def every_wording():
    return [
        (name, answer, question)
        for name, table in TABLES.items()
        for answer, questions in table.items()
        for question in questions
    ]


@pytest.mark.parametrize("name", TABLES)
def test_at_least_ten_wordings(name):
    groups = TABLES[name].values()
    counts = [len(questions) for questions in groups] if name in SPLIT else [sum(map(len, groups))]
    assert min(counts) >= 10


@pytest.mark.parametrize("name", TABLES)
def test_wordings_differ(name):
    questions = [question for group in TABLES[name].values() for question in group]
    assert len(set(questions)) == len(questions)


@pytest.mark.parametrize("kind", smalltalk.TOPICS)
def test_small_talk_has_ten_wordings_and_an_answer(kind):
    topic = smalltalk.TOPICS[kind]
    assert len(set(topic.questions)) == len(topic.questions) >= 10
    for answer in topic.answers:
        assert answer[0].isupper()
        assert answer[-1] in ".!?"
        assert not topic.checks or any(check in answer.lower() for check in topic.checks)


def test_wordings_are_sentences():
    for name, _, question in every_wording():
        plain = re.sub(r"\{\w+\}", "x", question)
        assert "  " not in plain
        assert plain == plain.strip()
        if question not in ("{x}",):
            assert re.search(r"[.?x]$", plain), (name, question)


def test_wordings_know_only_these_fields():
    known = {"x", "y", "t", "u", "a", "A", "It", "one", "is", "it", "its", "does", "list"}
    known |= {"relation", "comparison", "superlative", "colour", "colours", "size", "place"}
    known |= {"description", "n"}
    for _, answer, question in every_wording():
        assert set(re.findall(r"\{(\w+)\}", question + answer)) <= known


def test_every_opener_has_a_weight():
    assert set(WEIGHTS) == set(OPENERS) == set(TWIN_WEIGHTS)
    assert len(KINDS) == len(set(KINDS)) >= 45


def test_fill_puts_in_fields_and_capitals():
    assert fill("{a} and {b}.", {"a": "the dog", "b": ("x", "y")}) == ("The dog and xy.",)
    assert fill("so {A}", {"a": "it"}) == ("So It",)
    with pytest.raises(KeyError):
        fill("{missing}", {})


def test_all_wordings_are_drawn():
    class Last:
        def choice(self, items):
            return items[-1]

    question, answer = draw_wording("find", Last())
    assert (question, answer) == ("Box of {x}?", "{t}.")


def test_nine_places():
    assert len(set(PLACES.values())) == 9
