"""Keeps the grammar of grounded answers while they are generated (paper 3.2)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor

from groma.tokens import PHRASE_CLOSE, PHRASE_OPEN, ROI_CLOSE, ROI_OPEN, TokenIds

# Tokens from an opening tag to the end of what it opens, at the least.
_ROI_LENGTH = 3
_PHRASE_LENGTH = 2 + _ROI_LENGTH


@dataclass(frozen=True)
class _Allowed:
    """What may come next."""

    tags: Sequence[int]  # new tokens, the names of regions among them
    text: bool = False  # whether words may come
    end: bool = False  # whether the answer may end


class GroundingGrammar(LogitsProcessor):
    """Lets through what makes `(text | [<p>text</p>]<roi><rN>+</roi>)*`, and all of it.

    Only regions of this picture are named, none twice in one `<roi>`, and every tag is closed
    before the answer ends or runs into its limit.

    Args:
        tokens: ids of the new tokens.
        region_ids: numbers N of the regions this picture has.
        eos: ends an answer.
        max_new_tokens: longest answer; None is unlimited.
        in_order: whether `region_ids` is the order that answers keep to: then no region is named
            twice in one answer, and those of one `<roi>` come in this order.
    """

    def __init__(
        self,
        tokens: TokenIds,
        region_ids: Sequence[int],
        eos: int,
        max_new_tokens: int | None = None,
        in_order: bool = False,
    ) -> None:
        self._tokens = tokens
        self._names = [tokens.region(i) for i in region_ids]
        self._eos = eos
        self._limit = math.inf if max_new_tokens is None else max_new_tokens
        self._in_order = in_order

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Rule out what would break the grammar.

        Args:
            input_ids: (B, T) tokens generated so far, without the prompt.
            scores: (B, V) logits of the next token.

        Returns:
            (B, V) logits, -inf where a token is not allowed.
        """
        constrained, base = scores.clone(), self._tokens.base
        for row, generated in enumerate(input_ids.tolist()):
            allowed = self.allowed(generated)
            constrained[row, base if allowed.text else 0 :] = -math.inf
            # The end is a token of the base vocabulary and came in with the words.
            if not allowed.end:
                constrained[row, self._eos] = -math.inf
            tags = torch.tensor(allowed.tags, dtype=torch.int64, device=scores.device)
            constrained[row, tags] = scores[row, tags]
        return constrained

    def allowed(self, generated: Sequence[int]) -> _Allowed:
        """What may follow the tokens generated so far, judged by the last tag among them."""
        tokens, left = self._tokens, self._limit - len(generated)
        # The base vocabulary is words alone, so the last new token tells which state it is in.
        last = next((i for i in reversed(generated) if i >= tokens.base), None)
        if last == tokens[PHRASE_OPEN]:
            return _Allowed([tokens[PHRASE_CLOSE]], text=left >= _PHRASE_LENGTH)
        if last == tokens[PHRASE_CLOSE]:
            return _Allowed([tokens[ROI_OPEN]])
        if last == tokens[ROI_OPEN]:
            return _Allowed(self._new(generated) or self._names)
        if last in self._names:
            return _Allowed([*self._unnamed(generated, left), tokens[ROI_CLOSE]])
        return _Allowed(self._openings(generated, left), text=True, end=True)

    def _unnamed(self, generated: Sequence[int], left: float) -> list[int]:
        """Regions that the open `<roi>` does not name yet, if one more fits before its end."""
        if left < 2:
            return []
        start = len(generated) - list(reversed(generated)).index(self._tokens[ROI_OPEN])
        if self._in_order:
            last = self._names.index(generated[-1])
            return [name for name in self._new(generated) if self._names.index(name) > last]
        return [name for name in self._names if name not in generated[start:]]

    def _new(self, generated: Sequence[int]) -> list[int]:
        """Regions that may begin a `<roi>`."""
        if not self._in_order:
            return self._names
        named = set(generated)
        return [name for name in self._names if name not in named]

    def _openings(self, generated: Sequence[int], left: float) -> list[int]:
        """Tags that can still be opened, filled and closed again."""
        lengths = {PHRASE_OPEN: _PHRASE_LENGTH, ROI_OPEN: _ROI_LENGTH}
        return [
            self._tokens[tag]
            for tag, length in lengths.items()
            if self._new(generated) and left >= length
        ]
