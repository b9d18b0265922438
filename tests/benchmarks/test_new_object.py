"""The benchmark of a new object in small: fewer examples, and a third of the steps."""

from pathlib import Path

import pytest
import torch

import groma
from benchmarks.new_object import NAME, ask, compose, example, export
from groma.finetune.lora_run import train
from groma.finetune.lora_settings import LoraSettings
from groma.finetune.name_teaching import teach_names
from groma.finetune.planning import prepare
from groma.ops.boxes import pairwise_iou


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


@pytest.mark.parametrize("form", ["yolo", "label-studio"])
def test_three_tools_say_the_same_about_the_same_pictures(form: str, tmp_path: Path) -> None:
    scenes = [compose("val", 2, index) for index in range(3)]
    (tmp_path / "coco").mkdir()
    (tmp_path / form).mkdir()
    both = [export(scenes, tmp_path / name, name) for name in ("coco", form)]
    for scene, coco, other in zip(scenes, *both, strict=True):
        assert coco.size == other.size == scene.size
        rows = [sorted(zip(s.names, s.boxes, strict=True)) for s in (coco, other)]
        assert [name for name, _ in rows[0]] == sorted(thing.noun for thing in scene.things)
        for (name, box), (same, near) in zip(*rows, strict=True):
            assert name == same and box == pytest.approx(near, abs=1e-3)


@torch.no_grad()
def test_labels_of_a_dozen_pictures_tell_a_new_thing_from_all_others(tmp_path: Path) -> None:
    base = groma.load("groma-mini", device="cpu")
    samples = export([compose("train", 0, index) for index in range(12)], tmp_path, "coco")
    base.model.teach([NAME])
    assert teach_names(base, samples, [NAME])
    names = base.model.taught_names
    assert names is not None
    found = others = 0
    for index in range(20):
        scene = compose("val", 1, index)
        assert scene.pixels is not None
        image, (height, width) = base.encode_image(scene.pixels), scene.size
        regions = torch.tensor([region.extent for region in base.regions(image)])
        seen = names(image.feature_maps[1], regions)[:, 0]
        place = torch.tensor([scene.things[-1].box]) / torch.tensor([width, height] * 2)
        overlap = pairwise_iou(regions, place)[:, 0]
        found += bool(seen.max() > 0 and overlap[seen.argmax()] >= 0.5)
        others += bool(seen[overlap < 0.3].any())
    assert found >= 16
    assert others <= 5
