"""Prompts about one picture become embeddings, and the language model reads and continues them.

Each region token is computed once (paper 3.2), and nothing is read that was read before.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from itertools import takewhile
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
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
from groma.model.groma import GromaForConditionalGeneration
from groma.model.splice import splice
from groma.named_regions import Region
from groma.shapes import Mask, box_around
from groma.tokens import IMAGE, REFER_FEATURE, REGION, TokenIds
from groma.types import Box, EncodedImage

_Seen = tuple[Box, Mask | None]
"""What a region token is of: xyxy in [0, 1], and its pixels where not all of them count."""

MASK_SIDE = 84
"""Cells per side in which a mask is handed on: a multiple of every region encoder's samples."""


class PromptEmbedder:
    """Turns the tokens of a prompt into embeddings, visual tokens spliced in."""

    def __init__(
        self, model: GromaForConditionalGeneration, image: EncodedImage, tokens: TokenIds
    ) -> None:
        self._model = model
        self._image = image
        self._tokens = tokens
        self._region_tokens: dict[_Seen, Tensor] = {}

    def release(self) -> None:
        """Forget the region tokens."""
        self._region_tokens.clear()

    @property
    def num_bytes(self) -> int:
        """Memory that the region tokens take."""
        return sum(token.nbytes for token in self._region_tokens.values())

    def keys(self, ids: Sequence[int], regions: Sequence[Region]) -> list[int | _Seen]:
        """What stands at each of T positions: a token, or what the region token spliced in is of.

        Row N of the regions is `<rN>`.
        """
        keys: list[int | _Seen] = list(ids)
        for at, region in self._spliced(ids).items():
            keys[at] = _seen(regions[region])
        return keys

    def embed(self, ids: Sequence[int], regions: Sequence[Region], start: int) -> Tensor:
        """Embed a prompt of T expanded tokens from a position on; row N of the regions is `<rN>`.

        Returns (T - start, D).
        """
        embeddings = self._model.get_input_embeddings()
        rest = torch.tensor(ids[start:], device=next(embeddings.parameters()).device)
        spliced = {at: regions[i] for at, i in self._spliced(ids).items() if at >= start}
        self._encode(list(spliced.values()))
        rows: dict[int, list[Tensor]] = {self._tokens[REGION]: [], self._tokens[REFER_FEATURE]: []}
        for at, region in spliced.items():
            rows[ids[at]].append(self._region_tokens[_seen(region)])
        image_tokens = self._image.image_tokens
        num_image_tokens = int((rest == self._tokens[IMAGE]).sum())
        return splice(
            embeddings(rest),
            rest,
            self._tokens,
            image_tokens[len(image_tokens) - num_image_tokens :],
            *(torch.stack(row) if row else image_tokens[:0] for row in rows.values()),
        )

    def _spliced(self, ids: Sequence[int]) -> dict[int, int]:
        """Position and region id of every `<rN><region>` and `<rN></roi><refer_feat>`."""
        distance = {self._tokens[REGION]: 1, self._tokens[REFER_FEATURE]: 2}
        names = {at: ids[at - distance[i]] for at, i in enumerate(ids) if i in distance}
        return {at: name - self._tokens.region(0) for at, name in names.items()}

    def _encode(self, regions: Sequence[Region]) -> None:
        """Have the tokens of these regions at hand."""
        seen = dict.fromkeys(map(_seen, regions))
        missing = [each for each in seen if each not in self._region_tokens]
        if missing:
            extents, masks = zip(*missing, strict=True)
            tokens = self._model.encode_regions(
                self._image, torch.tensor(extents), self._coverage(masks)
            )
            self._region_tokens.update(zip(missing, tokens, strict=True))

    def _coverage(self, masks: Sequence[Mask | None]) -> Tensor | None:
        """(N, M, M) how much of each cell of its box a mask covers; None where there is no mask."""
        if not any(masks):
            return None
        covered = torch.ones(len(masks), MASK_SIDE, MASK_SIDE)
        for row, mask in zip(covered, masks, strict=True):
            if mask is not None:
                row[:] = mask_coverage(mask)
        return covered


def mask_coverage(mask: Mask) -> Tensor:
    """(M, M) how much of each cell a mask covers; the cells divide its box evenly."""
    pixels = mask.mask(mask.size)
    left, top, right, bottom = map(int, box_around(pixels))
    inside = torch.from_numpy(pixels[top:bottom, left:right].astype(np.float32))
    return F.adaptive_avg_pool2d(inside[None], MASK_SIDE)[0]


def _seen(region: Region) -> _Seen:
    return region.extent, region.mask


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
