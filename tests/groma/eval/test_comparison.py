import json
import shutil
from pathlib import Path

import pytest

from groma.chat.conversation import GroundedReply
from groma.chat.settings import GenerationSettings
from groma.checkpoint.adapters import Fingerprint, add_lora, share, write_adapter
from groma.cli import evaluate_adapter as adapter_command
from groma.cli import main as cli
from groma.data.sample import QA, GroundedSample, Mention, Phrase
from groma.eval.harness.adapter_comparison import (
    _mean_overlap,
    _word_changes,
    compare,
    compare_replies,
)
from groma.finetune.run_folder import RunFolder
from groma.named_regions import GroundedSpan, RegionRef
from groma.types import GromaError
from tests import talk
from tests.groma.finetune import lora_case

LEFT, RIGHT = (0.0, 0.0, 40.0, 60.0), (40.0, 0.0, 80.0, 60.0)
SAMPLE = GroundedSample(
    "picture.png",
    talk.SIZE,
    ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)),
    ("dog", "cat"),
    (
        QA(("Where is the dog?",), ("Here is ", Phrase("the dog", (0,)), ".")),
        QA(("What is ", Mention(1), "?"), ("a cat",), grounding=False),
    ),
)


def reply(text: str, *boxes: tuple) -> GroundedReply:
    regions = tuple(RegionRef(i, box, 1.0, 1.0) for i, box in enumerate(boxes))
    spans = (GroundedSpan(0, len(text), regions),) if boxes else ()
    return GroundedReply(text, spans, talk.SIZE)


def test_boxes_are_judged_against_the_example_and_each_other() -> None:
    row = compare_replies(
        SAMPLE, SAMPLE.turns[0], reply("Here is the dog.", RIGHT), reply("It is the dog.", LEFT)
    )
    assert (row.base_iou, row.adapter_iou, row.iou_gain, row.agreement) == (0, 1, 1, 0)
    assert row.wanted == "Here is the dog." and row.wanted_boxes == (LEFT,)
    assert row.changes == (("base", "Here"), ("adapter", "It"), ("same", "is the dog."))
    json.dumps(row.to_dict())


def test_boxes_without_a_partner_count_as_misses() -> None:
    assert _mean_overlap([], []) is None
    assert _mean_overlap([LEFT], []) == _mean_overlap([], [LEFT]) == 0
    assert _mean_overlap([LEFT, RIGHT], [RIGHT]) == 0.5
    assert _mean_overlap([RIGHT, LEFT], [LEFT, RIGHT]) == 1
    half = (0.0, 0.0, 40.0, 30.0)
    assert _mean_overlap([half], [LEFT]) == pytest.approx(0.5)


def test_where_nothing_is_to_be_pointed_at_nothing_is_judged() -> None:
    row = compare_replies(SAMPLE, SAMPLE.turns[1], reply("a dog"), reply("a cat"))
    assert row.base_iou is row.adapter_iou is row.iou_gain is row.agreement is None
    assert row.question == "What is [1]?"
    assert row.pointed == ((1, RIGHT),)


def test_words_of_both_replies_can_be_put_together_again() -> None:
    base, adapter = "a b c d", "b x d e"
    changes = _word_changes(base, adapter)
    for who, text in (("base", base), ("adapter", adapter)):
        assert " ".join(words for kind, words in changes if kind in ("same", who)) == text


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adapter")
    model = talk.groma().model
    adapted = add_lora(share(model), rank=2, alpha=4)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.fill_(0.05)
    write_adapter(adapted, folder, Fingerprint.of(model), {})
    return folder


def test_both_models_answer_every_question(adapter: Path, tmp_path: Path) -> None:
    talk.picture().save(tmp_path / "picture.png")
    picture = str(tmp_path / "picture.png")
    sample = GroundedSample(picture, SAMPLE.size, SAMPLE.boxes, SAMPLE.names, SAMPLE.turns)
    base = talk.groma()
    settings = GenerationSettings(max_new_tokens=12)
    rows = list(compare(base, base.with_adapter(adapter), [sample], settings))
    assert [row.question for row in rows] == ["Where is the dog?", "What is [1]?"]
    asked = base.chat(picture).ask("Where is the dog?", max_new_tokens=12)
    assert rows[0].base == asked
    assert rows[0].adapter.text != asked.text
    assert "2 questions" in adapter_command._summary(rows)
    assert all(row.base.text in adapter_command._describe(row) for row in rows)


def test_a_run_is_compared_on_what_it_held_out(
    adapter: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    samples = lora_case.samples(tmp_path)
    run = RunFolder.create(tmp_path / "run", lora_case.settings(tmp_path), samples)
    command = ("eval", "adapter", "--run", str(run.path), "--max-new-tokens", "4", "--json")
    options = cli.build_parser().parse_args(command)
    with pytest.raises(GromaError, match="no adapter yet; it is ready"):
        adapter_command._choose_questions(options)
    shutil.copytree(adapter, run.adapter)
    monkeypatch.setattr(adapter_command, "load_model", lambda _: talk.groma())
    assert cli.main(command) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["adapter"] == str(run.adapter)
    asked = [(Path(reply["picture"]).name, reply["question"]) for reply in said["replies"]]
    turns = [(Path(s.picture).name, t) for s in run.held_out for t in s.turns]
    assert [name for name, _ in asked] == [name for name, _ in turns]
    options = cli.build_parser().parse_args(("eval", "adapter", "--adapter", str(adapter)))
    with pytest.raises(GromaError, match="Name --run"):
        adapter_command._choose_questions(options)
