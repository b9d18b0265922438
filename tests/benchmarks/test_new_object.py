"""The benchmark of a new object in small: fewer examples, and a third of the steps."""

from pathlib import Path

import groma
from benchmarks.new_object import ask, compose, example
from groma.finetune.lora_run import train
from groma.finetune.lora_settings import LoraSettings
from groma.finetune.planning import prepare


def test_an_adapter_finds_and_names_what_its_base_does_not_know(tmp_path: Path) -> None:
    samples = [example("train", 0, index, tmp_path) for index in range(12)]
    settings = LoraSettings(
        "groma-mini", device="cpu", lr=2e-3, epochs=6.0, accumulation=2, held_out=0.0
    )
    run, _ = prepare(tmp_path / "run", settings, samples)
    assert train(run)
    scenes = [compose("val", 1, index) for index in range(10)]
    base = groma.load("groma-mini", device="cpu")
    (_, unnamed), (found, named) = (ask(m, scenes) for m in (base, base.with_adapter(run.adapter)))
    assert sum(unnamed) == 0
    assert sum(named) >= 8
    assert sum(found) >= 4
