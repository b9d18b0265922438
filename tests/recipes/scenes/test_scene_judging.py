import pytest

from groma.chat.conversation import GroundedReply
from groma.data.sample import QA, Expected
from groma.named_regions import GroundedSpan, RegionRef
from recipes.scenes.evaluation.scene_judging import (
    Verdict,
    count_pointed,
    is_judged,
    judge,
    judge_caption,
    judge_description,
    points_exactly,
    points_first,
)
from recipes.scenes.scene import Thing

DOG, CAT, GRASS = (10.0, 10.0, 50.0, 60.0), (60.0, 5.0, 90.0, 40.0), (0.0, 50.0, 100.0, 100.0)
ALMOST_DOG = (12.0, 10.0, 52.0, 58.0)
NOWHERE = (0.0, 0.0, 4.0, 4.0)
BOXES = (DOG, CAT, GRASS)
NAMES = ("dog", "cat", "grass")
THINGS = (Thing("dog", "brown", "large", DOG), Thing("cat", None, "small", CAT))


def reply(*parts):
    """Text and (phrase, box, …) pairs; equal boxes are the same region."""
    text, spans, known = "", [], {}
    for part in parts:
        words, *boxes = (part,) if isinstance(part, str) else part
        refs = tuple(RegionRef(known.setdefault(box, len(known)), box, 0.9, 0.9) for box in boxes)
        if refs:
            spans.append(GroundedSpan(len(text), len(text) + len(words), refs))
        text += words
    return GroundedReply(text, tuple(spans), (100, 100))


def verdict(expected, answer, kind="x"):
    return judge(QA(("?",), ("!",), kind, expected), answer, BOXES)


@pytest.mark.parametrize(
    ("boxes", "exactly", "first", "counts"),
    [
        ([DOG], True, True, (1, 1, 1)),
        ([ALMOST_DOG], True, True, (1, 1, 1)),
        ([CAT], False, False, (0, 1, 1)),
        ([DOG, CAT], False, True, (1, 2, 1)),
        ([CAT, DOG], False, False, (1, 2, 1)),
        ([DOG, ALMOST_DOG], False, True, (1, 2, 1)),
        ([DOG, DOG], True, True, (1, 1, 1)),
        ([], False, False, (0, 0, 1)),
    ],
)
def test_pointing_at_one_thing(boxes, exactly, first, counts):
    answer = reply(*(("it", box) for box in boxes))
    assert points_exactly(answer, [DOG]) is exactly
    assert points_first(answer, DOG) is first
    assert count_pointed(answer, [DOG]) == counts
    assert verdict(Expected(regions=frozenset((0,))), answer).right is exactly


def test_an_overlap_of_exactly_half_is_no_hit_in_rec():
    half = (10.0, 10.0, 30.0, 60.0)
    assert points_exactly(reply(("it", half)), [DOG])
    assert not points_first(reply(("it", half)), DOG)
    assert points_first(reply(("it", (10.0, 10.0, 30.1, 60.0))), DOG)


def test_pointing_at_several():
    both = Expected(regions=frozenset((0, 1)))
    assert verdict(both, reply(("two", CAT, DOG))).right
    assert verdict(both, reply(("one", DOG), " and ", ("one", CAT))).right
    assert not verdict(both, reply(("two", DOG, ALMOST_DOG))).right
    assert not verdict(both, reply(("three", DOG, CAT, NOWHERE))).right
    assert count_pointed(reply(("x", DOG, ALMOST_DOG, NOWHERE)), [DOG, CAT]) == (1, 3, 2)


@pytest.mark.parametrize(
    ("answer", "kind", "right"),
    [
        (reply("There is no dog."), "find_absent", True),
        (reply("I do not see one."), "find_absent", True),
        (reply("Here it is."), "find_absent", False),
        (reply("There is no ", ("dog", DOG), "."), "find_absent", False),
        (reply(("", DOG)), "find_absent", False),
        (reply(""), "find_absent", False),
        (reply("Hello!"), "chat_greeting", True),
        (reply("Hello, ", ("dog", DOG)), "chat_greeting", False),
        (reply("  "), "chat_greeting", False),
    ],
)
def test_nothing_to_point_at(answer, kind, right):
    assert verdict(Expected(regions=frozenset()), answer, kind).right is right


@pytest.mark.parametrize(
    ("expected", "text", "right"),
    [
        (Expected(count=2), "There are two dogs.", True),
        (Expected(count=2), "There are 3 dogs.", False),
        (Expected(count=0), "There are no dogs.", True),
        (Expected(count=2), "", False),
        (Expected(yes=True), "Yes.", True),
        (Expected(yes=True), "No.", False),
        (Expected(yes=False), "No.", True),
        (Expected(yes=False), "Perhaps.", False),
        (Expected(words=(("red",), ("left",))), "It is red, on the left.", True),
        (Expected(words=(("red",), ("left",))), "It is red.", False),
        (Expected(words=(("small", "tiny"),)), "It is tiny.", True),
        (Expected(words=(("bicycle",),)), "It is a bike.", True),
        (Expected(words=(("dog",),)), "It is a cat, not a dog.", False),
    ],
)
def test_words(expected, text, right):
    found = verdict(expected, reply(text))
    assert found.right is right
    assert found.said is right
    assert found.pointed is None


