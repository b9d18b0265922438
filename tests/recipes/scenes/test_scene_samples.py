import numpy as np
import pytest
import torch

from groma.types import IGNORED
from recipes.scenes.nouns import COLOURS, NOUN_INDEX, NOUNS, STUFF_INDEX
from recipes.scenes.objectives.scene_samples import (
    BACKGROUND,
    CLASS_NAMES,
    KINDS,
    PART_WEIGHT,
    collate,
    patch_labels,
    to_sample,
)
from recipes.scenes.scene import Scene, Stuff, Thing

SKY = len(NOUNS) + STUFF_INDEX["sky"]
GRASS = len(NOUNS) + STUFF_INDEX["grass"]


@pytest.fixture
def scene():
    """4 x 3 patches of 2 px: a dog fills patch 0, owns one pixel of patch 1; sky over grass."""
    owner = np.zeros((8, 6), np.uint8)
    owner[:2, :2] = 1
    owner[0, 2] = 1
    owner[6:, 3:] = 2
    return Scene(
        key="train/0/0",
        size=(8, 6),
        things=(
            Thing("dog", None, "small", (0, 0, 3, 2)),
            Thing("car", "red", "large", (3, 6, 6, 8)),
        ),
        stuff=(Stuff("sky", (0, 0, 6, 4)), Stuff("grass", (0, 2, 6, 6))),
        parts=((4, 6, 5, 7),),
        pixels=np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3),
        owner=owner,
    )


def test_a_patch_is_what_most_of_its_pixels_show(scene):
    assert patch_labels(scene, 2).reshape(4, 3).tolist() == [
        [NOUN_INDEX["dog"], SKY, SKY],
        [IGNORED, IGNORED, IGNORED],
        [GRASS, GRASS, GRASS],
        [BACKGROUND, BACKGROUND, NOUN_INDEX["car"]],
    ]


def test_a_sample_lists_things_then_stuff_then_parts(scene):
    sample = to_sample(scene, 2)
    names = [CLASS_NAMES[i] if i != IGNORED else None for i in sample["labels"].tolist()]
    assert names == ["dog", "car", "sky", "grass", None]
    assert [KINDS[i] for i in sample["kinds"]] == ["small", "large", "stuff", "stuff", "part"]
    assert sample["colours"].tolist() == [IGNORED, COLOURS.index("red")] + [IGNORED] * 3
    assert sample["weights"].tolist() == pytest.approx([1, 1, 1, 1, PART_WEIGHT])
    assert sample["boxes"][1].tolist() == pytest.approx([0.5, 0.75, 1, 1])
    assert sample["pixels"].shape == (3, 8, 6)
    assert sample["pixels"][:, 0, 1].tolist() == [3, 4, 5]


def test_samples_are_a_function_of_the_index(scenes):
    for name, value in scenes[3].items():
        assert torch.equal(value, scenes[3][name]), name


def test_patch_labels_follow_the_masks(scenes):
    scene = scenes.generator[5]
    sides = [side // scenes.patch_size for side in scene.size]
    labels = scenes[5]["patch_labels"].reshape(sides)
    for thing, mask in zip(scene.things, scene.masks, strict=True):
        share = mask.reshape(sides[0], scenes.patch_size, sides[1], -1).mean(axis=(1, 3))
        assert (labels[share > 0.5] == NOUN_INDEX[thing.noun]).all()


def test_collate_stacks_pictures_and_lists_regions(scenes):
    batch = collate([scenes[0], scenes[1]])
    assert batch["pixels"].shape[0] == 2
    assert [len(boxes) for boxes in batch["boxes"]] == [len(scenes[i]["boxes"]) for i in (0, 1)]
