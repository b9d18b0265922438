import json
from dataclasses import replace

import pytest

from groma.data.sample import QA, Expected, GroundedSample, Mention
from groma.eval.harness.asker import hold
from groma.run_journal import RunJournal
from groma.types import GromaError
from recipes.scenes import __main__ as cli
from recipes.scenes.evaluation.answering import answer_scene
from recipes.scenes.evaluation.records import SceneRecord
from recipes.scenes.evaluation.scene_questions import ALL_KINDS, Questionnaire
from recipes.scenes.evaluation.scene_run import Settings, answer_all, read_saved
from recipes.scenes.symbols import SymbolicScenes
from tests import talk
from tests.groma.eval.fakes import FakeGroma, oracle

SETTINGS = Settings(
    model="fake",
    quantization=None,
    dtype="auto",
    scenes="own",
    split="test",
    seed=2,
    style=None,
    size=96,
    kinds=ALL_KINDS,
    density=2.0,
    max_new_tokens=64,
    score_threshold=None,
    max_regions=None,
)
SCENES = [SETTINGS.source()[i] for i in range(6)]
ASKED = [
    (scene, Questionnaire(density=2.0).ask(scene, "test", 2, i)) for i, scene in enumerate(SCENES)
]
SAVED = (
    *("--size", "96", "--max-new-tokens", "6", "--density", "3", "--dtype", "float32"),
    *("--device", "cpu"),
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.jsonl"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    target = tmp_path_factory.mktemp("model")
    groma = talk.groma()
    groma.model.save_pretrained(target)
    talk.toy.tokenizer("llama").save_pretrained(target)
    return str(target)


def fake():
    return FakeGroma(SCENES, oracle(ASKED))


def no_model():
    raise AssertionError("no model is needed here")


def test_boxes_are_drawn_with_the_turn_that_mentions_them_first():
    turns = [
        QA(("What is ", Mention(2), "?"), ("!",)),
        QA(("Is ", Mention(2), " beside ", Mention(0), "?"), ("!",), expected=Expected(yes=True)),
        QA(("Thanks.",), ("!",)),
    ]
    boxes = tuple((i / 4, 0.0, 1.0, 0.5) for i in range(3))
    sample = GroundedSample("x", (100, 200), boxes, ("a", "b", "c"), tuple(turns))
    assert [sample.in_pixels(new) for new in sample.drawn] == [
        ((100.0, 0.0, 200.0, 50.0),),
        ((0.0, 0.0, 200.0, 50.0),),
        (),
    ]


def test_records_survive_json():
    scene, talks = ASKED[1]
    record = answer_scene(fake(), scene, 1, talks, {})
    copy = SceneRecord.from_dict(json.loads(json.dumps(record.to_dict())))
    assert copy == record
    assert [a.verdict for a in copy.singles] == [a.verdict for a in record.singles]


def test_scenes_without_pixels_cannot_be_looked_at():
    with pytest.raises(ValueError, match="symbolic"):
        answer_scene(fake(), SymbolicScenes("test")[0], 0, [], {})


def test_saved_answers_are_read_again(path):
    records = answer_all(SETTINGS, range(4), fake, path)
    assert [record.index for record in records] == [0, 1, 2, 3]
    assert read_saved([path]) == (SETTINGS, records)
    assert answer_all(SETTINGS, range(4), no_model, path) == records
    assert answer_all(SETTINGS, range(1, 3), no_model, path) == records[1:3]


def test_a_killed_run_goes_on_where_it_ended(path):
    groma = fake()
    perfect = groma.speak

    def tire(scene, asked):
        if scene.key == SCENES[2].key:
            raise KeyboardInterrupt
        return perfect(scene, asked)

    with pytest.raises(KeyboardInterrupt):
        answer_all(SETTINGS, range(5), lambda: FakeGroma(SCENES, tire), path)
    path.write_bytes(path.read_bytes() + b'{"index":2,"ke')
    resumed = fake()
    records = answer_all(SETTINGS, range(5), lambda: resumed, path)
    assert resumed.encoded == [scene.key for scene in SCENES[2:5]]
    assert records == answer_all(SETTINGS, range(5), fake, None)
    assert read_saved([path])[1] == records


def test_processes_may_share_the_work(path, tmp_path):
    other = tmp_path / "other.jsonl"
    late = answer_all(SETTINGS, range(3, 6), fake, other)
    early = answer_all(SETTINGS, range(3), fake, path)
    assert read_saved([other, path]) == (SETTINGS, early + late)


def test_no_scene_counts_twice(path, tmp_path):
    other = tmp_path / "other.jsonl"
    answer_all(SETTINGS, range(3), fake, path)
    answer_all(SETTINGS, range(2, 4), fake, other)
    with pytest.raises(GromaError, match="test/2/2 was answered twice"):
        read_saved([path, other])


def test_runs_are_not_mixed(path, tmp_path):
    other = tmp_path / "other.jsonl"
    answer_all(SETTINGS, range(1), fake, path)
    wild = replace(SETTINGS, max_regions=3)
    with pytest.raises(GromaError, match="max_regions was None, and now is 3"):
        answer_all(wild, range(1), no_model, path)
    answer_all(wild, range(1, 2), fake, other)
    with pytest.raises(GromaError, match="different runs"):
        read_saved([path, other])


def test_files_that_hold_something_else_are_refused(path):
    RunJournal.resume(path, SETTINGS.to_dict())
    with pytest.raises(GromaError, match="no answers yet"):
        read_saved([path])
    RunJournal.resume(path, SETTINGS.to_dict()).append({"index": 0, "key": "x"})
    with pytest.raises(GromaError, match="no scene's answers"):
        read_saved([path])


@pytest.mark.parametrize(
    ("changes", "indices"),
    [
        ({}, range(0)),
        ({}, range(-1, 2)),
        ({"max_new_tokens": 0}, range(1)),
        ({"density": -1.0}, range(1)),
        ({"size": 8}, range(1)),
        ({"scenes": "other", "size": 8}, range(1)),
        ({"style": "cubist"}, range(1)),
    ],
)
def test_senseless_settings_are_refused(changes, indices):
    with pytest.raises(GromaError):
        answer_all(replace(SETTINGS, **changes), indices, fake, None)


def test_sharing_a_chat_changes_no_answer():
    groma = talk.tiny_groma(longest=4096)
    scene, _ = ASKED[0]
    talks = Questionnaire(density=8).ask(scene, "test", 2, 0)
    encoded = groma.encode_image(scene.pixels)
    shared = groma.chat(encoded, max_new_tokens=8)
    replies = [hold(shared, each.sample) for each in talks]
    assert not shared.conversation.turns
    fresh = [hold(groma.chat(encoded, max_new_tokens=8), each.sample) for each in talks]
    assert [_shape(turns) for turns in replies] == [_shape(turns) for turns in fresh]
    assert sum(map(len, replies)) > 20


def _shape(replies):
    return [
        (r.text, r.finish, [(s.start, s.end, [x.id for x in s.regions]) for s in r.spans])
        for r in replies
    ]


def test_a_conversation_that_grows_too_long_ends_empty():
    groma = talk.tiny_groma(longest=420)
    scene = SCENES[0]
    talks = Questionnaire(("conversation",), density=20).ask(scene, "test", 2, 0)
    encoded = groma.encode_image(scene.pixels)
    chat = groma.chat(encoded, max_new_tokens=40)
    replies = hold(chat, talks[0].sample)
    refused = [reply.finish == "cancelled" for reply in replies]
    assert len(replies) == len(talks[0].sample.turns)
    assert refused == sorted(refused)
    assert any(refused)
    assert not refused[0]
    assert not chat.conversation.turns


def test_a_tiny_model_from_end_to_end(model, path, capsys):
    arguments = ["evaluate", "-n", "3", "--model", model, "--save", str(path), *SAVED]
    assert cli.main([*arguments, "--json"]) == 0
    output = capsys.readouterr()
    result = json.loads(output.out)
    assert "scenes" in output.err
    assert result["scenes"] == 3
    assert result["run"]["model"] == model
    assert result["figures"]["rec_name"].keys() == {
        *("label", "value", "low", "high", "cases", "target")
    }
    assert 0 <= result["figures"]["proposals_50"]["value"] < 1
    assert cli.main(["evaluate", "--predictions", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == result
    assert cli.main(["evaluate", "--predictions", str(path)]) == 0
    head, *tables = capsys.readouterr().out.split("\n\n")
    assert head == f"{model}: 3 scenes, test split, seed 2, 96 px, every style of training".replace(
        "seed 2", "seed 0"
    )
    assert len(tables) == 7


def test_other_scenes_and_few_kinds(model, capsys):
    arguments = ["evaluate", "-n", "2", "--scenes", "other", "--model", model, *SAVED]
    assert cli.main([*arguments, "--kinds", "count", "chat", "--style", "twemoji"]) == 0
    head, *tables = capsys.readouterr().out.split("\n\n")
    assert "2 scenes of other making, test split, seed 0, 96 px, twemoji" in head
    assert "target" not in "".join(tables)
    assert "| count " in tables[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--kinds", "nonsense"), "no kind of question 'nonsense'"),
        (("-n", "0"), "at least one scene"),
        (("--style", "cubist"), "no sprite style 'cubist'"),
        (("--model", "nowhere"), "nowhere"),
        (("--predictions", "none.jsonl"), "none.jsonl cannot be used"),
        (("--save", "none/answers.jsonl"), "cannot be used"),
    ],
)
def test_mistakes_cost_one_sentence(arguments, message, model, capsys):
    assert cli.main(["evaluate", "--model", model, *SAVED, *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (sentence,) = [line for line in output.err.splitlines() if line.startswith("groma: ")]
    assert message in sentence


def test_scenes_are_written(tmp_path, capsys):
    arguments = ["write", "--save", str(tmp_path / "x"), "-n", "2", "--size", "96"]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out.startswith("2 scenes are in ")
    assert len(list((tmp_path / "x").glob("*-boxes.png"))) == 2
