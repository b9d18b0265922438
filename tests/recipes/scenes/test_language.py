import re
from collections import Counter
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groma.data.sample import GroundedSample, Mention, Phrase, plain_text
from groma.text.grammar import ALWAYS_PLURAL, NUMBER_WORDS
from recipes.scenes.language.conversations import KINDS, OPENERS, ask_about, converse, language_dice
from recipes.scenes.language.facts import OPPOSITE, Facts
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.scene import Scene, Stuff, Thing
from recipes.scenes.symbols import SymbolicScenes
from tests.recipes.scenes import oracle

INDICES = st.integers(0, 20_000)
SCENES = SymbolicScenes("test", 3)


@cache
def asked(kind, count=150):
    """Scenes with their last turn and sample, of one kind."""
    found = []
    for index in range(8 * count):
        scene = SCENES[index]
        sample = ask_about(scene, kind, language_dice("test", 3, index))
        if sample is not None:
            found.append((scene, sample.turns[-1], sample))
        if len(found) == count:
            break
    assert len(found) >= count // 3
    return found


def conversation(index, split="train"):
    return converse(SymbolicScenes(split, 3)[index], language_dice(split, 3, index))


@given(INDICES)
@settings(max_examples=60)
def test_conversations_are_well_formed(index):
    sample = conversation(index)
    assert 3 <= len(sample.turns) <= 8
    assert len(sample.boxes) == len(sample.names)
    for turn in sample.turns:
        assert not any(isinstance(piece, Phrase) for piece in turn.question)
        assert not any(isinstance(piece, Mention) for piece in turn.answer)
        for phrase in oracle.phrases(turn.answer):
            assert phrase.text.strip()
            assert phrase.regions
            assert len(set(phrase.regions)) == len(phrase.regions)
            assert set(phrase.regions) <= set(range(len(sample.boxes)))


@given(INDICES)
@settings(max_examples=60)
def test_text_is_clean(index):
    sample = conversation(index)
    for turn in sample.turns:
        answer = plain_text(turn.answer, sample.user_regions)
        question = plain_text(turn.question, sample.user_regions)
        assert re.fullmatch(r"[A-Z].*[.!?]", answer), answer
        for text in (question, answer):
            assert text == text.strip()
            assert not re.search(r"  |[{}<>]| [.,?!]|\.\.", text), text
            vowels = r"(?i)\ba (?!uni|one)[aeiou]|\ban [^aeiou]"
            assert not re.search(vowels, text), text


def test_same_key_same_conversation():
    assert conversation(11) == conversation(11)
    assert conversation(11) != conversation(11, "val")


def test_conversations_survive_json():
    sample = conversation(5)
    assert GroundedSample.from_dict(sample.to_dict()) == sample


def test_every_kind_comes_up():
    kinds = Counter(turn.kind for index in range(1500) for turn in conversation(index).turns)
    shown = {"region_colour", "region_size", "region_where"}
    assert set(kinds) == {*KINDS, *shown}


def test_the_same_question_is_not_asked_twice_as_an_opener():
    for index in range(200):
        questions = [turn.question for turn in conversation(index).turns if turn.kind in OPENERS]
        assert len(questions) == len(set(questions))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_points_where_it_should(kind):
    for _, turn, _ in asked(kind):
        said = {region for phrase in oracle.phrases(turn.answer) for region in phrase.regions}
        if turn.expected.regions is not None:
            assert said == turn.expected.regions


@pytest.mark.parametrize("kind", KINDS)
def test_answers_pass_their_own_checks(kind):
    for _, turn, sample in asked(kind):
        answer = plain_text(turn.answer, sample.user_regions).lower()
        for group in turn.expected.words:
            assert any(word in answer for word in group), (answer, group)
        if turn.expected.yes is not None:
            assert answer.startswith("yes" if turn.expected.yes else "no")
        if turn.expected.count is not None:
            assert NUMBER_WORDS[turn.expected.count] in answer


def test_rec_by_name_is_unique():
    for scene, turn, _ in asked("rec_name"):
        (phrase,) = oracle.phrases(turn.answer)
        assert oracle.matching(scene, oracle.noun_in(phrase.text)) == list(phrase.regions)


