import pytest

from groma.eval.harness.answer_words import agrees
from groma.text.grammar import MEASURES, plural_of, several
from recipes.scenes.evaluation import answer_reading as reading
from recipes.scenes.evaluation.answer_reading import number_said, read
from recipes.scenes.nouns import COLOURS, NOUNS, STUFF, SYNONYMS


@pytest.mark.parametrize("noun", NOUNS)
def test_every_word_for_a_noun_is_that_noun(noun):
    for word in (noun, *SYNONYMS.get(noun, ())):
        for form in (word, plural_of(word), word.upper()):
            assert read(f"I see the {form} here.") == ("i", "see", "the", noun, "here")
    assert noun in read(f"There are {several(noun, 3)}.")


def test_no_word_means_two_nouns():
    spoken = {}
    for noun in NOUNS:
        forms = {
            form for word in (noun, *SYNONYMS.get(noun, ())) for form in (word, plural_of(word))
        }
        for form in forms:
            assert spoken.setdefault(form, noun) == noun


def test_measured_nouns_are_one_word():
    for noun in MEASURES.keys() & set(NOUNS):
        measure = MEASURES[noun]
        assert read(f"a {measure} of {noun}, two {plural_of(measure)} of {noun}") == (
            *("a", noun, "2", noun),
        )


@pytest.mark.parametrize(
    ("text", "words", "found"),
    [
        ("It is a large grey-ish elephant.", "gray", True),
        ("It is medium-sized.", "medium", True),
        ("They are two bikes.", "bicycle", True),
        ("A motorbike!", "bicycle", False),
        ("It is TO THE LEFT of it.", "to the left of", True),
        ("It is to the left", "to the left of", False),
        ("A pineapple", "pine", False),
        ("A pine tree", "tree", False),
        ("Goodbye!", "bye", True),
        ("this thing", "hi", False),
        ("", "dog", False),
    ],
)
def test_says(text, words, found):
    assert reading.says(read(text), words) is found


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("An orange fish and an orange.", ["fish", "orange"]),
        ("A teddy bear on the lawn", ["teddy", "grass"]),
        ("Only colours.", []),
        ("a large pair of red glasses", ["glasses"]),
    ],
)
def test_names(text, names):
    assert reading.names_said(read(text)) == names


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("There are three dogs.", 3),
        ("3", 3),
        ("There are 12 of them.", 12),
        ("Zero.", 0),
        ("There are no dogs in the picture.", 0),
        ("I don't see any dogs.", 0),
        ("There is a dog.", 1),
        ("The only dog is here.", 1),
        ("No, there are two.", 2),
        ("Both of them.", 2),
        ("[4] shows two dogs.", 2),
        ("Many dogs.", None),
        ("", None),
    ],
)
def test_numbers(text, number):
    assert number_said(read(text)) == number


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes, there is only one.", True),
        ("Yes, and there is no other.", True),
        ("There is a dog.", True),
        ("There are two dogs", True),
        ("No, there is one.", False),
        ("There is no dog.", False),
        ("I can't see one.", False),
        ("There isn\u2019t any.", False),
        ("The dog is on the left.", None),
        ("", None),
    ],
)
def test_yes_and_no(text, answer):
    assert agrees(read(text)) is answer


@pytest.mark.parametrize(
    ("text", "groups", "contradicts"),
    [
        ("It is red.", [("red",)], False),
        ("It is red and blue.", [("red",)], True),
        ("It is red and blue.", [("red",), ("blue",)], False),
        ("The orange is red.", [("red",)], False),
        ("It is orange and red.", [("orange",)], True),
        ("It is gray.", [("grey", "gray")], False),
        ("It is big.", [("large", "big", "huge")], False),
        ("It is big, well, small.", [("large", "big", "huge")], True),
        ("It is a cat.", [("dog",)], True),
        ("It is a cat, or a dog.", [("dog",)], True),
        ("It is a doggy beside a cat.", [("dog",)], False),
        ("They are an orange and a cat.", [("orange",), ("cat",)], False),
        ("It is on the left.", [("right",)], False),
        ("A red cat.", [("left",)], False),
    ],
)
def test_contradictions(text, groups, contradicts):
    assert reading.contradicts(read(text), groups) is contradicts


def test_colours_and_sizes():
    assert reading.colours_said(read("red, Gray and GREEN")) == {"red", "grey", "green"}
    assert reading.sizes_said(read("a tiny dog, a huge cat, medium rice")) == {
        *("small", "large", "medium")
    }
    assert reading.sizes_said(read("a dog")) == reading.colours_said(read("a dog")) == set()


def test_words_that_are_judged_stay_what_they_are():
    for word in (*COLOURS, *STUFF):
        assert read(word) == (word,)


def test_first_sentence():
    assert reading.first_sentence("It is red. The dog is blue.") == "It is red"
    assert reading.first_sentence("It is red") == "It is red"
