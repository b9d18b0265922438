import json

import cv2
import numpy as np
import pytest

from groma.dice import Dice
from groma.types import GromaError
from recipes.scenes.nouns import (
    COLOURABLE,
    COLOURS,
    GROUPS,
    NATURAL_COLOURS,
    NOUNS,
    TINT_HUES,
    TINTS,
)
from recipes.scenes.pictures.filters import tint
from recipes.scenes.pictures.sprites import (
    ATLAS_FOLDER,
    STYLES,
    UNSEEN_STYLE,
    VISIBLE_ALPHA,
    load_style,
    sprite_shapes,
)

EVERY_STYLE = (*STYLES, UNSEEN_STYLE)


def test_nouns_are_the_161_in_ten_groups():
    assert len(NOUNS) == len(set(NOUNS)) == 161
    assert len(GROUPS) == 10
    assert set(NOUNS) >= COLOURABLE
    assert set(NATURAL_COLOURS) <= set(NOUNS)
    assert set(NATURAL_COLOURS.values()) <= set(COLOURS)


def test_the_unseen_style_is_not_trained_on():
    assert UNSEEN_STYLE not in STYLES


@pytest.mark.parametrize("style", EVERY_STYLE)
def test_every_noun_has_a_sprite(style):
    sprites = load_style(style)
    assert tuple(sprites) == NOUNS
    for sprite in sprites.values():
        largest = sprite.scales[0]
        assert largest.dtype == np.uint8
        assert 55 <= max(sprite.size) <= 126
        assert (largest[..., 3] >= VISIBLE_ALPHA).mean() > 0.1
        assert not largest[0, :, 3].any()
        assert not largest[:, 0, 3].any()


@pytest.mark.parametrize("style", EVERY_STYLE)
def test_atlases_are_small_and_licensed(style):
    assert (ATLAS_FOLDER / f"{style}.webp").stat().st_size < 2**20
    family = "fluent" if style.startswith("fluent") else style
    assert (ATLAS_FOLDER / f"LICENSE-{family}.txt").stat().st_size > 300


def test_sprites_are_kept_at_smaller_scales():
    sprite = load_style("noto")["dog"]
    assert max(sprite.at(20).shape[:2]) < max(sprite.at(100).shape[:2])
    assert sprite.at(10_000) is sprite.scales[0]


def test_shapes_agree_with_the_pictures():
    shapes = sprite_shapes(STYLES)
    assert shapes.shape == (3, 161, 2)
    height, width = load_style("noto")["giraffe"].size
    shown = shapes[STYLES.index("noto"), NOUNS.index("giraffe")]
    assert shown[0] / shown[1] == pytest.approx(width / height)


def test_unknown_style_is_refused():
    with pytest.raises(GromaError, match="cubist"):
        load_style("cubist")


def test_parts_lie_on_their_sprite():
    index = json.loads((ATLAS_FOLDER / "sprites.json").read_text(encoding="utf-8"))
    assert sum(bool(sprite["parts"]) for sprite in index["noto"]["sprites"].values()) > 120
    for sprite in load_style("noto").values():
        for part in sprite.parts:
            assert part.min() >= 0
            assert part.max() <= 1


@pytest.mark.parametrize("colour", TINTS)
@pytest.mark.parametrize("style", EVERY_STYLE)
def test_a_tint_is_unmistakable(style, colour):
    target = TINT_HUES[colour] * 180 / 255
    for noun in sorted(COLOURABLE):
        sprite = load_style(style)[noun]
        for index in range(3):
            dice = Dice.of("val", 0, index)
            rgba = tint(sprite.scales[0], dice, sprite, colour)
            inside = rgba[..., 3] >= 128
            hsv = cv2.cvtColor(np.ascontiguousarray(rgba[..., :3]), cv2.COLOR_RGB2HSV)[inside]
            vivid = hsv[(hsv[:, 1] >= 80) & (hsv[:, 2] >= 60)]
            away = np.abs((vivid[:, 0] - target + 90) % 180 - 90)
            right = away <= 13
            assert right.sum() / inside.sum() > 0.2, noun
            assert right.mean() > 0.5, noun
            if colour == "yellow":
                assert vivid[right][:, 2].mean() > 170, noun
