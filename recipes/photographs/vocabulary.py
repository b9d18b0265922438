"""The nouns that the photograph model speaks of, and which words go with them."""

import json
from pathlib import Path
from typing import Any

from groma.ops.colours import NAMES as COLOURS
from recipes.scenes.vocabulary import Vocabulary

TABLE: dict[str, Any] = json.loads(
    Path(__file__).with_name("names.json").read_text(encoding="utf-8")
)

SIZES: tuple[str, ...] = ("small", "medium", "large")
CERTAINTIES: tuple[str, ...] = ("sure", "unsure", "faint")
"""Sure is said unasked; unsure is said where one asks for it; faint only where one points at it."""

_COLOURLESS_GROUPS = ("person", "building")
_COLOURLESS = frozenset(
    ("person", "tv", "laptop", "zebra", "giraffe", "pizza", "sandwich", "cake", "hot dog", "donut")
)

PHOTOGRAPHS = Vocabulary(
    groups={group: tuple(nouns) for group, nouns in TABLE["groups"].items()},
    colourable=frozenset(
        noun
        for group, nouns in TABLE["groups"].items()
        for noun in nouns
        if group not in _COLOURLESS_GROUPS and noun not in _COLOURLESS
    ),
    tints=COLOURS,
    stuff=(),
    synonyms={noun: tuple(words) for noun, words in TABLE["synonyms"].items()},
    group_words={
        "animal": ("animal", "animals"),
        "vehicle": ("vehicle", "vehicles"),
        "food": ("piece of food", "pieces of food"),
        "furniture": ("piece of furniture", "pieces of furniture"),
    },
    group_rivals={
        "animal": frozenset((*TABLE["groups"]["bird"], "teddy bear", "person")),
        "vehicle": frozenset(("skateboard", "surfboard", "skis", "snowboard", "wheel", "balloon")),
        "food": frozenset(("bowl", "bottle", "cup", "wine glass", "mushroom", "fish", "chicken")),
        "furniture": frozenset(("toilet", "potted plant", "tv", "refrigerator", "door", "mirror")),
    },
)
"""Of photographs."""
NOUNS: tuple[str, ...] = tuple(TABLE["names"])
"""In the order of the region code: COCO's 80, then the others."""
NOUN_INDEX = {noun: i for i, noun in enumerate(NOUNS)}

_WORDS = {*NOUNS, *(word for words in TABLE["synonyms"].values() for word in words)}
UNKNOWN: tuple[str, ...] = tuple(word for word in TABLE["unknown"] if word not in _WORDS)
"""Everyday words for what the model cannot see; whoever asks for them is told so."""
