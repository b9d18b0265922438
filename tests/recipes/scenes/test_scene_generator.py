import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groma.dice import Dice
from groma.types import GromaError
from recipes.scenes.nouns import COLOURABLE, COLOURS, NOUNS, SIZES, STUFF, TINTS
from recipes.scenes.pictures.canvas import MIN_VISIBLE, Canvas, box_iou
from recipes.scenes.pictures.cast import SIZE_RANGES, draw_cast
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.pictures.patch import Patch
from recipes.scenes.pictures.sprites import STYLES, UNSEEN_STYLE

INDICES = st.integers(0, 10**9)


def few(split="train", count=60, **settings):
    scenes = SceneGenerator(split, 7, **settings)
    return [scenes[i] for i in range(count)]


@given(INDICES, st.sampled_from(["train", "val", "test"]))
@settings(max_examples=40)
def test_annotations_are_what_the_picture_shows(index, split):
    scene = SceneGenerator(split, 0)[index]
    masks = scene.masks
    assert scene.pixels.shape == (224, 224, 3)
    assert scene.pixels.dtype == np.uint8
    assert 2 <= len(scene.things) <= 8
    assert masks.sum(axis=0).max() <= 1
    for thing, mask in zip(scene.things, masks, strict=True):
        rows, columns = np.nonzero(mask)
        tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        assert thing.box == tight
        assert MIN_VISIBLE <= thing.visible <= 1
        assert thing.noun in NOUNS
        assert thing.size in SIZES
        assert thing.colour is None or thing.colour in COLOURS


@given(INDICES)
@settings(max_examples=15)
def test_same_key_same_bytes(index):
    first, second = SceneGenerator("val", 1)[index], SceneGenerator("val", 1)[index]
    assert first.pixels.tobytes() == second.pixels.tobytes()
    assert first.owner.tobytes() == second.owner.tobytes()
    assert (first.things, first.stuff, first.parts) == (second.things, second.stuff, second.parts)


FINGERPRINT = """
from hashlib import sha256
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.language.conversations import converse, language_dice
from recipes.scenes.symbols import SymbolicScenes
total = sha256()
for scenes in (SceneGenerator("val", 1), SymbolicScenes("val", 1)):
    for index in range(24):
        scene = scenes[index]
        talk = converse(scene, language_dice("val", 1, index))
        total.update(repr((scene.things, scene.stuff, scene.parts, talk.turns)).encode())
        total.update(b"" if scene.pixels is None else scene.pixels.tobytes())
print(total.hexdigest())
"""


