"""What each parser makes of the fixtures, against the scenes they were made from."""

import pickle
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from groma.data.mixture import Mixture
from groma.data.sample import GroundedSample, Mention, Phrase, plain_text
from groma.data.sources import flickr, open_images, refer, sa1b, visual_genome
from groma.data.sources.coco import open_coco
from groma.data.sources.formats import FORMATS
from groma.data.sources.items import (
    UNKNOWN_SIZE,
    BrokenItem,
    DetectionSample,
    box_from_xywh,
    box_from_xyxy,
)
from groma.data.sources.spans import grounded_pieces
from groma.types import GromaError
from tests.groma.data.make import HEIGHT, WIDTH, caption, scene, things

REASONS = {
    "coco": {"no box": 2},
    "objects365": {"no box": 2},
    "v3det": {"no box": 2},
    "openimages": {"no box": 1},
    "sa1b": {"no box": 1, "not JSON": 1},
    "sharegpt4v-pt": {"not JSON": 1},
    "sharegpt4v": {},
    "llava": {
        "text without picture": 1,
        "questions and answers that do not alternate": 1,
    },
    "groma-instruct": {"another number of boxes than its text has places for": 1},
    "coco-find": {"no box": 2},
    "flickr30k": {"boxes that cannot be read": 2},
    "flickr-released": {"a phrase outside its caption": 1},
    "vg-single": {"no box": 1},
    "vg-multi": {"no box": 1},
    "refcoco": {"a thing that the instances do not hold": 2},
    "refcocog-caption": {"a thing that the instances do not hold": 2},
    "refcoco-released": {"an empty text": 1},
    "refcocog-released": {"a box outside the picture": 1},
    "grit": {"a field of the wrong type": 1},
    "grit-caption": {"a field of the wrong type": 1},
}
"""What is broken in each source."""


@pytest.fixture(scope="module")
def parsed(detection: Mixture, conversations: Mixture) -> dict[str, list]:
    """Every source's samples that are not broken."""
    found = {}
    for mixture in (detection, conversations):
        for source in mixture.opened:
            samples, broken = [], Counter()
            for index in range(len(source.samples)):
                try:
                    samples.append(source.samples[index])
                except BrokenItem as error:
                    broken[str(error)] += 1
            assert broken == REASONS[source.name], source.name
            found[source.name] = samples
    assert found.keys() == REASONS.keys()
    return found


def test_every_format_has_a_fixture(detection: Mixture, conversations: Mixture) -> None:
    named = {source.format for mixture in (detection, conversations) for source in mixture.sources}
    assert named == FORMATS.keys()


def true_boxes(number: int) -> list[tuple]:
    scale = (WIDTH, HEIGHT, WIDTH, HEIGHT)
    return [
        tuple(edge / side for edge, side in zip(thing.box, scale, strict=True))
        for thing in things(number)
    ]


def assert_boxes(found, wanted, tolerance: float = 1e-6) -> None:
    assert sorted(found) == [pytest.approx(box, abs=tolerance) for box in sorted(wanted)]


@pytest.mark.parametrize("name", ["coco", "objects365", "v3det", "openimages"])
def test_detection_boxes_are_the_things(parsed: dict, name: str) -> None:
    assert len(parsed[name]) == 2
    for number, sample in enumerate(parsed[name]):
        assert isinstance(sample, DetectionSample)
        assert sample.head == "coco"
        assert sample.size == (UNKNOWN_SIZE if name == "openimages" else (HEIGHT, WIDTH))
        assert_boxes(sample.boxes, true_boxes(number))
        held = {box: noun for box, noun in zip(sample.boxes, sample.names, strict=True)}
        wanted = dict(zip(true_boxes(number), [t.noun for t in things(number)], strict=True))
        assert [held[box].lower() for box in sorted(held)] == [wanted[b] for b in sorted(wanted)]


def test_segments_are_class_agnostic(parsed: dict) -> None:
    for number, sample in enumerate(parsed["sa1b"]):
        parts = len(scene(number).parts)
        assert sample.head == "sa1b"
        assert sample.names == ()
        assert len(sample.boxes) == len(things(number)) + parts
        assert sample.picture == f"sa_000000/sa_{number + 1}.jpg"


def test_the_released_list_of_segments_trains_their_head(public: Path) -> None:
    read = partial(open_coco, public / "coco/instances.json", None)
    plain, segments = read()[0], read(head="sa1b")[0]
    assert isinstance(plain, DetectionSample)
    assert segments == replace(plain, head="sa1b")


