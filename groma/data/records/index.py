"""Annotation files too large for memory, read by index.

The first use writes where every item begins into numpy files beside the data, and from then on an
item costs one seek. What is kept holds paths alone, so that it can be sent to loader processes.
"""

import csv
import hashlib
import json
import logging
import re
from array import array
from codecs import BOM_UTF8
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from groma.data.sources.items import BrokenItem, refused, words
from groma.foreign import load_json, to_identifier
from groma.types import GromaError

FOLDER_NAME = ".groma-index"
"""Where indexes go if nobody says otherwise: beside the data."""
_VERSION = 1
_CHUNK = 1 << 22
_LONGEST = 1 << 28
_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"[-+.eE0-9]*")
_DECODER = json.JSONDecoder()
_NO_KEY = -(1 << 63)
"""Stands for a number that an entry should have, and has not."""
_KEYS = {"images": "id", "annotations": "image_id"}
"""Which number of an entry joins images and annotations."""

logger = logging.getLogger(__name__)

Arrays = dict[str, NDArray]
Element = tuple[Any, int, int]
"""A value, its first byte and its number of bytes; its strings are not decoded from UTF-8 yet."""


class Indexed:
    """A file with arrays that say where its items are.

    Args:
        path: of the annotations.
        cache: folder of indexes; None is `FOLDER_NAME` beside the file.
    """

    purpose: str
    """What the arrays are called; another purpose is another index of the same file."""
    names: tuple[str, ...]

    def __init__(self, path: Path, cache: Path | None = None) -> None:
        self.path = path
        self.cache = cache

    @cached_property
    def arrays(self) -> Arrays:
        """The index, memory-mapped; made on first use.

        Raises:
            GromaError: if the file is not what it should be, or the index cannot be written.
        """
        stem = cache_stem([self.path], self.purpose, self.cache)
        files = {name: stem.with_name(f"{stem.name}.{name}.npy") for name in self.names}
        if not all(file.is_file() for file in files.values()):
            for name, values in self._build().items():
                with replacing(files[name]) as file:
                    np.save(file, values)
        return {name: np.load(file, mmap_mode="r") for name, file in files.items()}

    def __getstate__(self) -> dict[str, Any]:
        """Without the arrays, which every process maps for itself."""
        return {name: value for name, value in vars(self).items() if name != "arrays"}

    def _build(self) -> Arrays:
        raise NotImplementedError


class JsonItems(Indexed):
    """The items of a JSON list, or of JSON lines.

    Args:
        path: of the file.
        cache: folder of indexes.
        parts: name of a list in every item, if each of its elements is a sample.
    """

    names = ("spans",)

    def __init__(self, path: Path, cache: Path | None = None, parts: str | None = None) -> None:
        super().__init__(path, cache)
        self.parts = parts
        self.purpose = f"items-{parts}"

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.arrays["spans"])

    def __getitem__(self, index: int) -> tuple[Any, int]:
        """One item, and which of its parts is meant.

        Raises:
            BrokenItem: if it is not JSON.
        """
        start, length, part = (int(value) for value in self.arrays["spans"][index])
        (text,) = read_spans(self.path, [(start, length)])
        return decode(text), part

    def _build(self) -> Arrays:
        rows = _Table(3)
        with self.path.open("rb") as file:
            is_list = first_letter(file, self.path) == b"["
            found = JsonStream(file, self.path).elements() if is_list else self._lines(file)
            for item, start, length in found:
                for part in range(self._count(item)):
                    rows.append(start, length, part)
        return {"spans": rows.table()}

    def _count(self, item: Any) -> int:
        """Samples of an item; one where its list is missing or empty, which parsing will refuse."""
        parts = item.get(self.parts) if isinstance(item, dict) else None
        return max(1, len(parts)) if isinstance(parts, list) else 1

    def _lines(self, file: IO[bytes]) -> Iterator[Element]:
        """Lines that are not blank, decoded only where their parts are to be counted."""
        start = file.tell()
        for line in file:
            if not line.isspace():
                yield None if self.parts is None else _load(line), start, len(line)
            start += len(line)


