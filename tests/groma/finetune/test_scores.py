"""Right answers of base and adapter, counted."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

import groma
from groma import embedded
from groma.chat.conversation import GroundedReply
from groma.data.sample import QA, GroundedSample, Mention, Phrase
from groma.finetune.run_folder import RunFolder
from groma.finetune.scores import Score, is_worse, judge_answer, measure, measure_standard, verdict
from groma.named_regions import GroundedSpan, RegionRef
from groma.types import Box
from tests import talk
from tests.groma.finetune import lora_case

SIZE = (100, 200)
LEFT, RIGHT = (0.0, 0.0, 0.4, 1.0), (0.5, 0.0, 1.0, 1.0)
SAMPLE = GroundedSample("", SIZE, (LEFT, RIGHT), ("dog", "dog"), ())
FIND = QA(("Where is the dog?",), ("Here is ", Phrase("the dog", (0,)), "."))
ALL = QA(("Find all dogs.",), ("Here are ", Phrase("the dogs", (0, 1)), "."))
NAME = QA(("What is ", Mention(1), "?"), ("It is a blicket.",))
NONE = QA(("Where is the cat?",), ("There is no cat in the picture.",))


def reply(text: str, *boxes: Box) -> GroundedReply:
    regions = tuple(
        RegionRef(i, (x1 * 200, y1 * 100, x2 * 200, y2 * 100), 1.0, 1.0)
        for i, (x1, y1, x2, y2) in enumerate(boxes)
    )
    return GroundedReply(text, (GroundedSpan(0, len(text), regions),) if boxes else (), SIZE)


@pytest.mark.parametrize(
    ("turn", "answer", "judged"),
    [
        (FIND, reply("Here", LEFT), ("found", True)),
        (FIND, reply("Here", RIGHT), ("found", False)),
        (FIND, reply("There is none."), ("found", False)),
        (ALL, reply("Here", RIGHT, LEFT), ("all found", True)),
        (ALL, reply("Here", RIGHT), ("all found", False)),
        (ALL, reply("Here", RIGHT, LEFT, (0.4, 0.0, 0.5, 1.0)), ("all found", False)),
        (NAME, reply("A small blicket, I think."), ("named right", True)),
        (NAME, reply("It is a dog."), ("named right", False)),
        (NONE, reply("I see no cat."), ("not there, denied", True)),
        (NONE, reply("I see no cat.", LEFT), ("not there, denied", False)),
        (NONE, reply("Yes."), ("not there, denied", False)),
        (QA(("Hello!",), ("Good morning.",)), reply("Good day."), None),
    ],
)
def test_an_answer_is_right_in_whatever_words(
    turn: QA, answer: GroundedReply, judged: tuple[str, bool] | None
) -> None:
    assert judge_answer(SAMPLE, turn, answer) == judged


def test_what_is_new_and_what_was_known_are_counted_apart(tmp_path: Path) -> None:
    samples = lora_case.samples(tmp_path, 2)
    scores = measure(talk.groma(), nullcontext, samples, known=("cat",))
    assert [(score.what, score.is_new, score.asked) for score in scores] == [
        ("found", True, 2),
        ("named right", False, 1),
    ]
    assert all(score.base == score.adapter for score in scores)


def test_standard_pictures_tell_what_was_forgotten() -> None:
    folder = embedded.standard_pictures("groma-mini")
    assert folder is not None and embedded.standard_pictures(folder) is None
    rows = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
    base = groma.load("groma-mini", device="cpu")
    score = measure_standard(base, nullcontext, folder)
    assert score.asked == len(rows) and score.base == score.adapter >= len(rows) - 1
    mute = measure_standard(talk.groma(), nullcontext, folder)
    assert mute.adapter < score.adapter
    said = verdict([Score("found", True, 4, 0, 3), score])
    assert "held out the adapter is better than its base: 3 of 4" in said
    assert f"On standard pictures the adapter is as good as its base: {score.adapter} of" in said


def test_an_adapter_that_is_worse_is_said_to_be(tmp_path: Path) -> None:
    better = [Score("found", True, 4, 0, 3)]
    assert not is_worse(better)
    assert str(better[0]) == "found (new): 3 of 4, the base 0"
    assert "better than its base: 3 of 4 answers are right, the base's 0" in verdict(better)
    worse = [*better, Score("named right", False, 6, 6, 1)]
    assert is_worse(worse) and "worse than its base: 4 of 10" in verdict(worse)
    assert verdict([]) == "" and not is_worse([])
    folder = RunFolder(tmp_path)
    assert folder.scores == []
    folder.keep_scores(worse)
    assert folder.scores == worse