def test_asking_for_a_class_points_to_all_of_it(parsed: dict) -> None:
    for number, sample in enumerate(parsed["coco-find"]):
        assert Counter(sample.names) == Counter(thing.noun for thing in things(number))
        assert len(sample.turns) == len(set(sample.names))
        for turn in sample.turns:
            (phrase,) = turn.answer
            assert turn.question == (phrase.text,)
            held = [i for i, name in enumerate(sample.names) if name == phrase.text]
            assert list(phrase.regions) == held


@pytest.mark.parametrize("name", ["refcoco", "refcoco-released", "grit"])
def test_an_expression_is_answered_by_its_box(parsed: dict, name: str) -> None:
    for sample in parsed[name]:
        number = int(sample.picture[-5]) - (0 if name == "grit" else 1)
        for turn in sample.turns:
            (phrase,) = turn.answer
            assert turn.kind == "rec"
            assert turn.grounding
            assert turn.question == (phrase.text,)
            (region,) = phrase.regions
            box = true_boxes(number)[[t.noun in phrase.text for t in things(number)].index(True)]
            assert sample.boxes[region] == pytest.approx(box, abs=1e-6)


def test_refs_are_joined_with_instances(parsed: dict) -> None:
    first = parsed["refcoco"][:2]
    assert [plain_text(s.turns[0].question) for s in first] == [
        f"the {things(0)[0].noun}",
        f"{things(0)[0].noun} left",
    ]
    assert first[0].picture == "COCO_train2014_000000000001.jpg"
    assert first[0].names == (things(0)[0].noun,)


@pytest.mark.parametrize("name", ["vg-single", "vg-multi", "refcocog-released", "refcocog-caption"])
def test_a_region_is_captioned(parsed: dict, name: str) -> None:
    for sample in parsed[name]:
        assert len(sample.turns) == len(sample.boxes)
        for region, turn in enumerate(sample.turns):
            assert turn.kind == "region_caption"
            assert turn.question == (Mention(region),)
            assert not turn.grounding
            assert isinstance(turn.answer[0], str)
    assert (len(parsed[name][0].turns) > 1) == (name in ("vg-multi", "refcocog-released"))


def test_a_single_round_is_one_region_of_many(parsed: dict) -> None:
    boxes = [sample.boxes[0] for sample in parsed["vg-single"]]
    several = [box for sample in parsed["vg-multi"] for box in sample.boxes]
    assert boxes == several
    assert parsed["vg-single"][0].picture == "VG_100K_2/1.jpg"
    assert "—" in parsed["vg-single"][0].turns[0].answer[0]
    wanted = [[int(edge) for edge in thing.box] for thing in things(0)]
    found = [[round(v) for v in _to_px(sample.boxes[0])] for sample in parsed["vg-single"]]
    assert all(box in wanted for box in found[: len(wanted)])


def _to_px(box) -> list[float]:
    return [v * side for v, side in zip(box, (WIDTH, HEIGHT) * 2, strict=True)]


@pytest.mark.parametrize("name", ["flickr-released", "grit-caption"])
def test_a_caption_keeps_its_words_and_every_phrase_its_box(parsed: dict, name: str) -> None:
    for number, sample in enumerate(parsed[name]):
        (turn,) = sample.turns
        text, spans = caption(number)
        assert plain_text(turn.answer) == text
        phrases = [piece for piece in turn.answer if isinstance(piece, Phrase)]
        assert [p.text for p in phrases] == [text[start:stop] for start, stop, _ in spans]
        assert_boxes([sample.boxes[p.regions[0]] for p in phrases], true_boxes(number))


def test_marked_sentences_become_phrases(parsed: dict) -> None:
    first, second = parsed["flickr30k"][:2]
    nouns = [thing.noun for thing in things(0)]
    text = plain_text(first.turns[0].answer)
    assert text == f"{' beside '.join(f'The {n}' for n in nouns)} before nothing, as usual."
    phrases = [piece for piece in first.turns[0].answer if isinstance(piece, Phrase)]
    assert [phrase.text for phrase in phrases] == [f"The {noun}" for noun in nouns]
    assert_boxes(first.boxes, true_boxes(0))
    assert second.turns[0].answer == (
        Phrase(f"The {nouns[0]}", (0,)),
        " is seen in a drawing.",
    )


def test_flickr_takes_the_pictures_of_a_split(public: Path, tmp_path: Path) -> None:
    folder = public / "flickr30k"
    whole, split = (
        flickr.open_flickr30k(folder, tmp_path, split=file) for file in (None, folder / "train.txt")
    )
    assert len(whole) == 6
    assert len(split) == 4
    assert split[0] == whole[0]


