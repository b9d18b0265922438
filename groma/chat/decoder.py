"""Runs the language model token by token and computes only what it has not seen before."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor
from transformers import (
    Cache,
    LlamaForCausalLM,
    LogitsProcessor,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)
from transformers.cache_utils import DynamicLayer

from groma.chat.settings import GenerationSettings

Step = Callable[[Tensor, Cache], Tensor]
"""From the embeddings (T, D) of some tokens and the cache of what stands before them to (V,)
float32 logits of the next token; the cache grows by T positions."""

_LEAST_ROOM = 64
"""Positions that are kept free when memory is taken."""


class PrefixDecoder:
    """A language model that remembers the last sequence it read (KV cache).

    A new sequence costs only what follows the longest common beginning. `step` is how tokens are
    read; None reads them alone.
    """

    def __init__(self, language_model: LlamaForCausalLM, step: Step | None = None) -> None:
        self._model = language_model
        self._step = step or partial(read_alone, language_model)
        self.release()

    def release(self) -> None:
        """Forget everything; the next sequence is read from its beginning."""
        self._cache = Cache(layer_class_to_replicate=_GrowingLayer)
        self._held: list[Hashable] = []

    @property
    def num_tokens(self) -> int:
        """Length of the remembered sequence."""
        return len(self._held)

    @property
    def num_bytes(self) -> int:
        """Memory that the remembered sequence takes."""
        layers = self._cache.layers
        return sum(layer.num_bytes for layer in layers if isinstance(layer, _GrowingLayer))

    @torch.inference_mode()
    def take_over(self, other: "PrefixDecoder") -> None:
        """Remember what another one of the same model remembers, which it keeps too."""
        self.release()
        for index, layer in enumerate(other._cache.layers):
            assert isinstance(layer, DynamicLayer)
            assert layer.keys is not None
            assert layer.values is not None
            self._cache.update(layer.keys, layer.values, index)
        self._held = list(other._held)

    @torch.inference_mode()
    def read(self, keys: Sequence[Hashable], embed: Callable[[int], Tensor]) -> Tensor:
        """Read a whole sequence.

        Args:
            keys: T of them, at least one; what stands at each position. Equal keys with equal
                keys before them must stand for equal embeddings.
            embed: gives the (T - t, D) embeddings from position t on.

        Returns:
            (V,) float32 logits of the next token.
        """
        pairs = zip(self._held, keys, strict=False)
        shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        # The last position is read in any case, for its logits.
        shared = min(shared, len(keys) - 1)
        cache, surplus = self._cache, len(self._held) - shared
        # If reading fails, for want of memory, no half-filled cache may stay behind.
        self.release()
        cache.crop(-surplus)
        logits = self._step(embed(shared), cache)
        self._cache, self._held = cache, list(keys)
        return logits

    @torch.inference_mode()
    def extend(self, token: int) -> Tensor:
        """Read one more token, and return (V,) float32 logits of the next."""
        cache, held = self._cache, self._held
        self.release()
        embeddings = self._model.get_input_embeddings()
        ids = torch.tensor([token], device=next(embeddings.parameters()).device)
        logits = self._step(embeddings(ids), cache)
        held.append(token)
        self._cache, self._held = cache, held
        return logits

    def generate(
        self,
        logits: Tensor,
        grammar: LogitsProcessor,
        settings: GenerationSettings,
        limit: int,
        eos: int,
    ) -> Iterator[tuple[int, Tensor]]:
        """Continue the sequence that was read.

        Args:
            logits: (V,) from `read`.
            grammar: rules out tokens, judging by those generated.
            settings: greedy or drawn at random.
            limit: most tokens.
            eos: ends the answer and is not part of it.

        Yields:
            A token and the (V,) logits it was chosen from, before any rule.
        """
        processors = [grammar, *_warpers(settings)]
        generator = _seeded(settings.seed)
        generated: list[int] = []
        while True:
            scores = logits[None]
            for processor in processors:
                scores = processor(torch.LongTensor([generated]), scores)
            token = _pick(scores[0], settings, generator)
            if token == eos:
                return
            generated.append(token)
            yield token, logits
            if len(generated) >= limit:
                return
            logits = self.extend(token)


def read_alone(language_model: LlamaForCausalLM, embeddings: Tensor, cache: Cache) -> Tensor:
    """A `Step` that shares nothing with anybody."""
    output = language_model(
        inputs_embeds=embeddings[None], past_key_values=cache, use_cache=True, logits_to_keep=1
    )
    return output.logits[0, -1].float()


def _warpers(settings: GenerationSettings) -> list[LogitsProcessor]:
    warpers: list[LogitsProcessor] = []
    if settings.temperature > 0:
        warpers.append(TemperatureLogitsWarper(float(settings.temperature)))
    if settings.temperature > 0 and settings.top_p < 1:
        warpers.append(TopPLogitsWarper(settings.top_p))
    return warpers


def _seeded(seed: int | None) -> torch.Generator:
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return generator


def _pick(scores: Tensor, settings: GenerationSettings, generator: torch.Generator) -> int:
    if settings.temperature == 0:
        return int(scores.argmax())
    # On the CPU, so that a seed gives the same answer on every device.
    return int(torch.multinomial(scores.softmax(dim=0).cpu(), 1, generator=generator))


class _GrowingLayer(DynamicLayer):
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