def test_rec_by_colour_is_unique():
    for scene, turn, _ in asked("rec_colour"):
        (phrase,) = oracle.phrases(turn.answer)
        noun, colour = oracle.noun_in(phrase.text), oracle.colour_in(phrase.text)
        assert all(scene.things[i].colour for i in oracle.matching(scene, noun))
        assert oracle.matching(scene, noun, colour) == list(phrase.regions)


def test_rec_by_ordinal_is_right():
    for scene, turn, _ in asked("rec_ordinal"):
        (phrase,) = oracle.phrases(turn.answer)
        assert (oracle.meant_by_order(scene, phrase.text),) == phrase.regions


def test_rec_by_position_is_right():
    corners = 0
    for scene, turn, _ in asked("rec_position"):
        (phrase,) = oracle.phrases(turn.answer)
        question = oracle.text_of(turn.question)
        if re.search("corner|thing|object", question):
            corners += 1
            place = re.search(r"(top|bottom) (left|right)", question)
            x, y = (c / 224 for c in scene.things[phrase.regions[0]].centre)
            assert (y < 0.4) == (place[1] == "top")
            assert (x < 0.4) == (place[2] == "left")
        else:
            assert (oracle.meant_by_end(scene, phrase.text),) == phrase.regions
    assert corners > 5


def test_rec_by_size_is_right_by_a_margin():
    for scene, turn, _ in asked("rec_size"):
        (phrase,) = oracle.phrases(turn.answer)
        (index,) = phrase.regions
        question = oracle.text_of(turn.question)
        areas = [thing.area for thing in scene.things]
        if re.search("thing|object", question):
            extreme = min if re.search("small|tin", question) else max
            assert areas[index] == extreme(areas)
            continue
        assert oracle.meant_by_size(scene, phrase.text) == index
        for rival in oracle.matching(scene, oracle.noun_in(phrase.text)):
            ratio = areas[rival] / areas[index]
            assert rival == index or max(ratio, 1 / ratio) >= 1.6


def test_rec_by_relation_is_true_and_unique():
    for scene, turn, sample in asked("rec_relation"):
        (phrase,) = oracle.phrases(turn.answer)
        (index,) = phrase.regions
        question = oracle.text_of(turn.question)
        relation = oracle.relation_in(question)
        noun = oracle.noun_in(phrase.text)
        if relation is None or "thing" in question:
            continue
        words = question[re.search(r"left|right|above|higher|below|further", question).start() :]
        anchors = sample.user_regions or oracle.matching(scene, oracle.noun_in(words))
        (anchor,) = anchors
        fitting = [
            i
            for i in oracle.matching(scene, noun)
            if i != anchor and oracle.is_beyond(scene, relation, i, anchor)
        ]
        assert index in fitting
        for other in set(fitting) - {index}:
            axis = 0 if relation in ("left", "right") else 1
            apart = scene.things[other].centre[axis] - scene.things[anchor].centre[axis]
            assert abs(apart) < 0.015 * 224


def test_find_all_finds_all():
    for scene, turn, _ in asked("find_all"):
        found = oracle.phrases(turn.answer)
        if not found:
            assert turn.expected.regions == frozenset()
            continue
        text = found[0].text
        if re.search("animal|vehicle|food|thing", text):
            continue
        colour, noun = oracle.colour_in(text), None
        for candidate in {thing.noun for thing in scene.things}:
            alone = " is " in oracle.text_of(turn.answer)
            singular = alone and oracle.noun_in(text) == candidate
            if singular or oracle.is_plural_of(text, candidate):
                noun = candidate
        assert set(oracle.matching(scene, noun, colour)) == set(found[0].regions)


@pytest.mark.parametrize("kind", ["find_all", "exist", "count", "follow_count", "follow_other"])
def test_what_is_pointed_at_is_counted_afterwards(kind):
    for _, turn, _ in asked(kind):
        for phrase in oracle.phrases(turn.answer):
            assert not set(NUMBER_WORDS[2:]) & set(phrase.text.split())


def test_counts_are_right():
    zeros = 0
    for scene, turn, _ in asked("count"):
        answer = oracle.text_of(turn.answer)
        number = re.search(rf"\b({'|'.join(NUMBER_WORDS)})\b", answer)[1]
        assert NUMBER_WORDS.index(number) == turn.expected.count == len(turn.expected.regions)
        if "thing" in answer:
            assert turn.expected.count == len(scene.things)
        zeros += turn.expected.count == 0
    assert zeros > 5


