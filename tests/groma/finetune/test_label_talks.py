"""Labels become talk in the model's own manner, never answers of one word."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from groma.data.sample import QA, GroundedSample, Mention, Phrase, plain_text
from groma.dice import Dice
from groma.finetune.label_talks import LabelTalks, is_labelled, learnable
from groma.finetune.lora_examples import make_lessons
from groma.finetune.wording import Wording
from groma.instruction_sets.readers.reading import read_set
from groma.types import GromaError
from recipes.scenes.language.phrasings import TABLES
from tests.groma.finetune import lora_case

SIDE = 100
BOXES = {"blicket": [10, 10, 20, 20], "dog": [50, 50, 20, 20], "cat": [50, 10, 20, 20]}
PICTURES = (("blicket", "dog"), ("dog", "cat"), ("cat",))


@pytest.fixture
def samples(tmp_path: Path) -> list[GroundedSample]:
    """Three pictures of a COCO export; the first has two dogs."""
    names = list(BOXES)
    images, annotations = [], []
    for number, held in enumerate(PICTURES, start=1):
        Image.new("RGB", (SIDE, SIDE)).save(tmp_path / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE})
        rows = [(name, BOXES[name]) for name in held] + [("dog", [10, 50, 20, 20])] * (number == 1)
        annotations += [
            {
                "id": 10 * number + place,
                "image_id": number,
                "category_id": names.index(name),
                "bbox": box,
            }
            for place, (name, box) in enumerate(rows)
        ]
    categories = [{"id": number, "name": name.title()} for number, name in enumerate(names)]
    export = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "export.json").write_text(json.dumps(export))
    return learnable(read_set(tmp_path / "export.json"))


def dice(seed: int) -> Dice:
    return Dice(np.random.SeedSequence(seed))


def asked(turn: QA) -> str:
    return plain_text(turn.question, tuple(range(9)))


def talks(samples: list[GroundedSample], count: int = 60, **more: object) -> list[GroundedSample]:
    maker = LabelTalks(Wording.of("groma-photo"), samples, ("blicket",), **more)
    return [maker.talk(samples[i % len(samples)], dice(i)) for i in range(count)]


def test_an_export_is_one_labelled_sample_for_each_picture(samples: list[GroundedSample]) -> None:
    assert [set(sample.names) for sample in samples] == list(map(set, PICTURES))
    assert [len(sample.boxes) for sample in samples] == [3, 2, 1]
    assert all(map(is_labelled, samples))
    assert samples[0].boxes[samples[0].names.index("blicket")] == pytest.approx(
        (0.1, 0.1, 0.3, 0.3)
    )


def test_every_kind_is_asked_and_answers_are_sentences(samples: list[GroundedSample]) -> None:
    turns = [turn for talk in talks(samples) for turn in talk.turns]
    kinds = {"find", "find_all", "exist", "count", "name"}
    assert {turn.kind for turn in turns} == kinds
    short = [plain_text(t.answer) for t in turns if len(plain_text(t.answer).split()) < 2]
    assert not short
    assert len({asked(turn) for turn in turns}) > 60
    for turn in turns:
        said = plain_text(turn.answer)
        assert said[0].isupper() and said.endswith(".") and "{" not in said
        assert "{" not in asked(turn)


def test_what_is_said_is_what_is_labelled(samples: list[GroundedSample]) -> None:
    for talk in talks(samples):
        for turn in talk.turns:
            phrases = [piece for piece in turn.answer if isinstance(piece, Phrase)]
            for phrase in phrases:
                names = {talk.names[region] for region in phrase.regions}
                assert len(names) == 1 and names.pop().rstrip("s") in phrase.text.lower()
                centres = [talk.boxes[region][0] for region in phrase.regions]
                assert centres == sorted(centres)
            shown = [piece for piece in turn.question if isinstance(piece, Mention)]
            if not phrases and not shown:
                denied = plain_text(turn.answer).split(" no ")[1].split(" in the ")[0]
                assert denied.rstrip("s") not in talk.names
            if turn.kind == "find_all" and phrases:
                assert len(phrases[0].regions) == talk.names.count("dog") == 2


def test_what_is_new_is_asked_about_more_often(samples: list[GroundedSample]) -> None:
    first = [talk for talk in talks(samples, 90) if "blicket" in talk.names]
    about = sum("blicket" in asked(turn) for talk in first for turn in talk.turns)
    shown = sum(
        talk.names[piece.region] == "blicket"
        for talk in first
        for turn in talk.turns
        for piece in turn.question
        if isinstance(piece, Mention)
    )
    assert about + shown >= 0.7 * len(first)


def test_questions_to_measure_look_show_and_deny(samples: list[GroundedSample]) -> None:
    turns = LabelTalks(Wording(), samples).questions(samples[1], dice(0)).turns
    assert [turn.kind for turn in turns] == ["find", "name", "find", "name", "find"]
    assert "blicket" in plain_text(turns[-1].answer)


def test_a_round_talks_anew_about_labels_and_repeats_what_somebody_wrote(
    samples: list[GroundedSample],
) -> None:
    own = GroundedSample("own.png", (1, 1), (), (), (QA(("Hello?",), ("Hello.",)),))
    maker = LabelTalks(Wording(), samples)
    lessons = make_lessons([*samples[:2], own], samples[2:], [own], maker, 2.5, 0)
    first, second, third = lessons.rounds
    assert len(first) == len(second) == len(third) == 4
    repeated = set(first) & set(second) & set(third)
    assert [lessons.samples[i] for i in sorted(repeated)] == [own, own]
    assert len({*first, *second, *third}) == 2 + 2 * 3
    assert not {*first, *second, *third} & set(lessons.measured)
    assert not any(map(is_labelled, lessons.samples))
    assert lessons == make_lessons([*samples[:2], own], samples[2:], [own], maker, 2.5, 0)


@pytest.mark.parametrize("model", ["groma-mini", "groma-photo"])
def test_the_embedded_models_bring_the_words_they_learnt(model: str) -> None:
    wording = Wording.of(model)
    for kind in ("find", "find_all", "exist", "count"):
        assert getattr(wording, kind) == TABLES[kind]
    assert wording.name == TABLES["region_name"]


def test_a_damaged_wording_is_a_sentence(tmp_path: Path) -> None:
    lora_case.save_base(tmp_path)
    assert Wording.of(tmp_path) == Wording()
    (tmp_path / "wording.json").write_text('{"find": 3}')
    with pytest.raises(GromaError, match=r"wording\.json is damaged"):
        Wording.of(tmp_path)
