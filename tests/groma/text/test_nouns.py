"""Of every phrase its noun, in one spelling."""

import pytest

from groma.text.grammar import noun_of, plural_of

COMPOUNDS = ("fire hydrant", "hot dog", "teddy bear")


@pytest.mark.parametrize(
    ("phrases", "noun"),
    [
        (("a brown dog", "the dogs", "Two brown dogs on a sofa", "dog", "a sitting dog"), "dog"),
        (("a pair of glasses", "the glasses", "two pairs of dark glasses"), "glasses"),
        (("a glass", "glass of wine on the table"), "glass"),
        (("a red and white bus", "3 buses"), "bus"),
        (("a man and a woman", "the man's", "men riding horses", "the left man"), "man"),
        (("the collar of the dog", "the dog's collar"), "collar"),
        (("an ear of a dog", "ears"), "ear"),
        (("a group of people", "people", "the person in the middle"), "person"),
        (("a fire hydrant", "two red fire hydrants by the road"), "fire hydrant"),
        (("the shoes", "a shoe"), "shoe"),
        (("the thing you mean", "two things"), "thing"),
        (("the ties", "a tie"), "tie"),
        (("cherries",), "cherry"),
        (("tomatoes", "a tomato"), "tomato"),
        (("it", "", "▢", "the one on the left", "these", "5"), ""),
    ],
)
def test_phrases_of_one_thing_have_one_noun(phrases: tuple[str, ...], noun: str) -> None:
    assert [noun_of(phrase, COMPOUNDS) for phrase in phrases] == [noun] * len(phrases)


WORDS = """
cat box bench dish house horse vase bus glove cherry toy knife sheep tree apple pizza cow mouse
tomato scarf person child man woman leaf shelf wolf ox foot tooth goose deer fish jellyfish skis
"""


@pytest.mark.parametrize("word", WORDS.split())
def test_the_plural_is_undone(word: str) -> None:
    assert noun_of(f"the {plural_of(word)}") == noun_of(f"a {word}") == word


def test_a_noun_is_its_own_noun() -> None:
    for word in (*WORDS.split(), *COMPOUNDS):
        assert noun_of(noun_of(word, COMPOUNDS), COMPOUNDS) == word
