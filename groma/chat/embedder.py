"""Embeds prompts about one picture, each region token computed once (paper 3.2)."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

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
