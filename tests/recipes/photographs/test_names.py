import json
from pathlib import Path
from typing import Any

import recipes.photographs

TABLE: dict[str, Any] = json.loads(
    (Path(recipes.photographs.__file__).parent / "names.json").read_text(encoding="utf-8")
)
NAMES: list[str] = TABLE["names"]


def test_coco_comes_first_in_its_order() -> None:
    """80 categories, whose ids go up to 90 with gaps."""
    assert NAMES[:80] == list(TABLE["coco"])
    ids = list(TABLE["coco"].values())
    assert ids == sorted(set(ids))
    assert (ids[0], ids[-1], len(ids)) == (1, 90, 80)


def test_names_are_said_once_and_in_small_letters() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert all(name == name.lower().strip() for name in NAMES)


def test_every_name_is_in_one_group() -> None:
    assert sorted(name for group in TABLE["groups"].values() for name in group) == sorted(NAMES)


def test_a_class_of_imagenet_has_one_name_at_most() -> None:
    classes = [index for indices in TABLE["imagenet"].values() for index in indices]
    assert len(set(classes)) == len(classes)
    assert set(classes) <= set(range(1000))


def test_whatever_is_named_can_be_seen() -> None:
    """Every name is a category of COCO or has a class of ImageNet."""
    assert set(TABLE["imagenet"]) <= set(NAMES)
    assert set(NAMES[80:]) <= {name for name, indices in TABLE["imagenet"].items() if indices}


def test_kinds_and_synonyms_lead_to_names() -> None:
    words = [word for synonyms in TABLE["synonyms"].values() for word in synonyms]
    assert set(TABLE["synonyms"]) <= set(NAMES)
    assert len(set(words)) == len(words)
    assert not set(words) & set(NAMES)
    assert {*TABLE["kinds"], *TABLE["kinds"].values()} <= set(NAMES)
    assert not set(TABLE["kinds"]) & set(TABLE["kinds"].values()), "a kind of a kind"


def test_well_known_classes_have_their_names() -> None:
    """The order of ImageNet's challenge, by classes that everybody knows."""
    name_of = {index: name for name, indices in TABLE["imagenet"].items() for index in indices}
    known = {281: "cat", 207: "dog", 340: "zebra", 404: "airplane", 620: "laptop", 963: "pizza"}
    assert {index: name_of[index] for index in known} == known