def test_absent_things_are_absent():
    for scene, turn, _ in asked("find_absent"):
        answer = oracle.text_of(turn.answer)
        assert not oracle.phrases(turn.answer)
        missing = re.search(r"(?:is|are) no (.*) in the picture", answer)[1]
        names = {thing.noun for thing in scene.things} | {stuff.name for stuff in scene.stuff}
        if missing in names:
            raise AssertionError(f"{missing} is there")
        colour = oracle.colour_in(missing)
        if colour and missing != colour:
            assert not oracle.matching(scene, oracle.noun_in(missing), colour)


def test_yes_is_as_frequent_as_no():
    for kind in ("exist", "check_relation", "check_size", "compare_same"):
        yes = sum(turn.expected.yes for _, turn, _ in asked(kind))
        assert 0.25 < yes / len(asked(kind)) < 0.75, kind


def test_existence_is_true():
    for scene, turn, _ in asked("exist"):
        if turn.expected.yes:
            for index in turn.expected.regions:
                assert index < len(scene.things)
        else:
            missing = re.search(r"there is no (.*) in the", oracle.text_of(turn.answer))[1]
            assert missing not in {thing.noun for thing in scene.things}


def test_colours_are_those_of_the_thing():
    for kind in ("colour", "follow_colour"):
        for scene, turn, sample in asked(kind):
            answer = oracle.text_of(turn.answer)
            shown = oracle.phrases(turn.answer) or oracle.phrases(sample.turns[0].answer)
            if kind == "colour" and shown:
                thing = scene.things[shown[0].regions[0]]
                assert f" {thing.colour}." in answer


def test_checked_relations_are_true():
    for scene, turn, _ in asked("check_relation"):
        one, other = (phrase.regions[0] for phrase in oracle.phrases(turn.answer))
        relation = oracle.relation_in(oracle.text_of(turn.answer).split(" is ")[-1])
        if relation and " are " not in oracle.text_of(turn.answer):
            assert oracle.is_beyond(scene, relation, one, other)


def test_what_lies_to_a_side_lies_there():
    for scene, turn, sample in asked("what_related"):
        answer = oracle.text_of(turn.answer)
        relation = re.search(r"(left|right|above|below)", answer)[1]
        if not sample.user_regions:
            continue
        (anchor,) = sample.user_regions
        for index in range(len(scene.things)):
            if index in turn.expected.regions:
                assert oracle.is_beyond(scene, relation, index, anchor)
            elif index != anchor:
                assert oracle.is_beyond(scene, OPPOSITE[relation], index, anchor) or (
                    Facts(scene).fails(relation, index, anchor)
                )


def test_bigger_is_bigger():
    for kind in ("compare_size", "check_size"):
        for scene, turn, sample in asked(kind):
            answer = oracle.text_of(turn.answer)
            one = oracle.phrases(turn.answer)[0].regions[0]
            pair = sample.user_regions or tuple(
                phrase.regions[0] for phrase in oracle.phrases(turn.answer)
            )
            (other,) = set(pair) - {one}
            bigger = "bigger" in answer or "larger" in answer
            assert (scene.things[one].area > scene.things[other].area) == bigger


def test_descriptions_name_everything_from_left_to_right():
    for kind in ("describe_brief", "describe_long"):
        for scene, turn, _ in asked(kind):
            found = [
                phrase
                for phrase in oracle.phrases(turn.answer)
                if phrase.regions[0] < len(scene.things)
            ]
            firsts = [scene.things[phrase.regions[0]].centre[0] for phrase in found]
            assert firsts == sorted(firsts)
            named = [region for phrase in found for region in phrase.regions]
            assert sorted(named) == list(range(len(scene.things)))
            for phrase in found:
                nouns = {scene.things[region].noun for region in phrase.regions}
                assert len(nouns) == 1


def test_region_names_are_right():
    for scene, turn, _ in asked("region_name"):
        (index,) = oracle.mentions(turn.question)
        if index < len(scene.things):
            assert oracle.noun_in(oracle.text_of(turn.answer)) == scene.things[index].noun


def test_selected_regions_are_among_those_shown():
    for _, turn, _ in asked("select"):
        (phrase,) = oracle.phrases(turn.answer)
        assert set(phrase.regions) < set(oracle.mentions(turn.question))


