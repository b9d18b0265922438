"""Grounded answers: the grammar that they keep to, and how text and spans are read from tokens.

Paper 3.2. The grammar rules out tokens while an answer is generated; the reader walks over the
tokens one at a time.
"""

import codecs
import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor

from groma.named_regions import GroundedSpan, Region, RegionRef
from groma.text.template import PlainText
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


_ENDS_WORD = frozenset(".,;:!?%…'")
_STARTS_WORD = frozenset("¿¡")


class ReplyBuilder:
    """Grows a reply token by token; any sequence of tokens is understood as well as can be.

    `regions` are all of the conversation; row N is `<rN>`.
    """

    def __init__(self, plain: PlainText, tokens: TokenIds, regions: Sequence[Region]) -> None:
        self._plain = plain
        self._tokens = tokens
        self._regions = regions
        self._text = _SpacedText()
        self._decoder = _new_decoder()
        self._spans: list[GroundedSpan] = []
        self._phrase_is_open = False
        self._phrase: tuple[int, int] | None = None
        self._roi: list[RegionRef] | None = None

    def push(self, token_id: int, score: float = 1.0) -> None:
        """Read one more token; `score` is the probability of a region token among the regions."""
        if token_id < self._tokens.base:
            self._text.append(self._decoder.decode(self._plain.to_bytes(token_id)))
            return
        # A tag inside a character: its bytes so far will never be whole.
        self._decoder = _new_decoder()
        self._text.cut()
        index = self._tokens.region_index(token_id)
        if index is not None:
            self._point_to(index, score)
        elif token_id == self._tokens[PHRASE_OPEN]:
            self._phrase_is_open = True
            self._text.mark()
        elif token_id == self._tokens[PHRASE_CLOSE]:
            self._close_phrase()
        # A model may forget `</p>`; the phrase ends here at the latest.
        elif token_id == self._tokens[ROI_OPEN]:
            self._close_phrase()
            self._roi = []
        elif token_id == self._tokens[ROI_CLOSE]:
            self._close_roi()

    @property
    def text(self) -> str:
        """What was read so far, in whole characters."""
        return self._text.text

    @property
    def spans(self) -> tuple[GroundedSpan, ...]:
        """Those that are closed."""
        return tuple(self._spans)

    def _point_to(self, index: int, score: float) -> None:
        if self._roi is None or index >= len(self._regions):
            return
        # A region that is named twice is meant once.
        if index not in [ref.id for ref in self._roi]:
            self._roi.append(self._regions[index].ref(score))

    def _close_phrase(self) -> None:
        if self._phrase_is_open:
            self._phrase = self._text.marked()
        self._phrase_is_open = False

    def _close_roi(self) -> None:
        if self._roi:
            end = len(self._text.text)
            # Words between a phrase and its regions mean that they do not belong together.
            follows = self._phrase is not None and self._phrase[1] == end
            start, end = self._phrase if self._phrase and follows else (end, end)
            self._spans.append(GroundedSpan(start, end, tuple(self._roi)))
        self._phrase, self._roi = None, None


class _SpacedText:
    """Text that grows at its end, with one natural space where a tag was.

    Its `text` is what stands for good; space at its end waits for the next letter.
    """

    def __init__(self) -> None:
        self.text = ""
        self._space = ""
        self._is_cut = False
        self._is_marking = False
        self._start = 0

    def append(self, chunk: str) -> None:
        """Add what follows; any part of a word, or nothing."""
        body = chunk.strip()
        if not body:
            self._space += chunk
            return
        before = chunk[: chunk.index(body)]
        self.text += self._gap(self._space + before, body[0])
        if self._is_marking:
            self._start, self._is_marking = len(self.text), False
        self.text += body
        self._space = chunk[len(before) + len(body) :]
        self._is_cut = False

    def cut(self) -> None:
        """A tag stands here, beside which the model writes no spaces."""
        self._is_cut = True

    def mark(self) -> None:
        """A phrase begins with the next letter."""
        self._is_marking = True

    def marked(self) -> tuple[int, int]:
        """Characters [start, end) since the mark; empty where no letter followed it."""
        end = len(self.text)
        start = end if self._is_marking else self._start
        self._is_marking = False
        return start, end

    def _gap(self, space: str, following: str) -> str:
        """The space between the text so far and the next letter."""
        if not self.text:
            return ""
        if not self._is_cut:
            return space
        if "\n" in space:
            return space[space.index("\n") :]
        # A space beside a tag says little: some tokenizers always write one, most never do.
        previous = self.text[-1]
        is_quoted = self.text.count('"') % 2 == 1
        attached = (
            _closes(following)
            or _opens(previous)
            or (is_quoted and '"' in (previous, following))
            or (_is_wide(previous) and _is_wide(following))
        )
        return "" if attached else " "


def _closes(letter: str) -> bool:
    return letter in _ENDS_WORD or unicodedata.category(letter) in ("Pe", "Pf")


def _opens(letter: str) -> bool:
    return letter in _STARTS_WORD or unicodedata.category(letter) in ("Ps", "Pi")


def _is_wide(letter: str) -> bool:
    """Whether a script puts no spaces between words, as Chinese and Japanese."""
    return unicodedata.east_asian_width(letter) in "WF"


def _new_decoder() -> codecs.IncrementalDecoder:
    """Holds back the bytes of a character until it is whole."""
    return codecs.getincrementaldecoder("utf-8")("replace")