@pytest.mark.parametrize("name", ["sharegpt4v-pt", "sharegpt4v", "llava"])
def test_conversations_keep_their_words(parsed: dict, name: str) -> None:
    for sample in parsed[name]:
        assert isinstance(sample, GroundedSample)
        assert sample.boxes == ()
        for turn in sample.turns:
            assert turn.kind == "chat"
            assert "<image>" not in plain_text(turn.question)
            assert not turn.grounding
    assert len(parsed["llava"][0].turns) == 2
    assert "—" in plain_text(parsed["llava"][0].turns[0].answer)


def test_grounded_conversations_point_at_their_boxes(parsed: dict) -> None:
    for number, sample in enumerate(parsed["groma-instruct"]):
        assert_boxes(sample.boxes, true_boxes(number))
        phrases = [piece for piece in sample.turns[0].answer if isinstance(piece, Phrase)]
        assert [phrase.regions for phrase in phrases] == [(i,) for i in range(len(sample.boxes))]


def test_a_phrase_may_mean_several_boxes_and_the_longer_of_two_stays() -> None:
    text = "two dogs in the green park"
    spans = [(12, 27 - 1, 2), (0, 8, 1), (16, 21, 3), (0, 9, 0), (0, 8, 1)]
    pieces, names = grounded_pieces(text, spans, 4)
    assert pieces == (Phrase("two dogs", (1, 0)), " in ", Phrase("the green park", (2,)))
    assert names == ("two dogs", "two dogs", "the green park", "green")


@pytest.mark.parametrize("span", [(0, 50), (3, 3), (-2, 4), (5, 2), (3, 4)])
def test_a_span_outside_its_text_is_refused(span: tuple[int, int]) -> None:
    with pytest.raises(BrokenItem):
        grounded_pieces("two dogs", [(*span, 0)], 1)


def test_boxes_are_cut_at_the_edge_and_impossible_ones_refused() -> None:
    assert box_from_xywh([-5, 10, 25, 100], (50, 40)) == (0.0, 0.2, 0.5, 1.0)
    nan, infinite = float("nan"), float("inf")
    for box in ((1, 1, 1, 2), (2, 1, 1, 2), (nan, 0, 1, 1), (0, 0, infinite, 1), (2, 2, 3, 3)):
        with pytest.raises(BrokenItem):
            box_from_xyxy(box)
    with pytest.raises(BrokenItem, match="size"):
        box_from_xyxy((0, 0, 1, 1), UNKNOWN_SIZE)


class _Evil:
    def __reduce__(self):
        return print, ("this must not run",)


def test_a_pickle_may_hold_data_only(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "refs(unc).p"
    path.write_bytes(pickle.dumps([_Evil()]))
    with pytest.raises(GromaError, match="plain data"):
        refer.read_refs(path)
    assert capsys.readouterr().out == ""
    for content in (b"", b"nonsense", pickle.dumps({"a": 1}), pickle.dumps([1])):
        path.write_bytes(content)
        with pytest.raises(GromaError, match=r"refs\(unc\)\.p"):
            refer.read_refs(path)


def test_other_splits_and_files_are_told(public: Path, tmp_path: Path) -> None:
    refs, instances = public / "refcoco/refs(unc).p", public / "refcoco/instances.json"
    assert len(refer.open_refer(refs, tmp_path, instances=instances, split="testA")) == 2
    with pytest.raises(GromaError, match="val"):
        refer.open_refer(refs, tmp_path, instances=instances, split="val")
    with pytest.raises(GromaError, match="ImageID"):
        open_images.open_images(public / "openimages/class-descriptions-boxable.csv", tmp_path)
    with pytest.raises(GromaError, match="image_data"):
        visual_genome.read_pictures(instances)
    with pytest.raises(GromaError, match="Sentences"):
        flickr.open_flickr30k(public, tmp_path)
    with pytest.raises(GromaError, match="no folder"):
        sa1b.open_sa1b(public / "nothing", tmp_path)


def test_json_of_another_kind_is_an_item_broken_not_a_crash(
    conversations: Mixture, detection: Mixture
) -> None:
    values = [None, 3, "x", [], {}, {"image": 1}, {"conversations": [1]}, {"boxes": [[1]]}]
    for source in (*conversations.opened, *detection.opened):
        for value in values:
            for record in ((value, 0), (value, [value]), ({}, [value]), value):
                with pytest.raises(BrokenItem):
                    type(source.samples)([record], source.samples.parse, source.samples.kind)[0]
