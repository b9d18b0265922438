"""The 161 things an illustrated scene can hold, and what is always true of them."""

import json
from pathlib import Path

_TABLE = json.loads(Path(__file__).with_name("nouns.json").read_text(encoding="utf-8"))

GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(noun for noun, _ in pairs) for group, pairs in _TABLE["groups"].items()
}
NOUNS: tuple[str, ...] = tuple(noun for nouns in GROUPS.values() for noun in nouns)
NOUN_INDEX: dict[str, int] = {noun: i for i, noun in enumerate(NOUNS)}
GROUP_OF: dict[str, str] = {noun: group for group, nouns in GROUPS.items() for noun in nouns}
COLOURABLE: frozenset[str] = frozenset(_TABLE["colourable"])
SYNONYMS: dict[str, tuple[str, ...]] = {
    noun: tuple(words) for noun, words in _TABLE["synonyms"].items()
}
"""Other words people use; each means its noun and no other of the 161."""

STUFF: tuple[str, ...] = tuple(_TABLE["stuff"])
STUFF_SYNONYMS: dict[str, tuple[str, ...]] = {
    name: tuple(words) for name, words in _TABLE["stuff_synonyms"].items()
}
STUFF_INDEX: dict[str, int] = {name: i for i, name in enumerate(STUFF)}

TINTS: tuple[str, ...] = tuple(_TABLE["colours"])
TINT_HUES: dict[str, int] = _TABLE["colours"]
"""Colours a colourable noun can be given, with their hue in 0..255."""

COLOURS: tuple[str, ...] = (*TINTS, "orange", "pink", "brown", "grey", "white")

SIZES: tuple[str, ...] = ("small", "medium", "large")

NATURAL_COLOURS: dict[str, str] = {
    noun: colour
    for colour, nouns in {
        "red": "apple strawberry tomato cherry car book balloon scarf rose",
        "yellow": "banana lemon taxi lightbulb corn",
        "green": "frog snake turtle crocodile dinosaur broccoli tree pine cactus tractor",
        "blue": "fish whale jeans dress scooter",
        "purple": "grapes",
        "orange": "orange carrot basketball fox",
        "pink": "pig flamingo tulip",
        "brown": "bear horse owl monkey chair",
        "grey": "elephant shark mouse",
        "white": "ghost snowman baseball",
    }.items()
    for noun in nouns.split()
}
"""What an untinted sprite looks like, for nouns of which every style agrees beyond doubt."""

FLYING: frozenset[str] = frozenset(GROUPS["sky"]) | {
    *("butterfly", "bee", "bird", "ghost", "airplane", "helicopter", "rocket", "balloon", "kite")
}
"""Nouns that a scene with a horizon rather puts above it."""
