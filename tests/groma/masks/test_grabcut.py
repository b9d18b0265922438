import builtins

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from groma.masks.grabcut import GrabCut
from groma.masks.maker import load_maker
from groma.shapes import Box, Mask, Point
from groma.types import GromaError
from recipes.scenes.evaluation.mask_overlap import scene_overlaps
from recipes.scenes.pictures.generator import SceneGenerator

SIZE = (120, 160)
HEIGHT, WIDTH = SIZE
DISC = (40, 20, 110, 90)


def disc() -> tuple[Image.Image, np.ndarray]:
    """A red disc on grass, and which pixels are the disc."""
    dice = np.random.default_rng(0)
    image = Image.fromarray(dice.integers(0, 40, (*SIZE, 3), np.uint8) + np.uint8((40, 130, 40)))
    mask = Image.new("1", image.size)
    for canvas, colour in ((image, (200, 30, 30)), (mask, 1)):
        ImageDraw.Draw(canvas).ellipse(DISC, fill=colour)
    return image, np.asarray(mask)


def overlap(mask: Mask, true: np.ndarray) -> float:
    found = mask.mask(SIZE)
    return float((found & true).sum() / (found | true).sum())


def test_a_thing_of_another_colour_is_found_to_its_edge() -> None:
    picture, true = disc()
    (mask,) = GrabCut().look(picture).masks([Box(*DISC)])
    assert overlap(mask, true) > 0.95
    assert overlap(Mask.of(Box(*DISC).mask(SIZE)), true) < 0.8


def test_every_mask_lies_in_its_box_and_is_the_same_again() -> None:
    picture, _ = disc()
    boxes = [Box(*DISC), Box(0, 0, WIDTH, HEIGHT), Box(100, 80, 160, 120)]
    masks = GrabCut().look(picture).masks(boxes)
    for box, mask in zip(boxes, masks, strict=True):
        assert not (mask.mask(SIZE) & ~box.mask(SIZE)).any()
    assert GrabCut().look(picture).masks(boxes[::-1]) == masks[::-1]


@given(st.data())
@settings(max_examples=15)
def test_any_box_of_any_picture_has_a_mask(data: st.DataObject) -> None:
    height, width = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    x, y = data.draw(st.tuples(st.floats(0, width - 0.1), st.floats(0, height - 0.1)))
    box = Box(x, y, data.draw(st.floats(x + 0.05, width)), data.draw(st.floats(y + 0.05, height)))
    dice = np.random.default_rng(data.draw(st.integers(0, 99)))
    picture = Image.fromarray(dice.integers(0, 255, (height, width, 3), np.uint8))
    (mask,) = GrabCut().look(picture).masks([box])
    assert mask.size == (height, width)


def test_nothing_to_tell_apart_is_the_whole_box() -> None:
    plain, box = Image.new("RGB", (WIDTH, HEIGHT), "green"), Box(10, 10, 50, 60)
    source = GrabCut().look(plain)
    assert source.masks([box]) == [Mask.of(box.mask(SIZE))]
    assert source.masks([Point(3, 4)]) == [Mask.of(Point(3, 4).mask(SIZE))]


def test_illustrated_things_are_found_better_than_by_their_boxes() -> None:
    scene = SceneGenerator("test", 0, 224)[0]
    boxes = []
    for number, thing in enumerate(scene.things, start=1):
        box, true = Box(*thing.box).mask(scene.size), scene.owner == number
        boxes.append((box & true).sum() / (box | true).sum())
    assert np.mean(scene_overlaps(scene, GrabCut())) > np.mean(boxes) + 0.1


def test_it_is_there_by_name_and_says_that_it_is_rough(monkeypatch: pytest.MonkeyPatch) -> None:
    source = load_maker("grabcut").look(disc()[0])
    assert source.maker == "GrabCut (rough)"
    assert not source.takes_points
    imported = builtins.__import__

    def without_opencv(name: str, *arguments: object, **more: object) -> object:
        if name == "cv2":
            raise ImportError(name)
        return imported(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without_opencv)
    with pytest.raises(GromaError, match="GrabCut needs OpenCV"):
        load_maker()