class JsonTables(Indexed):
    """A COCO-like file: `images`, each with its `annotations`, and `categories`.

    An image without id is a broken item. Annotations without the number of an image in the file
    belong to none; how many there are is logged when the index is made.
    """

    purpose = "tables"
    names = ("images", "annotations", "categories")

    def __len__(self) -> int:
        """Number of images."""
        return len(self.arrays["images"])

    def __getitem__(self, index: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """An image and its annotations, in their order in the file.

        Raises:
            BrokenItem: if one of them is not JSON, or the image has no id.
        """
        start, length, first, count = (int(value) for value in self.arrays["images"][index])
        members = self.arrays["annotations"][first : first + count].tolist()
        image, *annotations = map(decode, read_spans(self.path, [(start, length), *members]))
        if _key(image, "id") == _NO_KEY:
            raise BrokenItem("a picture without id")
        return image, annotations

    @cached_property
    def categories(self) -> dict[int | str, str]:
        """Names of the classes by id; those that lack one of both are left out."""
        names: dict[int | str, str] = {}
        for text in read_spans(self.path, self.arrays["categories"].tolist()):
            with suppress(BrokenItem), refused():
                category = decode(text)
                if (number := to_identifier(category["id"])) is not None:
                    names[number] = words(category["name"])
        return names

    def _build(self) -> Arrays:
        keys = {"images": array("q"), "annotations": array("q")}
        spans = {name: _Table(2) for name in self.names}
        with self.path.open("rb") as file:
            first_letter(file, self.path)
            for name, value, start, length in JsonStream(file, self.path).tables():
                if name in keys:
                    keys[name].append(_key(value, _KEYS[name]))
                if name in spans:
                    spans[name].append(start, length)
        if not keys["images"]:
            raise GromaError(f"{self.path} has no list `images`: it is no COCO-like file.")
        images, owners = (self._keys(name, keys[name]) for name in ("images", "annotations"))
        order = np.argsort(owners, kind="stable")
        owners = owners[order]
        first = np.searchsorted(owners, images)
        count = np.searchsorted(owners, images, side="right") - first
        count[images == _NO_KEY] = 0
        self._tell_orphans(owners, images, count)
        members = np.column_stack([first, count]).astype(np.uint64)
        return {
            "images": np.column_stack([spans["images"].table(), members]),
            "annotations": spans["annotations"].table()[order],
            "categories": spans["categories"].table(),
        }

    def _tell_orphans(self, owners: NDArray, images: NDArray, count: NDArray) -> None:
        """Log how many annotations are of images that the file does not have."""
        _, first = np.unique(images, return_index=True)
        orphans = np.count_nonzero(owners != _NO_KEY) - int(count[first].sum())
        if orphans:
            logger.warning(
                "%s: %d of %d entries of `annotations` are of no image in it and are left out.",
                *(self.path, orphans, len(owners)),
            )

    def _keys(self, name: str, keys: array) -> NDArray[np.int64]:
        """The numbers of a list of entries, of which some may have none, but not all."""
        found = np.array(keys, np.int64)
        missing = int(np.count_nonzero(found == _NO_KEY))
        if missing and missing == len(found):
            raise GromaError(
                f"{self.path} is no COCO-like file: no entry of `{name}` has a number "
                f"`{_KEYS[name]}`."
            )
        if missing:
            logger.warning(
                "%s: %d of %d entries of `%s` have no number `%s` and are left out.",
                *(self.path, missing, len(found), name, _KEYS[name]),
            )
        return found


class CsvGroups(Indexed):
    """Rows of a CSV file with a header, grouped by their first column."""

    purpose = "groups"
    names = ("groups", "rows")

    def __len__(self) -> int:
        """Number of different values in the first column."""
        return len(self.arrays["groups"])

    def __getitem__(self, index: int) -> list[dict[str, str]]:
        """The rows of one group, in their order in the file."""
        first, count = (int(value) for value in self.arrays["groups"][index])
        texts = read_spans(self.path, self.arrays["rows"][first : first + count].tolist())
        lines = [text.decode("utf-8", "replace") for text in texts]
        return list(csv.DictReader(lines, fieldnames=self.header))

    @cached_property
    def header(self) -> list[str]:
        """Names of the columns."""
        with self.path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            try:
                return next(csv.reader(file), [])
            except csv.Error as error:
                raise GromaError(f"The first line of {self.path} is no CSV: {error}.") from error

    def _build(self) -> Arrays:
        known: dict[bytes, int] = {}
        owners, rows = array("q"), _Table(2)
        with self.path.open("rb") as file:
            start = len(file.readline())
            for line in file:
                if not line.isspace():
                    key = line.partition(b",")[0]
                    owners.append(known.setdefault(key, len(known)))
                    rows.append(start, len(line))
                start += len(line)
        owner = np.array(owners)
        count = np.bincount(owner, minlength=len(known))
        groups = np.column_stack([np.cumsum(count) - count, count]).astype(np.uint64)
        return {"groups": groups, "rows": rows.table()[np.argsort(owner, kind="stable")]}


class JsonStream:
    """Values of a JSON file one after the other, of which only one is in memory.

    Bytes are read as Latin-1, so that a character is a byte and positions are exact; the structure
    of JSON is the same, only strings need decoding afterwards.

    Args:
        file: open for reading bytes, at its start.
        path: what messages call it.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._path = file, path
        self._text, self._at, self._offset = "", 0, file.tell()

    def tables(self) -> Iterator[tuple[str, Any, int, int]]:
        """Name and elements of every list in a top-level object; other values are passed over.

        Raises:
            GromaError: if the file is not JSON.
        """
        self._take("{")
        while self._peek() != "}":
            name = self._value()[0]
            self._take(":")
            if self._peek() == "[":
                for element in self.elements():
                    yield name, *element
            else:
                self._value()
            if self._peek() != "}":
                self._take(",")

    def elements(self) -> Iterator[Element]:
        """Elements of the list that comes next.

        Raises:
            GromaError: if the file is not JSON.
        """
        self._take("[")
        while self._peek() != "]":
            yield self._value()
            if self._peek() != "]":
                self._take(",")
        self._take("]")

    def _value(self) -> Element:
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
            if _rest_of_number(self._text, end) < len(self._text) or not self._fill():
                break
        start, length = self._offset + self._at, end - self._at
        self._at = end
        return value, start, length

    def _take(self, letter: str) -> None:
        if self._peek() != letter:
            raise self._damaged()
        self._at += 1

    def _peek(self) -> str:
        """The next character that is no space, "" at the end."""
        while True:
            match = _SPACE.match(self._text, self._at)
            assert match is not None
            self._at = match.end()
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


def cache_stem(sources: Sequence[Path], purpose: str, cache: Path | None) -> Path:
    """Path, without its ending, of what is derived from files; another once a file has changed.

    Args:
        sources: files or folders; of a folder its own change and that of its folders count.
        purpose: what is derived.
        cache: folder; None is `FOLDER_NAME` beside the first source, or the folder of the source
            if it is itself derived.

    Raises:
        GromaError: if a source does not exist.
    """
    digest = hashlib.sha256(f"{_VERSION}|{purpose}".encode())
    for source in sources:
        if not source.exists():
            raise GromaError(f"There is no file or folder {source}.")
        for path in (source, *_folders(source)):
            stat = path.stat()
            digest.update(f"|{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode())
    beside = sources[0].parent
    folder = cache or (beside if beside.name == FOLDER_NAME else beside / FOLDER_NAME)
    return folder / f"{sources[0].name}.{digest.hexdigest()[:16]}"


def _folders(source: Path) -> list[Path]:
    """Folders in a folder, without those of indexes."""
    inside = sorted(source.iterdir()) if source.is_dir() else ()
    return [path for path in inside if path.is_dir() and path.name != FOLDER_NAME]


def derive_lines(
    sources: Sequence[Path],
    purpose: str,
    cache: Path | None,
    make: Callable[[], Iterable[Mapping[str, Any]]],
) -> Path:
    """A file of JSON lines made once of files that cannot be read by index.

    Args:
        sources: what it is made of.
        purpose: names what is derived, its options included.
        cache: as in `cache_stem`.
        make: reads the sources.

    Raises:
        GromaError: if a source does not exist or the file cannot be written.
    """
    stem = cache_stem(sources, purpose, cache)
    target = stem.with_name(f"{stem.name}.jsonl")
    if not target.is_file():
        with replacing(target) as file:
            for item in make():
                file.write(json.dumps(item).encode() + b"\n")
    return target


@contextmanager
def replacing(target: Path) -> Generator[IO[bytes]]:
    """Write a file whole or not at all; several processes may do so at once.

    Raises:
        GromaError: if the folder cannot be written.
    """
    draft = target.with_name(f"{target.name}.{uuid4().hex}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = draft.open("xb")
    except OSError as error:
        raise GromaError(
            f"{target.parent} cannot be written: {error.strerror}; name another folder as `cache` "
            "in the configuration."
        ) from error
    try:
        with file:
            yield file
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def read_spans(path: Path, spans: Iterable[Sequence[int]]) -> list[bytes]:
    """Parts of a file, each given by its first byte and its length."""
    texts = []
    with path.open("rb", buffering=0) as file:
        for start, length in spans:
            file.seek(start)
            texts.append(file.read(length))
    return texts


def decode(text: bytes) -> Any:
    """The value of JSON text.

    Raises:
        BrokenItem: if it is not JSON in UTF-8.
    """
    try:
        return load_json(text)
    except ValueError as error:
        raise BrokenItem("not JSON") from error


def _key(value: Any, field: str) -> int:
    """A number of 64 bits for an identifier that an entry holds, or `_NO_KEY`.

    Text gets a number of its own, below zero.
    """
    number = to_identifier(value.get(field)) if isinstance(value, Mapping) else None
    if isinstance(number, str) and number:
        number = -int.from_bytes(hashlib.blake2b(number.encode(), digest_size=7).digest())
    return number if isinstance(number, int) and abs(number) < 1 << 63 else _NO_KEY


def _load(line: bytes) -> Any:
    """The value of a line, or None if it is broken, which reading it will find again."""
    try:
        return load_json(line)
    except ValueError:
        return None


def first_letter(file: IO[bytes], path: Path) -> bytes:
    """The first byte of a file that is no space; the file is at its start again, behind its mark.

    Raises:
        GromaError: if it is in another encoding than UTF-8.
    """
    encoding = json.detect_encoding(file.read(4))
    if not encoding.startswith("utf-8"):
        raise GromaError(f"{path} is in {encoding.upper()}; save it in UTF-8.")
    start = len(BOM_UTF8) if encoding == "utf-8-sig" else 0
    file.seek(start)
    while (letter := file.read(1)).isspace():
        pass
    file.seek(start)
    return letter


def _rest_of_number(text: str, at: int) -> int:
    """Where characters that a number may hold end."""
    match = _NUMBER.match(text, at)
    assert match is not None
    return match.end()


class _Table:
    """Rows of whole numbers, eight bytes each."""

    def __init__(self, width: int) -> None:
        self._columns = [array("Q") for _ in range(width)]

    def append(self, *row: int) -> None:
        for column, value in zip(self._columns, row, strict=True):
            column.append(value)

    def table(self) -> NDArray[np.uint64]:
        """(rows, width)."""
        return np.column_stack([np.array(column, np.uint64) for column in self._columns])
