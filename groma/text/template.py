"""A conversation as token ids: the only preamble and the only system prompt (paper 3.2).

Words come from the tokenizer, every tag from its id, so that no text can turn into a tag.
"""

import json
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel
from tokenizers.pre_tokenizers import Metaspace
from transformers import PreTrainedTokenizerBase

from groma.tokens import (
    GROUNDING,
    IMAGE,
    PHRASE_CLOSE,
    PHRASE_OPEN,
    REFER_FEATURE,
    REGION,
    ROI_CLOSE,
    ROI_OPEN,
    TokenIds,
)
from groma.types import IGNORED, GromaError

_BYTE_TOKEN = re.compile(r"<0x([0-9A-F]{2})>")


class PlainText:
    """The base vocabulary of a language model, without its special tokens.

    Whatever a person types is text here: "</s>", "<r5>" or "<0x0A>" are spelt in ordinary tokens.

    Args:
        tokenizer: a tokenizer of the LLaMA family; its added tokens are left out.
        base: V, size of the base vocabulary.

    Raises:
        GromaError: if it is not built on the tokenizers library or marks no end of a sequence.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, base: int) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise GromaError(f"{type(tokenizer).__name__} has no fast tokenizer; Groma needs one.")
        if tokenizer.eos_token_id is None:
            raise GromaError(
                "The tokenizer marks no end of a sequence (eos_token); Groma needs it."
            )
        self.bos: int | None = tokenizer.bos_token_id
        self.eos: int = tokenizer.eos_token_id
        self._base = base
        self._tokenizer = tokenizer
        self._first = _without_special_tokens(backend)
        # LLaMA's tokenizer puts a space before a text, but (not `legacy`) none after a tag.
        self._inner = _without_dummy_prefix(self._first)
        added = tokenizer.added_tokens_decoder.items()
        self._special = {i for i, token in added if token.special} | set(tokenizer.all_special_ids)
        # Text may hold characters that the vocabulary lacks.
        self._unknown = self._first.token_to_id(getattr(self._first.model, "unk_token", None) or "")

    def encode(self, text: str, first: bool = False) -> list[int]:
        """Spell text in ordinary tokens; lone surrogates become "?".

        `first` says that nothing but bos precedes it; some tokenizers then put a space in front.
        Raises `GromaError` if the tokenizer knows no ordinary spelling.
        """
        text = text.encode("utf-8", "replace").decode("utf-8")
        tokenizer = self._first if first else self._inner
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        if any(self._is_special(i) and i != self._unknown for i in ids):
            raise GromaError("The text holds a special token that this tokenizer cannot spell out.")
        return ids

    def to_bytes(self, token_id: int) -> bytes:
        """UTF-8 bytes of one token, its space included; nothing for a special token."""
        token = self._tokenizer.convert_ids_to_tokens([token_id])[0]
        if self._is_special(token_id) or token is None:
            return b""
        if isinstance(self._first.decoder, ByteLevel):
            letters = byte_letters()
            return bytes(letters[letter] for letter in token if letter in letters)
        if byte := _BYTE_TOKEN.fullmatch(token):
            return bytes.fromhex(byte[1])
        return token.replace("▁", " ").encode()

    def _is_special(self, token_id: int) -> bool:
        return token_id in self._special or token_id >= self._base


def _without_special_tokens(backend: Tokenizer) -> Tokenizer:
    """A copy that neither recognises special tokens nor assembles them from their letters."""
    state: dict[str, Any] = json.loads(backend.to_str())
    special = {token["content"] for token in state["added_tokens"]}
    state.update(added_tokens=[], post_processor=None, truncation=None, padding=None)
    model = state["model"]
    if "merges" in model:
        # LLaMA's vocabulary can merge "</", "s" and ">" into the end of an answer.
        model["merges"] = [merge for merge in model["merges"] if not _makes_special(merge, special)]
    return Tokenizer.from_str(json.dumps(state))


def _makes_special(merge: list[str] | str, special: set[str]) -> bool:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return any(
        token in special or _BYTE_TOKEN.fullmatch(token) for token in (left, right, left + right)
    )


def _without_dummy_prefix(tokenizer: Tokenizer) -> Tokenizer:
    """A copy for text that follows other tokens, where only the first text gets a prefix."""
    inner = Tokenizer.from_str(tokenizer.to_str())
    scheme = inner.pre_tokenizer
    if isinstance(scheme, Metaspace) and scheme.prepend_scheme == "first":
        inner.pre_tokenizer = Metaspace(scheme.replacement, "never", scheme.split)
    return inner


@cache
def byte_letters() -> dict[str, int]:
    """The letter that stands for each byte in byte-level vocabularies (as GPT-2 defined it)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + i): byte for i, byte in enumerate(others)
    }


Piece = str | int  # plain text, or the id of one token

Exchange = tuple[Sequence[Piece], Sequence[Piece]]  # A question and its answer

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
GREETING = "Thank you for the image! How can I assist you with it?"

_MENTION = re.compile(r"\[([1-9][0-9]{0,2})\]")
_NUMBER = re.compile(r"\[([0-9]+)\]")


