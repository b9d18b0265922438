import argparse
import json

import pytest
from PIL import Image

from groma.data.sample import GroundedSample
from groma.types import GromaError
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.pictures.scene_preview import draw_scene, save_examples
from recipes.scenes.symbols import SymbolicScenes
from recipes.scenes.write_scenes import add_arguments, run


def test_examples_are_written_and_read_back(tmp_path):
    folder = tmp_path / "new" / "folder"
    samples = save_examples(folder, SceneGenerator("val", 0, 224), 2, start=5)
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        *("000005-boxes.png", "000005.png", "000005.txt"),
        *("000006-boxes.png", "000006.png", "000006.txt"),
        "samples.json",
    ]
    data = json.loads((folder / "samples.json").read_text(encoding="utf-8"))
    assert [GroundedSample.from_dict(sample) for sample in data] == samples
    assert Image.open(folder / "000005.png").size == (224, 224)
    text = (folder / "000006.txt").read_text(encoding="utf-8")
    assert text.startswith("val/0/6 · ")
    assert text.count("  user:  ") == len(samples[1].turns)


def test_drawn_boxes_change_the_picture_but_not_the_scene():
    scene = SceneGenerator("val", 0, 224)[1]
    before = scene.pixels.tobytes()
    drawn = draw_scene(scene)
    assert drawn.size == (448, 448)
    assert scene.pixels.tobytes() == before
    assert drawn.tobytes() != Image.fromarray(scene.pixels).resize((448, 448)).tobytes()


def test_a_symbolic_scene_cannot_be_drawn():
    with pytest.raises(ValueError, match="symbolic"):
        draw_scene(SymbolicScenes()[0])


def options(*arguments):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(argument) for argument in arguments])


def test_the_command_says_what_it_wrote(tmp_path):
    said = run(options("--save", tmp_path, "-n", 1, "--size", 224, "--style", "twemoji"))
    assert said.startswith("One scene is in")
    assert "twemoji" in (tmp_path / "000000.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("wrong", [("-n", 0), ("--start", -1), ("--size", 10)])
def test_numbers_that_make_no_sense_are_refused(tmp_path, wrong):
    with pytest.raises(GromaError):
        run(options("--save", tmp_path, *wrong))