def test_every_process_gives_the_same_bytes():
    prints = {
        subprocess.run(
            [sys.executable, "-c", FINGERPRINT],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(prints) == 1


def test_order_of_access_does_not_matter():
    scenes = SceneGenerator("val", 1)
    alone = scenes[5].pixels.tobytes()
    for index in range(4):
        scenes[index]
    assert scenes[5].pixels.tobytes() == alone


def test_splits_seeds_and_indices_share_no_scene():
    keys = [(s, seed, i) for s in ("train", "val", "test") for seed in (0, 1) for i in range(30)]
    seen = {
        tuple((t.noun, t.box) for t in SceneGenerator(s, seed, augment=False)[i].things)
        for s, seed, i in keys
    }
    assert len(seen) == len(keys)


def test_a_generator_survives_pickling():
    scenes = SceneGenerator("test", 2, 280)
    again = pickle.loads(pickle.dumps(scenes))
    assert again == scenes
    assert again[3].pixels.tobytes() == scenes[3].pixels.tobytes()


@pytest.mark.parametrize("size", [224, 280, 336, 448, (240, 320)])
def test_any_resolution(size):
    frame = (size, size) if isinstance(size, int) else size
    for scene in few("train", 8, size=size):
        assert scene.size == scene.pixels.shape[:2] == scene.owner.shape == frame
        for thing in scene.things:
            x0, y0, x1, y1 = thing.box
            assert 0 <= x0 < x1 <= frame[1]
            assert 0 <= y0 < y1 <= frame[0]


def test_things_can_all_be_of_one_size():
    for scene in few(count=4, size=300, side=26):
        sides = [max(x2 - x1, y2 - y1) for x1, y1, x2, y2 in (t.box for t in scene.things)]
        assert len(sides) >= 2
        assert min(sides) >= 8  # some are cut or hidden in part
        assert max(sides) <= 26 * 2**0.5 + 1  # some are turned


def test_a_resolution_too_small_for_things_is_refused():
    with pytest.raises(GromaError, match="64"):
        SceneGenerator(size=32)


def test_an_unknown_split_or_index_is_refused():
    with pytest.raises(ValueError, match="holdout"):
        SceneGenerator("holdout")[0]
    with pytest.raises(ValueError, match="-1"):
        SceneGenerator()[-1]


def test_only_training_mixes_styles():
    assert {scene.style for scene in few("train")} == {*STYLES, "mixed"}
    assert {scene.style for scene in few("val")} == set(STYLES)
    assert {scene.style for scene in few("val", 3, style=UNSEEN_STYLE)} == {UNSEEN_STYLE}


def test_augmentation_can_be_turned_off():
    plain = SceneGenerator("train", 7, augment=False)
    changed = sum(
        plain[i].pixels.tobytes() != scene.pixels.tobytes() for i, scene in enumerate(few(count=30))
    )
    assert 8 <= changed <= 29


def test_a_third_of_the_scenes_hold_twins_and_half_hold_stuff():
    scenes = few("train", 300)
    twins = sum(len({t.noun for t in s.things}) < len(s.things) for s in scenes)
    assert 0.25 < twins / 300 < 0.5
    assert 0.4 < sum(bool(s.stuff) for s in scenes) / 300 < 0.7
    assert {s.name for scene in scenes for s in scene.stuff} == set(STUFF)
    assert {t.noun for scene in scenes for t in scene.things} >= set(NOUNS[:40])


def test_stuff_names_are_unique_and_boxes_cover_the_width():
    for scene in few("train", 80):
        names = [stuff.name for stuff in scene.stuff]
        assert len(names) == len(set(names))
        for stuff in scene.stuff:
            assert stuff.box[0] == 0
            assert stuff.box[2] == 224
            assert stuff.box[3] > stuff.box[1]


def test_sizes_keep_their_distance():
    for index in range(200):
        for role in draw_cast(Dice.of("train", 0, index)):
            low, high = SIZE_RANGES[role.size]
            assert low <= role.side <= high
            assert not role.tinted or (role.noun in COLOURABLE and role.colour in TINTS)
    assert SIZE_RANGES["small"][1] < SIZE_RANGES["medium"][0]
    assert SIZE_RANGES["medium"][1] < SIZE_RANGES["large"][0]


def test_drawn_sizes_are_in_their_class():
    for scene in few("val", 60):
        for thing in scene.things:
            if thing.visible == 1:
                longer = max(thing.box[2] - thing.box[0], thing.box[3] - thing.box[1]) / 224
                low, high = SIZE_RANGES[thing.size]
                assert 0.75 * low < longer < 1.3 * high


def test_parts_lie_inside_things_and_count_as_regions():
    parts = 0
    for scene in few("val", 40):
        parts += len(scene.parts)
        total = len(scene.things) + len(scene.stuff) + len(scene.parts)
        assert scene.region_boxes.shape == (total, 4)
        assert scene.thing_boxes.shape == (len(scene.things), 4)
        for part in scene.parts:
            assert part[2] > part[0]
            assert part[3] > part[1]
            assert any(
                part[0] >= t.box[0]
                and part[1] >= t.box[1]
                and part[2] <= t.box[2]
                and part[3] <= t.box[3]
                for t in scene.things
            )
    assert parts > 60


def square_patch(side, colour=200):
    alpha = np.full((side, side), 255, np.uint8)
    return Patch(np.full((side, side, 3), colour, np.uint8), alpha, alpha > 0, ())


def test_canvas_refuses_what_hides_too_much():
    canvas = Canvas(np.zeros((100, 100, 3), np.uint8))
    assert canvas.paste(square_patch(20), 10, 10)
    before = canvas.pixels.copy()
    assert not canvas.paste(square_patch(60, 90), 0, 0)
    assert not canvas.paste(square_patch(20, 90), 12, 12)
    assert np.array_equal(canvas.pixels, before)
    assert canvas.paste(square_patch(20, 90), 24, 10)
    assert canvas.visible_box(0) == (10, 10, 24, 30)
    assert canvas.placed[0].seen == 14 * 20


def test_canvas_refuses_what_cannot_be_seen():
    canvas = Canvas(np.full((100, 100, 3), 198, np.uint8))
    assert not canvas.paste(square_patch(20), 10, 10)
    assert not canvas.paste(square_patch(20, 0), 90, 10)


def test_box_iou():
    assert box_iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert box_iou((0, 0, 1, 1), (1, 0, 2, 1)) == 0
