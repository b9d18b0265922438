"""Scenes without pixels and what is said about them."""

import itertools
import re
from dataclasses import replace

import numpy as np
import pytest

from groma.data.sample import Phrase, plain_text
from groma.dice import Dice
from groma.model.coded_regions import FAINT, SURE, UNSURE
from groma.text.grammar import plural_of
from recipes.photographs.photograph_scenes import SIDE, PhotographScenes, seen_regions, size_of
from recipes.photographs.photograph_talk import KINDS, PHOTOGRAPHED, talk, tempting_nouns
from recipes.photographs.vocabulary import NOUNS, PHOTOGRAPHS
from recipes.scenes.language.conversations import ask_about, language_dice
from recipes.scenes.language.facts import Facts
from recipes.scenes.scene import Doubt, Scene, Thing

COUNT = 150
SCENES = PhotographScenes("val", 3)


@pytest.fixture(scope="module")
def samples():
    dice = (language_dice("val", 3, index) for index in range(COUNT))
    return [
        (scene, talk(scene, d, (8, 8)))
        for scene, d in zip(map(SCENES.__getitem__, range(COUNT)), dice, strict=True)
    ]


def test_the_vocabulary_is_whole():
    assert set(NOUNS) == set(PHOTOGRAPHS.nouns)
    assert len(set(NOUNS)) == len(NOUNS)
    assert plural_of("person") == "people"
    assert plural_of("bookshelf") == "bookshelves"
    spoken = itertools.chain.from_iterable(PHOTOGRAPHS.synonyms.values())
    assert not set(NOUNS) & set(spoken)


def test_the_same_index_is_the_same_conversation(samples):
    scene, sample = samples[7]
    assert SCENES[7] == scene or SCENES[7].things == scene.things
    assert talk(SCENES[7], language_dice("val", 3, 7), (8, 8)) == sample


def test_every_region_that_is_named_exists(samples):
    for scene, sample in samples:
        assert len(sample.boxes) == len(scene.things) + len(scene.doubts)
        for turn in sample.turns:
            for piece in turn.answer:
                if isinstance(piece, Phrase):
                    assert all(0 <= region < len(sample.boxes) for region in piece.regions)


def test_every_kind_is_asked_sooner_or_later(samples):
    asked = {turn.kind for _, sample in samples for turn in sample.turns}
    assert asked <= set(KINDS)
    assert {"exist_doubt", "find_unknown", "find_several", "region_doubt"} <= asked


def test_descriptions_name_each_sure_thing_once(samples):
    told = 0
    for scene, sample in samples:
        for turn in sample.turns:
            if turn.kind in ("describe_brief", "describe_long") and scene.things and turn.grounding:
                named = [r for p in turn.answer if isinstance(p, Phrase) for r in p.regions]
                assert sorted(named) == list(range(len(scene.things)))
                told += 1
    assert told > 20


def scene(*things: Thing, doubts: tuple[Doubt, ...] = ()) -> Scene:
    return Scene("test", (SIDE, SIDE), things, doubts=doubts, vocabulary=PHOTOGRAPHS)


DOG = Thing("dog", "brown", "medium", (100, 100, 400, 400))
MAYBE = scene(DOG, doubts=(Doubt(("cat", "fox"), (600, 500, 900, 900)),))


@pytest.mark.parametrize("kind", ["exist_doubt", "find_doubt"])
def test_what_may_be_there_is_said_to_be_doubtful(kind):
    for seed in range(8):
        sample = ask_about(MAYBE, kind, Dice.of("val", seed, 0), PHOTOGRAPHED)
        text = plain_text(sample.turns[-1].answer)
        assert re.fullmatch(r"There may be a (cat|fox), but I am not sure\.", text)
        assert sample.turns[-1].expected.regions == {1}


def test_a_doubtful_noun_is_never_called_absent():
    facts = Facts(MAYBE)
    assert facts.doubtful == {"cat", "fox"}
    for seed in range(60):
        sample = ask_about(MAYBE, "find_absent", Dice.of("val", seed, 1), PHOTOGRAPHED)
        words = plain_text(sample.turns[-1].question).lower()
        assert not re.search(r"\b(cat|fox)\b", words)


def test_nothing_sure_is_described_as_a_doubt():
    empty = scene(doubts=MAYBE.doubts)
    for kind in ("describe_brief", "describe_long"):
        sample = ask_about(empty, kind, Dice.of("val", 0, 2), PHOTOGRAPHED)
        assert "may be" in plain_text(sample.turns[-1].answer)
    sample = ask_about(scene(), "describe_brief", Dice.of("val", 0, 2), PHOTOGRAPHED)
    assert plain_text(sample.turns[-1].answer) == "I see nothing that I know."


def test_people_are_not_told_apart():
    pair = [Thing("person", None, "small", (x, 10, x + 60, 200)) for x in (50, 500)]
    sample = ask_about(scene(*pair), "find_people", Dice.of("val", 1, 3), PHOTOGRAPHED)
    assert "men, women and children" in plain_text(sample.turns[-1].answer)
    assert sample.turns[-1].expected.regions == {0, 1}


def test_regions_come_from_left_to_right_with_their_certainty():
    for index in range(40):
        seen = SCENES[index]
        regions = seen_regions(seen, Dice.of("val", 3, index, stream=13))
        centres = regions.boxes[:, 0] + regions.boxes[:, 2]
        assert (np.diff(centres) >= 0).all()
        known = {s: row for row, s in enumerate(regions.source.tolist()) if s >= 0}
        assert sorted(known) == list(range(len(seen.things) + len(seen.doubts)))
        for source, row in known.items():
            level = int(regions.certainties[row].argmax())
            if source < len(seen.things):
                assert level == SURE
                assert NOUNS[regions.names[row].argmax()] == seen.things[source].noun
            else:
                doubt = seen.doubts[source - len(seen.things)]
                assert level == (UNSURE if doubt.nouns else FAINT)


def test_what_is_faint_bears_the_names_of_what_is_there_and_of_what_is_doubted():
    dog, cat = (50.0, 50.0, 450.0, 450.0), (500.0, 50.0, 900.0, 450.0)
    seen = scene(Thing("dog", None, "large", dog))
    seen = replace(seen, doubts=(Doubt(("cat",), cat),))
    names = np.concatenate(
        [seen_regions(seen, Dice.of("val", 5, i, stream=13), ("boat",)).names for i in range(40)]
    )
    counts = {noun: int((names[:, NOUNS.index(noun)] > 0).sum()) for noun in NOUNS}
    assert {"dog", "cat", "boat"} <= set(sorted(NOUNS, key=lambda noun: -counts[noun])[:3])
    # Most of the list is faint.
    assert len(names) / 40 > 30


def test_a_name_that_is_sure_is_not_doubted_elsewhere():
    for index in range(200):
        there = {thing.noun for thing in SCENES[index].things}
        assert not any(
            doubt.nouns[:1] and doubt.nouns[0] in there for doubt in SCENES[index].doubts
        )


def test_sizes_follow_the_box():
    assert [size_of((0, 0, side, side)) for side in (50, 200, 600)] == ["small", "medium", "large"]


def test_what_is_asked_for_in_vain_tempts():
    tempted = set()
    for seed in range(20):
        sample = ask_about(scene(DOG), "find_absent", Dice.of("val", seed, 5), PHOTOGRAPHED)
        words = plain_text(sample.turns[-1].question).lower()
        tempting = tempting_nouns(sample)
        assert "dog" not in tempting
        assert all(noun in words for noun in tempting)
        tempted |= set(tempting)
    assert len(tempted) > 5
