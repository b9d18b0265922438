"""What a base says of the pictures of a training set, learnt along."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import groma
from benchmarks.new_object import NAME, example
from groma.chat.chat import Groma
from groma.chat.conversation import GroundedReply
from groma.data.sample import QA, GroundedSample, Phrase, plain_text
from groma.finetune import lora_run as run
from groma.finetune import rehearsal
from groma.finetune.planning import prepare
from groma.finetune.rehearsal import _IN_DETAIL, _TURNS, Knowledge, rehearse
from groma.finetune.run_folder import RunFolder
from groma.finetune.wording import Wording
from groma.loop.curves import read_log
from groma.named_regions import GroundedSpan, RegionRef
from groma.ops.boxes import pairwise_iou
from groma.types import Box
from tests.groma.finetune import lora_case

WORDING = Wording.of("groma-mini")


@pytest.fixture(scope="module")
def base() -> Groma:
    return groma.load("groma-mini", device="cpu")


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[GroundedSample]:
    folder = tmp_path_factory.mktemp("pictures")
    return [example("train", 0, index, folder) for index in range(5)]


@pytest.fixture(scope="module")
def talks(base: Groma, samples: list[GroundedSample]) -> list[GroundedSample]:
    found = rehearse(base, samples, WORDING)
    assert found is not None
    return found


def test_it_contradicts_no_example(
    samples: list[GroundedSample], talks: list[GroundedSample]
) -> None:
    assert len(talks) >= 3
    assert len({talk.picture for talk in talks}) == len(talks)
    by_picture = {sample.picture: sample for sample in samples}
    for talk in talks:
        taught = by_picture[talk.picture]
        assert 1 <= len(talk.turns) <= _TURNS
        said = " ".join(plain_text((*turn.answer,)) for turn in taught.turns)
        overlaps = pairwise_iou(torch.tensor(talk.boxes), torch.tensor(taught.boxes)) > 0.5
        for turn in talk.turns:
            asked = plain_text(turn.question)
            if not asked.startswith("Where is the "):
                assert asked == _IN_DETAIL or asked in WORDING.describe
                continue
            assert NAME not in asked
            noun = asked.split()[-1].rstrip("?")
            for piece in turn.answer:
                for region in piece.regions if isinstance(piece, Phrase) else ():
                    shown = {taught.names[row] for row in overlaps[region].nonzero()[:, 0]}
                    assert shown == {noun} or (not shown and noun not in said)
                    assert not overlaps[region, -1]  # the new thing is nothing else


@pytest.mark.parametrize(
    ("thing", "box", "contradicts"),
    [
        ("brown dog", (0.1, 0.1, 0.5, 0.8), False),
        ("lamp", (0.1, 0.1, 0.5, 0.8), True),  # what is shown has another name
        ("dog", (0.6, 0.1, 0.9, 0.5), True),  # what is named is elsewhere
        ("balloon", (0.6, 0.1, 0.9, 0.5), True),  # it is taught that there is none
        ("lamp", (0.6, 0.1, 0.9, 0.5), False),
    ],
)
def test_a_contradiction_is_another_name_or_another_place(
    thing: str, box: Box, contradicts: bool
) -> None:
    find = QA(("Where is the dog?",), ("Here is ", Phrase("the dog", (0,)), "."))
    none = QA(("Where is the balloon?",), ("There is none.",))
    boxed = GroundedSample("", (100, 200), ((0.1, 0.1, 0.5, 0.8),), ("a dog",), (find,))
    plain = GroundedSample("", (100, 200), (), (), (none,))
    x1, y1, x2, y2 = box
    region = RegionRef(0, (x1 * 200, y1 * 100, x2 * 200, y2 * 100), 0.9, 0.9)
    reply = GroundedReply("It is here.", (GroundedSpan(0, 2, (region,)),), (100, 200))
    assert rehearsal._Taught([boxed, plain]).contradicts(thing, reply) == contradicts
    assert rehearsal._Taught([plain]).contradicts(thing, reply) == (thing == "balloon")


def test_it_is_what_the_base_says_and_the_same_again(
    base: Groma, samples: list[GroundedSample], talks: list[GroundedSample]
) -> None:
    assert rehearse(base, samples, WORDING) == talks
    talk = talks[0]
    chat = base.chat(talk.picture)
    for turn in talk.turns:
        assert chat.ask(plain_text(turn.question)).text == plain_text(turn.answer)


def test_it_asks_about_so_many_pictures_and_stops(
    base: Groma, samples: list[GroundedSample], monkeypatch: pytest.MonkeyPatch
) -> None:
    about: list[tuple[str, int]] = []

    def talk(_: Groma, picture: str, known: list[GroundedSample], *__: object) -> GroundedSample:
        about.append((picture, len(known)))
        return samples[0]

    monkeypatch.setattr(rehearsal, "_MOST_PICTURES", 2)
    monkeypatch.setattr(rehearsal, "_talk_about", talk)
    rehearse(base, [*samples, *samples], WORDING)
    (one, known), (other, _) = about
    assert one != other
    assert known == 2
    asked = iter([False, True])
    assert rehearse(base, samples, WORDING, stop=lambda: next(asked)) is None


@pytest.fixture
def prepared(tmp_path: Path) -> RunFolder:
    tiny = lora_case.save_base(tmp_path / "base")
    settings = lora_case.settings(tiny, rehearsal=True, held_out=0.0)
    return prepare(tmp_path / "run", settings, lora_case.samples(tmp_path, 4))[0]


def test_a_run_asks_once_and_reads_it_as_often_as_its_examples(
    prepared: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def answer(_: object, samples: list[GroundedSample], *__: object) -> list[GroundedSample]:
        asked.append(len(samples))
        return [replace(samples[0], turns=samples[0].turns[::-1]), *samples[1:2]]

    monkeypatch.setattr(run, "rehearse", answer)
    stops = iter([False] * 4)
    assert not run.train(prepared, stop=lambda: next(stops, True))
    kept = (prepared.path / "rehearsal.json").read_bytes()
    assert run.train(prepared)
    assert asked == [4]
    assert (prepared.path / "rehearsal.json").read_bytes() == kept
    epochs, per_step = 3, 2
    assert read_log(prepared.path)[-1]["step"] == epochs * (4 + 2) / per_step
    assert "| rehearsed talks | 2 |" in (prepared.adapter / "README.md").read_text()


def test_other_processes_wait_for_the_first(
    prepared: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(run, "rehearse", None)
    talks = prepared.samples[:1]
    later = threading.Timer(0.3, prepared.keep_knowledge, [Knowledge(talks)])
    later.start()
    assert run._ask_base(prepared, None, prepared.samples, None, lambda: False) == Knowledge(talks)


def test_a_stop_while_it_asks_is_heeded(
    prepared: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "rehearse", lambda *_: None)
    assert not run.train(prepared, stop=lambda: True)
    assert prepared.state == "cancelled"
    assert prepared.knowledge is None


def test_of_a_damaged_file_the_base_is_asked_again(
    prepared: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    (prepared.path / "rehearsal.json").write_text("[{}]")
    assert prepared.knowledge is None
    assert "rehearsal.json is damaged; the base is asked again." in caplog.text