def test_words_and_boxes_are_told_apart():
    expected = Expected(regions=frozenset((0,)), count=1)
    found = verdict(expected, reply("one ", ("dog", CAT)))
    assert found == Verdict(right=False, said=True, pointed=False)
    found = verdict(expected, reply("two ", ("dogs", DOG)))
    assert found == Verdict(right=False, said=False, pointed=True)


def test_what_nothing_is_known_about_is_not_judged():
    assert not is_judged(Expected())
    assert is_judged(Expected(regions=frozenset()))
    assert is_judged(Expected(yes=False))
    assert is_judged(Expected(count=0))


@pytest.mark.parametrize(
    ("text", "verdicts"),
    [
        ("It is a large brown dog. The small red cat is above it.", (True, True, True)),
        ("It is a brown dog on the left.", (True, False, True)),
        ("It is a huge dog.", (True, True, False)),
        ("It is a large brown and white dog.", (True, True, False)),
        ("It is a large brown cat. The dog is near.", (False, True, True)),
        ("", (False, False, False)),
    ],
)
def test_captions(text, verdicts):
    found = judge_caption(text, THINGS[0])
    assert (found["name"], found["size"], found["colour"]) == verdicts


def test_captions_of_what_is_usual():
    medium = Thing("orange", "orange", "medium", DOG)
    assert judge_caption("It is an orange.", medium) == {"name": True, "size": True}
    assert judge_caption("It is a medium-sized orange.", medium)["size"]
    assert not judge_caption("It is a small orange.", medium)["size"]
    assert not judge_caption("", medium)["size"]


def describe(answer, wanted=(0, 1)):
    found = judge_description(answer, NAMES, BOXES, wanted, THINGS)
    return found.right, found.grounded, found.covered, found.wanted


@pytest.mark.parametrize(
    ("answer", "counts"),
    [
        (reply(("a dog", DOG), " and ", ("a cat", CAT)), (2, 2, 2, 2)),
        (reply(("a doggy", ALMOST_DOG), " and ", ("kitties", CAT)), (2, 2, 2, 2)),
        (reply(("a cat", DOG), " and ", ("a dog", CAT)), (0, 2, 0, 2)),
        (reply(("a dog", DOG)), (1, 1, 1, 2)),
        (reply(("a dog", DOG), " on ", ("the grass", GRASS)), (2, 2, 1, 2)),
        (reply(("a dog", DOG), " on ", ("the snow", GRASS)), (1, 2, 1, 2)),
        (reply(("two dogs", DOG, CAT)), (1, 2, 1, 2)),
        (reply(("two dogs", DOG, ALMOST_DOG)), (1, 2, 1, 2)),
        (reply(("a dog", DOG), " and ", ("the dog", DOG)), (1, 1, 1, 2)),
        (reply(("a dog", DOG), " and ", ("a cat", DOG)), (1, 2, 1, 2)),
        (reply(("something", DOG)), (0, 1, 0, 2)),
        (reply("a dog and a cat"), (0, 0, 0, 2)),
        (reply(""), (0, 0, 0, 2)),
    ],
)
def test_phrases_of_descriptions(answer, counts):
    assert describe(answer) == counts


def test_phrases_need_the_box_of_their_noun_even_where_boxes_overlap():
    # The grass overlaps the dog's lower half, but not by half of both.
    assert describe(reply(("the grass", DOG)), wanted=(2,)) == (0, 1, 0, 1)
    assert describe(reply(("the lawn", GRASS)), wanted=(2,)) == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("phrase", "box", "colours", "sizes"),
    [
        ("a large brown dog", DOG, (1, 1), (1, 1)),
        ("a small red dog", DOG, (0, 1), (0, 1)),
        ("a dog", DOG, (0, 0), (0, 0)),
        # The cat's colour is not known, so nothing said of it is wrong.
        ("a small red cat", CAT, (0, 0), (1, 1)),
        # A wrong noun is wrong already.
        ("a large brown cat", DOG, (0, 0), (0, 0)),
    ],
)
def test_colours_and_sizes_in_descriptions(phrase, box, colours, sizes):
    found = judge_description(reply((phrase, box)), NAMES, BOXES, (0,), THINGS)
    assert (found.colours_right, found.colours) == colours
    assert (found.sizes_right, found.sizes) == sizes
