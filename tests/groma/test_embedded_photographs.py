"""The embedded model for photographs: its size, and its examples answered as their table says."""

import json

import pytest

import groma
from groma.chat.chat import Groma
from groma.chat.conversation import GroundedReply
from groma.embedded import WEIGHTS
from groma.eval.statistics.matching import num_matched
from tests.paths import ROOT

PHOTOGRAPHS = ROOT / "assets" / "photographs"
ENTRIES = json.loads((PHOTOGRAPHS / "examples.json").read_text(encoding="utf-8"))
FOLDER = WEIGHTS / "groma-photo"


@pytest.fixture(scope="module")
def model() -> Groma:
    return groma.load(FOLDER, device="cpu")


def test_files_are_small_and_their_licences_lie_beside_them() -> None:
    sizes = [file.stat().st_size for file in FOLDER.iterdir()]
    assert max(sizes) < 10_000_000
    assert sum(sizes) < 80_000_000
    assert {"LICENSE-nanodet.txt", "LICENSE-efficientnet-lite0.txt"} <= {
        file.name for file in FOLDER.iterdir()
    }


def ask(model: Groma, entry: dict) -> GroundedReply:
    chat = model.chat(PHOTOGRAPHS / entry["image"])
    return chat.ask(entry["question"], entry.get("boxes", ()))


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: f"{e['image']} {e['question']}")
def test_examples_are_answered_right(model: Groma, entry: dict) -> None:
    reply = ask(model, entry)
    for words in entry["says"]:
        assert words in reply.text.lower()
    boxes = [tuple(box) for box in entry["points_at"]]
    found = [region.box for region in reply.regions]
    assert num_matched(found, boxes) == len(boxes) == len(found)


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What does the sign say?", "cannot read"),
        ("Who is this?", "not know"),
        ("How old is she?", "do not guess"),
        ("Where is the mountain?", "not learnt"),
        ("What is the weather like?", "cannot tell"),
    ],
)
def test_what_it_cannot_know_is_refused(model: Groma, question: str, words: str) -> None:
    reply = ask(model, {"image": "coffee.webp", "question": question})
    assert words in reply.text
    assert not reply.spans


def test_the_first_examples_hold_in_half_precision(model: Groma) -> None:
    """`--dtype bfloat16` can be asked for; `auto` never chooses it for a model this small."""
    half = groma.load(FOLDER, device="cpu", dtype="bfloat16")
    assert ask(half, ENTRIES[0]).text == ask(model, ENTRIES[0]).text


@pytest.mark.parametrize(
    ("picture", "name", "box"),
    [("horses", "horse", (127, 212, 380, 490)), ("cows", "cow", (806, 185, 913, 275))],
)
def test_answers_about_places_do_not_depend_on_tiles(
    model: Groma, picture: str, name: str, box: tuple[float, ...]
) -> None:
    whole, tiled = (
        model.encode_image(PHOTOGRAPHS / f"{picture}.webp", detail=detail) for detail in (1, 2)
    )
    assert len(tiled.proposals.scores) > len(whole.proposals.scores)
    for question, boxes in (
        (f"Where is the {name} on the left?", ()),
        (f"Where is the {name} on the right?", ()),
        ("What is to the left of [1]?", (box,)),
    ):
        expected, reply = (model.chat(image).ask(question, boxes) for image in (whole, tiled))
        assert reply.text == expected.text
        assert [region.box for region in reply.regions] == [r.box for r in expected.regions]
        assert reply.regions or boxes  # nothing may be to the left of it
