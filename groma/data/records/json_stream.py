"""JSON files too large for memory, read from front to back, one value at a time."""

import json
import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from groma.data.sources.items import BrokenItem
from groma.foreign import load_json
from groma.types import GromaError

_CHUNK = 1 << 22
_LONGEST = 1 << 28
_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"[-+.eE0-9]*")
_DECODER = json.JSONDecoder()


class _Element(NamedTuple):
    """An element of a list in a file."""

    table: str  # what the list is called; "" where the file is one list
    value: Any  # its strings are not decoded from UTF-8 yet
    start: int  # its first byte
    text: bytes  # its bytes


def stream_elements(path: Path) -> Iterator[_Element]:
    """Elements of the list that a file is, or of every list in its top-level object.

    Raises `GromaError` if the file is not JSON in UTF-8.
    """
    letter, start = first_letter(path)
    with path.open("rb") as file:
        file.seek(start)
        stream = _Stream(file, path)
        yield from stream.tables() if letter == b"{" else stream.elements("")


def first_letter(path: Path) -> tuple[bytes, int]:
    """The first byte of a file that is no space, and where text begins, behind its mark.

    Raises `GromaError` if it is in another encoding than UTF-8.
    """
    with path.open("rb") as file:
        encoding = json.detect_encoding(file.read(4))
        if not encoding.startswith("utf-8"):
            raise GromaError(f"{path} is in {encoding.upper()}; save it in UTF-8.")
        start = len(BOM_UTF8) if encoding == "utf-8-sig" else 0
        file.seek(start)
        while (letter := file.read(1)).isspace():
            pass
    return letter, start


def decode(text: bytes) -> Any:
    """The value of JSON text; raises `BrokenItem` if it is not JSON in UTF-8."""
    try:
        return load_json(text)
    except ValueError as error:
        raise BrokenItem("not JSON") from error


class _Stream:
    """Reads a file in chunks, from the start of its text.

    Bytes are read as Latin-1, so that a character is a byte and positions are exact; the structure
    of JSON is the same, only strings need decoding afterwards.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        self._text, self._at, self._offset = "", 0, file.tell()

    def tables(self) -> Iterator[_Element]:
        """Elements of every list in an object; its other values are passed over."""
        self._take("{")
        while self._peek() != "}":
            name = self._value()
            self._take(":")
            if self._peek() == "[":
                yield from self.elements(name)
            else:
                self._value()
            if self._peek() != "}":
                self._take(",")

    def elements(self, table: str) -> Iterator[_Element]:
        """Elements of the list that comes next."""
        self._take("[")
        while self._peek() != "]":
            value = self._value()
            text = self._text[self._begin : self._at].encode("latin-1")
            yield _Element(table, value, self._offset + self._begin, text)
            if self._peek() != "]":
                self._take(",")
        self._take("]")

    def _value(self) -> Any:
        """The next value, from `_begin` to `_at`."""
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError as error:
                raise self._damaged() from error
            except json.JSONDecodeError as error:
                if not self._fill():
                    raise self._damaged() from error
                continue
            # A number might go on in the next chunk.
            if _end(_NUMBER, self._text, end) < len(self._text) or not self._fill():
                break
        self._begin, self._at = self._at, end
        return value

    def _take(self, letter: str) -> None:
        if self._peek() != letter:
            raise self._damaged()
        self._at += 1

    def _peek(self) -> str:
        """The next character that is no space, "" at the end."""
        while True:
            self._at = _end(_SPACE, self._text, self._at)
            if self._at < len(self._text) or not self._fill():
                return self._text[self._at : self._at + 1]

    def _fill(self) -> bool:
        """Read on, more if the value at hand is long; False at the end or if it is too long."""
        pending = len(self._text) - self._at
        chunk = self._file.read(max(_CHUNK, pending)) if pending < _LONGEST else b""
        self._text = self._text[self._at :] + chunk.decode("latin-1")
        self._offset, self._at = self._offset + self._at, 0
        return bool(chunk)

    def _damaged(self) -> GromaError:
        return GromaError(
            f"{self._path} is damaged or of another format: byte {self._offset + self._at} "
            "does not go on as JSON should."
        )


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """Where characters end that a pattern takes, which may be none."""
    match = pattern.match(text, at)
    assert match is not None
    return match.end()
