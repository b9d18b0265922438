"""Which item comes when: shuffled sources, one per batch, computed from the position alone.

Nothing is stored but one small number per step, so ten million items cost nothing to shuffle, any
process can work out any position, and a resumed run sees exactly what it would have seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_MASK = (1 << 64) - 1
_ROUNDS = 4


class Place(NamedTuple):
    """What stands at a position: an item of a source."""

    source: int
    item: int


@dataclass(frozen=True)
class Order:
    """Passes over several sources."""

    lengths: Sequence[int]  # items of every source
    ratios: Sequence[float]  # share of a source's items that counts as one pass
    batch_size: int  # consecutive positions that come from one source
    # Consecutive batches that come from one source: what all processes see in one step.
    ranks: int = 1
    passes: int = 1  # how many
    seed: int = 0  # another seed is another order

    def __len__(self) -> int:
        """Positions in all."""
        return self.passes * sum(self.steps) * self._step

    def __getitem__(self, position: int) -> Place:
        """What stands at a position; raises `IndexError` beyond the end."""
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} of {len(self)}")
        step, offset = divmod(position, self._step)
        number, step = divmod(step, sum(self.steps))
        sources, turns = _shuffle_pass(tuple(self.steps), self.seed, number)
        source, turn = int(sources[step]), int(turns[step])
        walked = (number * self.steps[source] + turn) * self._step + offset
        lap, at = divmod(walked, self.lengths[source])
        key = hash_numbers(self.seed, source, lap)
        return Place(source, permute(at, self.lengths[source], key))

    @cached_property
    def steps(self) -> list[int]:
        """Steps of every source in one pass, at least one."""
        return [
            max(1, round(ratio * length / self._step))
            for ratio, length in zip(self.ratios, self.lengths, strict=True)
        ]

    @property
    def _step(self) -> int:
        """Positions of one step of all processes."""
        return self.batch_size * self.ranks


def permute(position: int, length: int, key: int) -> int:
    """One value of a pseudorandom permutation of range(length), without making the others.

    A Feistel network permutes the next power of four; whatever falls outside is permuted again
    (cycle walking, Black and Rogaway 2002).
    """
    half = max(1, ((length - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    while True:
        left, right = position >> half, position & mask
        for number in range(_ROUNDS):
            left, right = right, left ^ (hash_numbers(key, number, right) & mask)
        position = left << half | right
        if position < length:
            return position


def hash_numbers(*numbers: int) -> int:
    """64 well mixed bits of whole numbers (the finaliser of SplitMix64)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ state >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ state >> 27) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


@lru_cache(maxsize=2)
def _shuffle_pass(
    steps: tuple[int, ...], seed: int, number: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """For every step of a pass its source, and how many steps of that source come before it."""
    owners = np.repeat(np.arange(len(steps), dtype=np.int32), steps)
    sources = np.random.default_rng((seed, number)).permutation(owners)
    turns = np.empty_like(sources)
    for source in range(len(steps)):
        turns[sources == source] = np.arange(steps[source])
    return sources, turns
