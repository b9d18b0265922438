"""Whole evaluations of models whose figures are known beforehand."""

from dataclasses import replace
from functools import cache

import pytest

from groma.chat.conversation import GroundedReply
from recipes.scenes.evaluation import figures, report
from recipes.scenes.evaluation.answer_reading import read
from recipes.scenes.evaluation.answering import answer_scene
from recipes.scenes.evaluation.collage import CollageGenerator
from recipes.scenes.evaluation.scene_questions import Questionnaire
from recipes.scenes.nouns import STUFF
from recipes.scenes.pictures.generator import SceneGenerator
from tests.groma.eval.fakes import FakeGroma, constant, oracle

FLOWS = ("endless", "refused")


@cache
def asked(source="own"):
    scenes = SceneGenerator("test", 1, 96) if source == "own" else CollageGenerator(size=96)
    questions = Questionnaire(density=40)
    return [(scene := scenes[i], questions.ask(scene, "test", 1, i)) for i in range(12)]


def records_of(speak, source="own"):
    groma = FakeGroma([scene for scene, _ in asked(source)], speak)
    made = [
        answer_scene(groma, scene, i, talks, {}) for i, (scene, talks) in enumerate(asked(source))
    ]
    assert groma.encoded == [scene.key for scene, _ in asked(source)]
    return made


def values(records):
    return {k: row["value"] for k, row in report.to_dict(records, {})["figures"].items()}


@cache
def truth():
    return records_of(oracle(asked()))


@cache
def mute():
    return records_of(constant(""))


@pytest.mark.parametrize("source", ["own", "other"])
def test_who_knows_the_truth_is_perfect(source):
    records = records_of(oracle(asked(source)), source)
    found = values(records)
    wanted = dict.fromkeys(found, 1.0) | dict.fromkeys(FLOWS, 0.0)
    wanted["regions"] = sum(len(record.boxes) for record in records) / len(records)
    assert found == wanted
    for kind, estimates in figures.by_kind(records).items():
        assert {e.value for e in estimates.values() if e.cases} == {1.0}, kind
    text = report.to_text(records, report.TARGETS)
    assert "reached" in text
    assert "missed" not in text


def test_who_is_mute_is_never_right():
    found = values(mute())
    proposals = {key: value for key, value in found.items() if key.startswith("proposals")}
    assert set(proposals.values()) == {1.0}
    for key in found.keys() - proposals.keys() - {"regions", *FLOWS}:
        # Nothing was said, so nothing that was said can be wrong.
        silent = ("description_precision", "description_brief_precision")
        nothing = {*silent, "description_long_precision", "description_colours"}
        nothing |= {"description_sizes", "find_all_precision"}
        assert found[key] == (None if key in nothing else 0.0), key


def test_who_always_denies_is_right_where_there_is_nothing():
    records = records_of(constant("No, there is no such thing in the picture."))
    found = values(records)
    assert found["absent"] == 1.0
    assert found["rec_name"] == found["find_all_recall"] == found["names"] == 0.0
    absent = [a for a in figures.answers_to(records, "exist") if not a.turn.expected.yes]
    assert found["exist"] == len(absent) / len(figures.answers_to(records, "exist"))
    assert 0 < found["exist"] < 1
    assert 0 < found["count"] < 1


def test_who_points_at_everything_has_recall_without_precision():
    perfect = oracle(asked())

    def everything(scene, history):
        answer = perfect(scene, history)
        (brief,) = [
            talk.replies[0]
            for record in truth()
            for talk in record.talks
            if record.key == scene.key and talk.sample.turns[-1].kind == "describe_brief"
        ]
        return replace(answer, text=brief.text, spans=brief.spans)

    found = values(records_of(everything))
    assert found["find_all_recall"] == 1.0
    assert found["find_all_precision"] < 0.7
    assert found["absent"] == found["rec_exact"] == 0.0
    assert found["description_brief_recall"] == found["description_precision"] == 1.0
    assert found["description_long_recall"] < 1.0


def test_describing_more_than_was_asked_for_is_no_fault():
    """A brief description need not name the background, and may."""
    perfect = oracle(asked())
    long = {
        talk.sample.picture: talk.replies[0]
        for record in truth()
        for talk in record.talks
        if talk.sample.turns[-1].kind == "describe_long"
    }
    brief = {
        (talk.sample.picture, talk.sample.turns[0].question[0])
        for record in truth()
        for talk in record.talks
        if talk.sample.turns[-1].kind == "describe_brief"
    }

    def talkative(scene, history):
        is_brief = len(history) == 1 and (scene.key, history[0][0]) in brief
        return long[scene.key] if is_brief else perfect(scene, history)

    records = records_of(talkative)
    assert any(record.stuff for record in records)
    found = values(records)
    assert found["description_brief_precision"] == found["description_brief_recall"] == 1.0


