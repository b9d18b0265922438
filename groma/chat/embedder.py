"""Embeds prompts about one picture, each region token computed once (paper 3.2)."""

from collections.abc import Sequence

import torch
from torch import Tensor

from groma.model.groma import GromaForConditionalGeneration
from groma.model.splice import splice
from groma.tokens import IMAGE, REFER_FEATURE, REGION, TokenIds
from groma.types import Box, EncodedImage, Region


class PromptEmbedder:
    """Turns the tokens of a prompt into embeddings, visual tokens spliced in.

    Args:
        model: whose embeddings and region encoder are used.
        image: the picture.
        tokens: ids of the new tokens.
    """

    def __init__(
        self, model: GromaForConditionalGeneration, image: EncodedImage, tokens: TokenIds
    ) -> None:
        self._model = model
        self._image = image
        self._tokens = tokens
        self._region_tokens: dict[Box, Tensor] = {}

    def release(self) -> None:
        """Forget the region tokens."""
        self._region_tokens.clear()

    @property
    def num_bytes(self) -> int:
        """Memory that the region tokens take."""
        return sum(token.nbytes for token in self._region_tokens.values())

    def keys(self, ids: Sequence[int], regions: Sequence[Region]) -> list[int | Box]:
        """What stands at each position: a token, or the extent whose region token is spliced in.

        Args:
            ids: T expanded tokens.
            regions: row N is `<rN>`.
        """
        keys: list[int | Box] = list(ids)
        for at, region in self._spliced(ids).items():
            keys[at] = regions[region].extent
        return keys

    def embed(self, ids: Sequence[int], regions: Sequence[Region], start: int) -> Tensor:
        """Embed a prompt from a position on.

        Args:
            ids: T expanded tokens.
            regions: row N is `<rN>`.
            start: first position wanted.

        Returns:
            (T - start, D).
        """
        embeddings = self._model.get_input_embeddings()
        rest = torch.tensor(ids[start:], device=next(embeddings.parameters()).device)
        spliced = {at: regions[i] for at, i in self._spliced(ids).items() if at >= start}
        self._encode(list(spliced.values()))
        rows: dict[int, list[Tensor]] = {self._tokens[REGION]: [], self._tokens[REFER_FEATURE]: []}
        for at, region in spliced.items():
            rows[ids[at]].append(self._region_tokens[region.extent])
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
        missing = list(
            dict.fromkeys(r.extent for r in regions if r.extent not in self._region_tokens)
        )
        if missing:
            tokens = self._model.encode_regions(self._image, torch.tensor(missing))
            self._region_tokens.update(zip(missing, tokens, strict=True))
