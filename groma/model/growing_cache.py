"""What a language model has read of a sequence, in memory that is written in place."""

from typing import Any

from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

_LEAST_ROOM = 64
"""Positions that are kept free when memory is taken."""


def growing_cache() -> Cache:
    """An empty cache whose layers are `GrowingLayer`s."""
    return Cache(layer_class_to_replicate=GrowingLayer)


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer; one more position costs no copy of those before it.

    `keys` and `values` are the part in use of memory that has room for a quarter more.
    """

    def update(
        self,
        key_states: Tensor,
        value_states: Tensor,
        *args: Any,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor]:
        """Add (B, H, T, d) keys and values, and return all."""
        start = self.get_seq_length()
        end = start + key_states.shape[-2]
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._memory = key_states[..., :0, :], value_states[..., :0, :]
        if end > self._memory[0].shape[-2]:
            kept = (self.keys, key_states), (self.values, value_states)
            self._memory = tuple(_larger(held, fresh, end) for held, fresh in kept)
        self.keys, self.values = (memory[..., :end, :] for memory in self._memory)
        self.keys[..., start:, :] = key_states
        self.values[..., start:, :] = value_states
        return self.keys, self.values

    @property
    def num_bytes(self) -> int:
        """Memory, the free part included."""
        return sum(memory.nbytes for memory in self._memory) if self.is_initialized else 0


def _larger(held: Tensor | None, fresh: Tensor, length: int) -> Tensor:
    """Memory for (B, H, length, d) and more, which begins with what is held."""
    room = length + max(_LEAST_ROOM, length // 4)
    memory = fresh.new_empty(*fresh.shape[:-2], room, fresh.shape[-1])
    if held is not None and held.numel():
        memory[..., : held.shape[-2], :] = held
    return memory