def test_names_of_things_and_of_background_are_told_apart():
    perfect = oracle(asked())

    def forgetful(scene, history):
        answer = perfect(scene, history)
        return constant("")(scene, history) if set(read(answer.text)) & set(STUFF) else answer

    found = values(records_of(forgetful))
    assert (found["names"], found["names_stuff"]) == (1.0, 0.0)


def test_turns_that_only_lead_up_to_a_question_are_not_judged():
    for record in truth():
        singles = [talk for talk in record.talks if not talk.is_conversation]
        assert len(record.singles) == len(singles)
        assert any(talk.first for talk in singles)
        turns = [len(talk.sample.turns) for talk in record.talks if talk.is_conversation]
        assert [len(answers) for answers in record.conversations] <= turns


def test_wrong_boxes_spoil_pointing_and_nothing_else():
    def elsewhere(region):
        return replace(region, box=(0.0, 0.0, 2.0, 2.0))

    perfect = oracle(asked())

    def shifted(scene, history):
        answer = perfect(scene, history)
        spans = [replace(s, regions=tuple(map(elsewhere, s.regions))) for s in answer.spans]
        return replace(answer, spans=tuple(spans))

    found = values(records_of(shifted))
    assert found["rec_name"] == found["find_all_f1"] == found["description_precision"] == 0.0
    assert found["count"] == found["names"] == found["caption"] == found["absent"] == 1.0
    assert found["count_boxes"] < 0.5


def test_wrong_words_spoil_words_and_nothing_else():
    perfect = oracle(asked())

    def babbling(scene, history):
        answer = perfect(scene, history)
        return replace(answer, text="x" * len(answer.text))

    found = values(records_of(babbling))
    assert found["rec_harder"] == found["rec_exact"] == found["find_all_f1"] == 1.0
    assert found["count"] == found["names"] == found["description_recall"] == 0.0


def test_regions_that_the_model_is_not_shown_cannot_be_recalled():
    poor = [replace(record, shown=record.shown[:1]) for record in truth()]
    found = values(poor)
    things = sum(len(record.things) for record in poor)
    assert found["proposals_50"] == pytest.approx(len(poor) / things)
    assert found["proposals_50_all"] == found["regions"] == 1.0
    none = values([replace(record, shown=(), proposals=()) for record in truth()])
    assert none["proposals_75"] == none["proposals_50_all"] == 0.0


def test_loose_boxes_count_at_half_but_not_at_three_quarters():
    def loosen(box):
        x0, y0, x1, y1 = box
        return (x0, y0, x1, y0 + (y1 - y0) / 0.7)

    found = values([replace(record, shown=tuple(map(loosen, record.shown))) for record in truth()])
    assert (found["proposals_50"], found["proposals_75"]) == (1.0, 0.0)


def test_cut_off_and_refused_answers_are_told():
    endless = constant("and")
    records = records_of(lambda scene, asked: replace(endless(scene, asked), finish="length"))
    assert values(records)["endless"] == 1.0
    refused = [
        replace(
            record,
            talks=tuple(
                replace(
                    talk,
                    replies=tuple(
                        GroundedReply("", (), r.image_size, "cancelled") for r in talk.replies
                    ),
                )
                for talk in record.talks
            ),
        )
        for record in truth()
    ]
    assert values(refused)["refused"] == 1.0


def test_one_wrong_turn_spoils_a_conversation():
    record = next(record for record in truth() if record.conversations)
    talk = next(talk for talk in record.talks if talk.is_conversation)
    empty = GroundedReply("", (), talk.sample.size)
    spoilt = replace(record, talks=(replace(talk, replies=(empty, *talk.replies[1:])),))
    found = values([spoilt])
    assert found["first_turn"] == found["conversations"] == 0.0
    assert found["second_turn"] == found["later_turns"] == 1.0
    assert found["follow_ups"] is None


def test_targets_depend_on_the_scenes():
    own, unseen = report.targets_of("own", None), report.targets_of("own", "twemoji")
    assert own["rec_name"] == 0.97
    assert unseen == {"names": 0.7, "rec_name": 0.8}
    assert report.targets_of("other", None) == {}
    keys = report.to_dict(truth(), own)["figures"]
    assert own.keys() | unseen.keys() <= keys.keys()
    assert keys["rec_name"]["target"] == 0.97
    assert keys["rec_ordinal"]["target"] is None


def test_missed_targets_are_told():
    text = report.to_text(mute(), report.TARGETS)
    (row,) = [line for line in text.splitlines() if line.startswith("| REC by name ")]
    assert row.split("|")[-3:] == [" ≥ 0.97 ", " missed ", ""]


def test_tables_without_cases_are_left_out():
    scene, _ = asked()[0]
    groma = FakeGroma([scene], constant(""))
    text = report.to_text([answer_scene(groma, scene, 0, [], {})], {})
    assert text.count("\n\n") == 0
    assert text.startswith("| Regions ")
