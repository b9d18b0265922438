"""The embedded model that is shipped: its size, its examples, and talk beyond its world."""

import ast
import json
import os
import subprocess
import sys
from typing import Any

import pytest

import groma
from groma import machine
from groma.chat.chat import Groma
from groma.checkpoint.inspect import automatic
from groma.eval.statistics.matching import num_matched
from recipes.scenes.pictures.generator import SceneGenerator
from tests.paths import ROOT

EXAMPLES = ROOT / "assets" / "examples"
ENTRIES = json.loads((EXAMPLES / "examples.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model() -> Groma:
    """In the only type that "auto" chooses for it, whatever the machine."""
    return groma.load("groma-mini", device="cpu")


def test_no_file_is_too_large_to_be_shipped() -> None:
    sizes = [file.stat().st_size for file in (ROOT / "weights" / "groma-mini").iterdir()]
    assert max(sizes) < 10_000_000
    assert sum(sizes) < 100_000_000


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_it_computes_in_fp32_on_every_machine(monkeypatch, device: str, bf16: bool) -> None:
    monkeypatch.setattr(machine, "computes_in_bf16", lambda _device: bf16)
    monkeypatch.setattr(machine, "resolve_device", lambda _device: device)
    assert automatic("groma-mini") == (device, "float32")


def test_an_older_cpu_answers_alike(model: Groma) -> None:
    """As far as words go: a CPU without wide instructions adds in another order."""
    questions = [entry["question"] for entry in ENTRIES if not entry.get("boxes")][:3]
    picture = str(EXAMPLES / ENTRIES[0]["image"])
    code = (
        "import groma, sys; chat = groma.load(sys.argv[1], device='cpu').chat(sys.argv[2]); "
        "print([chat.ask(question).text for question in sys.argv[3:]])"
    )
    older = os.environ | {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    command = [sys.executable, "-c", code, "groma-mini", picture, *questions]
    done = subprocess.run(command, cwd=ROOT, env=older, capture_output=True, text=True, check=True)
    chat = model.chat(picture)
    assert ast.literal_eval(done.stdout) == [chat.ask(question).text for question in questions]


def name_of(entry: dict[str, Any]) -> str:
    return f"{entry['image']}: {entry['question']}"


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_every_example_is_answered_right(model: Groma, entry: dict[str, Any]) -> None:
    boxes = [tuple(box) for box in entry.get("boxes", ())]
    reply = model.chat(EXAMPLES / entry["image"]).ask(entry["question"], boxes)
    missing = [word for word in entry["says"] if word not in reply.text.lower()]
    assert not missing, reply.text
    found = [region.box for region in reply.regions]
    wanted = [tuple(box) for box in entry["points_at"]]
    assert num_matched(found, wanted) == len(found) == len(wanted), reply.text


def test_things_too_small_for_the_whole_picture_are_found_in_tiles(model: Groma) -> None:
    scene = SceneGenerator("test", size=672, side=26)[0]
    things = [thing.box for thing in scene.things]
    whole, tiled = (
        num_matched([region.box for region in model.regions(scene.pixels, detail=detail)], things)
        for detail in (1, 3)
    )
    assert tiled >= max(2 * whole, len(things) // 2)
