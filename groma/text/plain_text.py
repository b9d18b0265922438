"""Plain text to token ids and back, in which no text can ever become a special token."""

import json
import re
from functools import cache
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel
from tokenizers.pre_tokenizers import Metaspace
from transformers import PreTrainedTokenizerBase

from groma.types import GromaError

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
