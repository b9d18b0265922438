from collections import Counter
from functools import cache

import numpy as np
import pytest
from PIL import Image

from groma.types import GromaError
from recipes.scenes.evaluation import collage
from recipes.scenes.evaluation.collage import BACKGROUNDS, CollageGenerator, _cut_out, _tint
from recipes.scenes.nouns import COLOURABLE, NATURAL_COLOURS, NOUNS, STUFF, TINTS
from recipes.scenes.pictures.cast import SIZE_RANGES

SIZE = 224


@cache
def scenes(count=60):
    made = CollageGenerator(size=SIZE)
    return [made[index] for index in range(count)]


def test_the_same_key_gives_the_same_bytes():
    again = CollageGenerator(size=SIZE)[5]
    assert again.pixels.tobytes() == scenes()[5].pixels.tobytes()
    assert (again.things, again.stuff, again.key) == (
        *(scenes()[5].things, scenes()[5].stuff, "collage/test/0/5"),
    )
    for other in (CollageGenerator("val", 0, SIZE), CollageGenerator("test", 1, SIZE)):
        assert other[5].pixels.tobytes() != again.pixels.tobytes()


def test_things_are_whole_apart_and_named():
    for scene in scenes():
        assert scene.pixels.shape == (SIZE, SIZE, 3)
        assert 1 <= len(scene.things) <= 8
        for i, thing in enumerate(scene.things):
            x0, y0, x1, y1 = thing.box
            assert 0 <= x0 < x1 <= SIZE
            assert 0 <= y0 < y1 <= SIZE
            assert thing.noun in NOUNS
            for other in scene.things[:i]:
                a0, b0, a1, b1 = other.box
                assert x1 <= a0 or a1 <= x0 or y1 <= b0 or b1 <= y0


def test_sizes_have_the_names_they_have_elsewhere():
    for thing in (thing for scene in scenes() for thing in scene.things):
        x0, y0, x1, y1 = thing.box
        low, high = SIZE_RANGES[thing.size]
        # Turning by up to 12 degrees makes a box larger or, with its corners empty, smaller.
        assert 0.75 * low - 0.01 <= max(x1 - x0, y1 - y0) / SIZE <= 1.25 * high + 0.01


def test_boxes_are_tight_around_what_is_drawn(monkeypatch):
    ground = (255, 0, 255)
    monkeypatch.setattr(
        collage, "BACKGROUNDS", (lambda side, _: (Image.new("RGB", (side, side), ground), ()),)
    )
    monkeypatch.setattr(
        collage,
        "_paste",
        lambda picture, sprite, box, _: picture.paste(sprite, (int(box[0]), int(box[1])), sprite),
    )
    for scene in (CollageGenerator(size=SIZE)[index] for index in range(12)):
        drawn = np.abs(scene.pixels.astype(int) - ground).max(axis=2) > 20
        for thing in scene.things:
            x0, y0, x1, y1 = (int(edge) for edge in thing.box)
            inside = drawn[y0:y1, x0:x1]
            assert inside[0].any() and inside[-1].any(), thing
            assert inside[:, 0].any() and inside[:, -1].any(), thing
            drawn[y0:y1, x0:x1] = False
        assert not drawn.any()


def test_there_is_variety():
    things = [thing for scene in scenes() for thing in scene.things]
    assert len({thing.noun for thing in things}) > 80
    assert {thing.size for thing in things} == set(SIZE_RANGES)
    assert {thing.colour for thing in things} >= set(TINTS)
    twins = [s for s in scenes() if max(Counter(t.noun for t in s.things).values()) > 1]
    assert 0.25 < len(twins) / len(scenes()) < 0.7
    assert {stuff.name for scene in scenes() for stuff in scene.stuff} == set(STUFF)
    assert {scene.style for scene in scenes()} == {"fluent3d", "fluentflat", "noto"}


def test_colours_are_known_only_where_they_are_beyond_doubt():
    for thing in (thing for scene in scenes() for thing in scene.things):
        if thing.noun not in COLOURABLE:
            assert thing.colour == NATURAL_COLOURS.get(thing.noun)


@pytest.mark.parametrize("colour", TINTS)
def test_tinted_things_have_the_hue_they_are_called(colour):
    painted = _tint(_cut_out("dress", "fluentflat"), colour)
    rgba = np.asarray(painted).astype(int)
    red, green, blue = rgba[rgba[..., 3] > 200][:, :3].mean(axis=0)
    expected = {
        "red": red > green + 40 and red > blue + 40,
        "yellow": min(red, green) > blue + 40,
        "green": green > red + 30 and green > blue + 30,
        "blue": blue > red + 30 and blue > green,
        "purple": min(red, blue) > green + 20,
    }
    assert expected[colour]


@pytest.mark.parametrize("style", ["noto", "fluent3d"])
def test_what_is_grey_or_dark_is_not_tinted(style):
    assert _tint(_cut_out("hat", style), "red") is None


def test_stuff_lies_where_it_is_said():
    for scene in (scene for scene in scenes() if scene.stuff):
        assert scene.stuff[0].box[:3] == (0, 0, SIZE)
        assert scene.stuff[-1].box[3] == SIZE
        for upper, lower in zip(scene.stuff, scene.stuff[1:], strict=False):
            assert upper.box[1] < lower.box[1] <= upper.box[3] < lower.box[3]


def test_all_backgrounds_occur():
    assert len(BACKGROUNDS) == 8
    assert 0.3 < sum(bool(scene.stuff) for scene in scenes()) / len(scenes()) < 0.7


def test_an_unseen_style_and_other_sizes():
    scene = CollageGenerator("test", 0, 100, "twemoji")[0]
    assert scene.style == "twemoji"
    assert scene.pixels.shape == (100, 100, 3)
    with pytest.raises(GromaError, match="at least 64"):
        CollageGenerator(size=20)
    with pytest.raises(GromaError, match="cubist"):
        _ = CollageGenerator(style="cubist")[0]
