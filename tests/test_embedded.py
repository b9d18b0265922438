"""The embedded model that is shipped: its size, its examples, and talk beyond its world."""

import json
from pathlib import Path
from typing import Any

import pytest

import groma
from groma.chat import Groma
from groma.cli import DEFAULT_MODEL
from groma.eval.scenes.judging import count_pointed

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "assets" / "examples"
ENTRIES = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model() -> Groma:
    return groma.load(DEFAULT_MODEL, device="cpu")


def test_no_file_is_too_large_to_be_shipped() -> None:
    sizes = [file.stat().st_size for file in (ROOT / "weights" / "groma-mini").iterdir()]
    assert max(sizes) < 10_000_000
    assert sum(sizes) < 100_000_000


def name_of(entry: dict[str, Any]) -> str:
    return f"{entry['image']}: {entry['question']}"


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_every_example_is_answered_right(model: Groma, entry: dict[str, Any]) -> None:
    boxes = [tuple(box) for box in entry.get("boxes", ())]
    reply = model.chat(EXAMPLES / entry["image"]).ask(entry["question"], boxes)
    missing = [word for word in entry["says"] if word not in reply.text.lower()]
    assert not missing, reply.text
    right, pointed, wanted = count_pointed(reply, [tuple(box) for box in entry["points_at"]])
    assert right == pointed == wanted, reply.text