def test_pronouns_agree():
    for kind in ("follow_colour", "follow_size", "follow_place"):
        for scene, turn, sample in asked(kind):
            first = sample.turns[0]
            plural = oracle.text_of(turn.answer).startswith("They are")
            regions = {r for phrase in oracle.phrases(first.answer) for r in phrase.regions}
            regions |= set(oracle.mentions(first.question))
            nouns = {scene.things[r].noun for r in regions if r < len(scene.things)}
            if len(nouns) == 1:
                assert plural == bool(nouns & ALWAYS_PLURAL)


def test_follow_ups_about_others_exclude_the_one_in_focus():
    for scene, turn, sample in asked("follow_other"):
        regions = {r for p in oracle.phrases(turn.answer) for r in p.regions}
        nouns = {scene.things[r].noun for r in regions}
        assert len(nouns) <= 1
        if nouns:
            assert len(regions) == len(oracle.matching(scene, nouns.pop())) - 1
        else:
            assert "only one" in oracle.text_of(turn.answer)
        assert len(sample.turns) == 2


def test_small_talk_points_at_nothing():
    for kind in KINDS:
        if kind.startswith("chat_"):
            for _, turn, _ in asked(kind, 20):
                assert not oracle.phrases(turn.answer)
                assert turn.expected.regions == frozenset()


def test_stuff_is_found():
    for scene, turn, sample in asked("rec_stuff"):
        (phrase,) = oracle.phrases(turn.answer)
        assert phrase.regions[0] >= len(scene.things)
        assert sample.names[phrase.regions[0]] in {stuff.name for stuff in scene.stuff}


def test_drawn_scenes_can_be_talked_about():
    scenes = SceneGenerator("val", 0, 448)
    for index in range(5):
        sample = converse(scenes[index], language_dice("val", 0, index))
        assert sample.picture == f"val/0/{index}"
        assert all(0 <= edge <= 1 for box in sample.boxes for edge in box)


def scene_of(*things, stuff=()):
    return Scene("test", (200, 200), tuple(things), tuple(stuff))


def test_facts_keep_a_margin():
    left = Thing("dog", None, "medium", (10, 90, 50, 130))
    level = Thing("cat", None, "medium", (20, 140, 60, 180))
    right = Thing("dog", None, "small", (150, 90, 170, 110))
    facts = Facts(scene_of(left, level, right))
    assert facts.holds("left", 0, 2)
    assert facts.holds("right", 2, 0)
    assert not facts.holds("left", 0, 1)
    assert not facts.fails("left", 0, 1)
    assert facts.fails("left", 2, 0)
    assert facts.bigger(0, 2)
    assert not facts.bigger(0, 1)
    assert facts.biggest([0, 2]) == 0
    assert facts.smallest([0, 1, 2]) == 2
    assert facts.biggest([0, 1]) is None
    assert facts.ranked([0, 1], 0) is None
    assert facts.ranked([0, 2], 0) == [0, 2]
    assert facts.twins == ["dog"]
    assert facts.unique == [1]
    assert facts.nearest(0) == 1
    assert facts.order == [0, 1, 2]
    assert facts.place(2) == ("right", "middle")


@given(INDICES)
@settings(max_examples=40)
def test_relations_are_consistent(index):
    facts = Facts(SCENES[index])
    for one in range(len(facts.things)):
        for other in range(len(facts.things)):
            for relation, opposite in OPPOSITE.items():
                holds = facts.holds(relation, one, other)
                assert holds == facts.holds(opposite, other, one)
                assert not (holds and facts.fails(relation, one, other))
                assert not (holds and facts.holds(opposite, one, other))
            assert not (facts.bigger(one, other) and facts.bigger(other, one))


def test_a_scene_with_one_thing_can_be_talked_about():
    scene = scene_of(
        Thing("glasses", None, "small", (10, 10, 40, 30)), stuff=[Stuff("sky", (0, 0, 200, 100))]
    )
    for index in range(200):
        sample = converse(scene, language_dice("val", 9, index))
        assert len(sample.turns) >= 3


def test_a_scene_without_things_cannot():
    with pytest.raises(ValueError, match="without things"):
        converse(scene_of(), language_dice("val", 0, 0))
