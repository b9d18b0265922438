"""Randomness that depends on (split, seed, index) alone."""

import random
from collections.abc import Mapping, Sequence
from typing import Literal, TypeVar

import numpy as np

_T = TypeVar("_T")
Split = Literal["train", "val", "test"]
_SPLITS: tuple[Split, ...] = ("train", "val", "test")


class Dice:
    """Scalar draws from a fast generator and `arrays` from numpy's, both from one seed sequence."""

    def __init__(self, sequence: np.random.SeedSequence):
        self.arrays = np.random.Generator(np.random.SFC64(sequence))
        self._scalars = random.Random(int(self.arrays.integers(2**62)))
        self.chance = self._scalars.random
        self.uniform = self._scalars.uniform

    @classmethod
    def of(cls, split: Split, seed: int, index: int, stream: int = 0) -> "Dice":
        """The dice of one scene; streams keep pictures, symbols and language independent.

        Raises `ValueError` if `split` is unknown or a number is negative.
        """
        if split not in _SPLITS or seed < 0 or index < 0:
            raise ValueError(f"No scene {split}/{seed}/{index}: use {_SPLITS} and numbers >= 0.")
        return cls(np.random.SeedSequence((_SPLITS.index(split), seed, index, stream)))

    def maybe(self, probability: float) -> bool:
        """True with this probability."""
        return self.chance() < probability

    def below(self, limit: int) -> int:
        """A whole number in [0, limit)."""
        return int(self.chance() * limit)

    def choice(self, items: Sequence[_T]) -> _T:
        """One of the items."""
        return items[int(self.chance() * len(items))]

    def pick(self, weights: Mapping[_T, float]) -> _T:
        """One of the keys, as likely as its weight says."""
        mark = self.chance() * sum(weights.values())
        for item, weight in weights.items():
            mark -= weight
            if mark < 0:
                return item
        return next(iter(weights))

    def sample(self, items: Sequence[_T], count: int) -> list[_T]:
        """`count` different items in random order, or all of them if there are fewer."""
        return self._scalars.sample(items, min(count, len(items)))

    def shuffled(self, items: Sequence[_T]) -> list[_T]:
        """All items in random order."""
        return self._scalars.sample(items, len(items))