class Template:
    """Writes prompts and training texts for one tokenizer.

    Spaces beside a tag are dropped, as in training of the released model; text after a tag or
    after the end of an answer begins with a dummy space only where the tokenizer says so.

    Args:
        tokenizer: of the base vocabulary; used for plain text alone.
        tokens: ids of the new tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, tokens: TokenIds) -> None:
        self.tokens = tokens
        self.plain = PlainText(tokenizer, tokens.base)

    def question(
        self, text: str, names: Sequence[int] = (), drawn: int = 0, grounding: bool = True
    ) -> list[Piece]:
        """A user's message (paper 3.2, referring and grounding).

        Args:
            text: as typed; `[K]` mentions user region K where there is one.
            names: the token that stands for user region 1, 2, …: its `<rN>`, or `<refer_box>`.
            drawn: how many of the last regions were drawn with this message; where the text
                mentions none at all, they are mentioned at its end.
            grounding: ask for boxes.
        """
        pieces: list[Piece] = [self.tokens[GROUNDING]] if grounding else []
        parts = _MENTION.split(text.strip())
        mentioned = False
        # Every other part is the number in a mention.
        for i, part in enumerate(parts):
            if i % 2 == 0:
                pieces.append(part)
            elif int(part) <= len(names):
                pieces += self.mention(names[int(part) - 1])
                mentioned = True
            else:
                pieces.append(f"[{part}]")
        if not mentioned:
            for name in names[len(names) - drawn :]:
                pieces += self.mention(name)
        return pieces

    def answer(self, text: str, spans: Sequence[tuple[int, int, Sequence[int]]]) -> list[Piece]:
        """An answer, without tags, with its grounded phrases (paper 3.2).

        Spans are characters [start, end) in order, not overlapping, and the tokens that stand for
        their regions: `<rN>`, or `<ground_box>`. An empty span has no phrase.
        """
        pieces: list[Piece] = []
        at = 0
        for start, end, names in spans:
            pieces.append(text[at:start])
            pieces += self.phrase(text[start:end], names)
            at = end
        return [*pieces, text[at:]]

    def mention(self, name: int) -> list[Piece]:
        """A region the user points at; `name` is its `<rN>`, or `<refer_box>`."""
        roi_open, roi_close = self.tokens[ROI_OPEN], self.tokens[ROI_CLOSE]
        return [roi_open, name, roi_close, self.tokens[REFER_FEATURE]]

    def phrase(self, text: str, names: Sequence[int]) -> list[Piece]:
        """Words and the regions they mean; `names` are `<rN>` or `<ground_box>`, one each."""
        roi: list[Piece] = [self.tokens[ROI_OPEN], *names, self.tokens[ROI_CLOSE]]
        return [self.tokens[PHRASE_OPEN], text, self.tokens[PHRASE_CLOSE], *roi] if text else roi

    def prompt(
        self,
        exchanges: Sequence[Exchange],
        question: Sequence[Piece],
    ) -> list[int]:
        """What the model reads before it answers: earlier exchanges, and the message to answer.

        Returns T ids with one `<image>` and one `<region>`, ending in "ASSISTANT:".
        """
        # What was said before reads as it did in training, ends of answers included.
        ids, _ = self.training_example(exchanges)
        return ids + self._question(question)

    def training_example(self, exchanges: Sequence[Exchange]) -> tuple[list[int], list[int]]:
        """A whole conversation; its answers, ends included, are what is learnt (paper 3.3).

        Returns T ids with one `<image>` and one `<region>`, and T labels: the id where it is
        supervised, -100 elsewhere.
        """
        ids = self._preamble()
        labels = [IGNORED] * len(ids)
        for question, answer in exchanges:
            asked = self._question(question)
            # The end is learnt like a word: every answer ends, and no space stands before it.
            answered = [*self._encode(_strip(answer)), self.plain.eos]
            ids += asked + answered
            labels += [IGNORED] * len(asked) + answered
        return ids, labels

    def _preamble(self) -> list[int]:
        pieces = [
            f"{SYSTEM} USER: Here is an image with region crops from it. Image: ",
            self.tokens[IMAGE],
            ". Regions: ",
            self.tokens[REGION],
            f". ASSISTANT: {GREETING}",
        ]
        # Byte-level vocabularies may have none.
        bos = [] if self.plain.bos is None else [self.plain.bos]
        return [*bos, *self._encode(pieces, first=True), self.plain.eos]

    def _question(self, pieces: Sequence[Piece]) -> list[int]:
        return self._encode(["USER: ", *pieces, " ASSISTANT:"])

    def _encode(self, pieces: Sequence[Piece], first: bool = False) -> list[int]:
        """Spell the text between tags, which drop the spaces beside them."""
        ids: list[int] = []
        joined = _join(pieces)
        for i, piece in enumerate(joined):
            if isinstance(piece, int):
                ids.append(piece)
                continue
            # The slow tokenizer of the release drops spaces on both sides of its added tokens,
            # though not around <s> and </s>.
            text = piece.lstrip() if i > 0 else piece
            text = text.rstrip() if i + 1 < len(joined) else text
            if text:
                ids += self.plain.encode(text, first=first and i == 0)
        return ids


def check_mentions(text: str, count: int) -> None:
    """Refuse a question that mentions, by a whole number in brackets, a user region there is not.

    Raises `GromaError`, naming the first such number, and the `count` that there are.
    """
    known = [str(number) for number in range(1, count + 1)]
    for number in _NUMBER.findall(text):
        if number not in known:
            there = {0: "draw it first", 1: "draw it, or name [1]"}
            hint = there.get(count, f"draw it, or name one of [1] to [{count}]")
            raise GromaError(f"There is no region [{number}]; {hint}.")


def _join(pieces: Sequence[Piece]) -> list[Piece]:
    """Join neighbouring texts, because words are spelt across them."""
    joined: list[Piece] = []
    for piece in pieces:
        if isinstance(piece, str) and joined and isinstance(joined[-1], str):
            joined[-1] += piece
        else:
            joined.append(piece)
    return joined


def _strip(pieces: Sequence[Piece]) -> list[Piece]:
    """Drop the spaces around an answer, as the `<sep>` that brackets it in training does."""
    joined = _join(pieces)
    if joined and isinstance(joined[0], str):
        joined[0] = joined[0].lstrip()
    if joined and isinstance(joined[-1], str):
        joined[-1] = joined[-1].rstrip()
    return joined
