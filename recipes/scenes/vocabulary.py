"""What scenes of one kind can hold, and the words for it."""

from collections.abc import Mapping
from dataclasses import dataclass

from recipes.scenes.nouns import COLOURABLE, GROUPS, STUFF, SYNONYMS, TINTS


@dataclass(frozen=True)
class Vocabulary:
    """Nouns and what questions about them need to know.

    Attributes:
        groups: name of a group -> its nouns; no noun is in two of them.
        colourable: nouns of which one may say and ask the colour.
        tints: colours that a colourable thing can have.
        stuff: names of stretches of background.
        synonyms: noun -> other words that people type; each means its noun and no other.
        group_words: groups that everybody would draw the same line around: one, several.
        group_rivals: group -> nouns; where one of these is in the picture, nobody is asked about
            the group.
    """

    groups: Mapping[str, tuple[str, ...]]
    colourable: frozenset[str]
    tints: tuple[str, ...]
    stuff: tuple[str, ...]
    synonyms: Mapping[str, tuple[str, ...]]
    group_words: Mapping[str, tuple[str, str]]
    group_rivals: Mapping[str, frozenset[str]]

    @property
    def nouns(self) -> tuple[str, ...]:
        """All of them, group by group."""
        return tuple(noun for nouns in self.groups.values() for noun in nouns)

    def group_with(self, noun: str) -> tuple[str, ...]:
        """The nouns of the group that a noun is in."""
        return next(nouns for nouns in self.groups.values() if noun in nouns)


ILLUSTRATED = Vocabulary(
    groups=GROUPS,
    colourable=COLOURABLE,
    tints=TINTS,
    stuff=STUFF,
    synonyms=SYNONYMS,
    group_words={
        "animal": ("animal", "animals"),
        "vehicle": ("vehicle", "vehicles"),
        "food": ("piece of food", "pieces of food"),
    },
    group_rivals={
        "animal": frozenset(("teddy", "snowman", "santa", "baby", "boy", "girl", "man", "woman")),
        "vehicle": frozenset(("skateboard", "kite", "balloon")),
        "food": frozenset(("rabbit", "fish", "crab", "duck", "basket")),
    },
)
"""Of illustrated scenes."""
