import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groma.dice import Dice
from recipes.scenes.nouns import COLOURABLE, COLOURS, NATURAL_COLOURS, NOUNS, TINTS
from recipes.scenes.pictures.canvas import box_iou
from recipes.scenes.pictures.cast import SIZE_RANGES
from recipes.scenes.symbols import BLOCK, SymbolicScenes, symbolic_regions, true_regions

INDICES = st.integers(0, 10**6)


@given(INDICES)
@settings(max_examples=30)
def test_scenes_are_laid_out_like_drawn_ones(index):
    scene = SymbolicScenes("train", 0)[index]
    assert scene.key == f"train/0/{index}"
    assert scene.pixels is None
    assert 1 <= len(scene.things) <= 8
    for thing in scene.things:
        x0, y0, x1, y1 = thing.box
        assert 0 <= x0 < x1 <= 224
        assert 0 <= y0 < y1 <= 224
        low, high = SIZE_RANGES[thing.size]
        assert 0.7 * low < max(x1 - x0, y1 - y0) / 224 < 1.25 * high
        natural = NATURAL_COLOURS.get(thing.noun)
        tinted = thing.noun in COLOURABLE and thing.colour in TINTS
        assert thing.colour == natural or tinted
    boxes = [thing.box for thing in scene.things]
    overlaps = [box_iou(a, b) for i, a in enumerate(boxes) for b in boxes[:i]]
    assert max(overlaps, default=0) < 0.32


def test_same_index_same_scene_and_splits_differ():
    scenes = SymbolicScenes("val", 4)
    first = scenes[3].things
    scenes[10 * BLOCK]
    assert SymbolicScenes("val", 4)[3].things == first
    layouts = {
        SymbolicScenes(split, seed)[i].things
        for split in ("train", "val", "test")
        for seed in (0, 1)
        for i in range(50)
    }
    assert len(layouts) == 300


def test_a_third_holds_twins_and_every_noun_comes_up():
    scenes = [SymbolicScenes("train", 0)[i] for i in range(1500)]
    twins = sum(len({t.noun for t in s.things}) < len(s.things) for s in scenes)
    assert 0.25 < twins / 1500 < 0.45
    assert {thing.noun for scene in scenes for thing in scene.things} == set(NOUNS)
    assert 0.4 < sum(bool(scene.stuff) for scene in scenes) / 1500 < 0.7


def test_masks_of_a_symbolic_scene_are_refused():
    with pytest.raises(ValueError, match="symbolic"):
        SymbolicScenes()[0].masks  # noqa: B018


def test_true_regions_say_what_is_true():
    scene = SymbolicScenes("train", 0)[1]
    regions = true_regions(scene)
    assert len(regions) == len(scene.things) + len(scene.stuff)
    for row, thing in enumerate(scene.things):
        assert NOUNS[regions.names[row].argmax()] == thing.noun
        assert np.allclose(regions.boxes[row] * 224, thing.box)
        named = regions.colours[row].any()
        assert named == (thing.colour is not None)
        assert not named or COLOURS[regions.colours[row].argmax()] == thing.colour


@given(INDICES, st.integers(0, 40))
@settings(max_examples=60)
def test_every_true_region_is_among_the_distractors(index, limit):
    scene = SymbolicScenes("train", 0)[index]
    regions = symbolic_regions(scene, Dice.of("train", 0, index, 3), limit)
    true = true_regions(scene)
    real = regions.source >= 0
    assert sorted(regions.source[real]) == list(range(len(true)))
    assert len(regions) <= max(limit, len(true))
    assert regions.boxes.min() >= 0
    assert regions.boxes.max() <= 1
    assert (regions.boxes[:, 2:] >= regions.boxes[:, :2]).all()
    assert regions.names.sum(axis=1).max() <= 1 + 1e-6
    for box, source in zip(regions.boxes[real], regions.source[real], strict=True):
        assert box_iou(box.tolist(), true.boxes[source].tolist()) > 0.8
    named = regions.names[real].argmax(axis=1)
    assert (named == true.names[regions.source[real]].argmax(axis=1)).all()
    for part in (regions.boxes, regions.names, regions.colours, regions.sizes):
        assert part.dtype == np.float32


def test_distractors_come_in_every_sort():
    extra = mixtures = empty = 0
    for index in range(200):
        regions = symbolic_regions(SymbolicScenes()[index], Dice.of("train", 0, index, 3))
        rows = regions.names[regions.source < 0]
        extra += len(rows)
        mixtures += int(((rows > 0).sum(axis=1) > 1).sum())
        empty += int((rows.sum(axis=1) < 0.1).sum())
    assert extra > 400
    assert mixtures > 50
    assert empty > 50
