"""Annotation files too large for memory, read by index.

The first use writes where every item begins into numpy files beside the data, and from then on an
item costs one seek. What is kept holds paths alone, so that it can be sent to loader processes.
"""

import csv
import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groma.data.records.derived_files import cache_stem, keeping, say_made_anew
from groma.data.records.json_stream import decode, first_letter, stream_elements
from groma.data.sources.items import BrokenItem, refused, words
from groma.foreign import load_json, to_identifier
from groma.types import GromaError

_Table = NDArray[np.int64]
_NO_KEY = -(1 << 63)  # stands for a number that an entry should have, and has not
_KEYS = {"images": "id", "annotations": "image_id", "categories": "id"}
"""Lists of a COCO-like file, and which number of an entry joins images and annotations."""

_logger = logging.getLogger(__name__)


class _IndexedFile(ABC):
    """A file with tables of numbers that say where its items are; `cache` as in `cache_stem`."""

    purpose: str  # what the tables are called; another purpose is another index of the same file
    names: tuple[str, ...]

    def __init__(self, path: Path, cache: Path | None = None) -> None:
        self.path = path
        self.cache = cache

    @cached_property
    def tables(self) -> dict[str, _Table]:
        """The index, memory-mapped; made on first use.

        Raises `GromaError` if the file is not what it should be, or the index cannot be written.
        """
        stem = cache_stem([self.path], self.purpose, self.cache)
        files = {name: stem.with_name(f"{stem.name}.{name}.npy") for name in self.names}
        tables = {name: _load_table(file) for name, file in files.items()}
        if any(table is None for table in tables.values()):
            for name, values in self._build().items():
                with keeping(files[name]) as file:
                    np.save(file, values)
                tables[name] = _load_table(files[name])
        return {name: table for name, table in tables.items() if table is not None}

    def __getstate__(self) -> dict[str, Any]:
        """Without the tables, which every process maps for itself."""
        return {name: value for name, value in vars(self).items() if name != "tables"}

    @abstractmethod
    def _build(self) -> dict[str, _Table]: ...

    def _read(self, spans: Iterable[Sequence[int]]) -> list[bytes]:
        """Parts of the file, each given by its first byte and its length."""
        texts = []
        with self.path.open("rb", buffering=0) as file:
            for start, length in spans:
                file.seek(start)
                texts.append(file.read(length))
        return texts


class JsonItems(_IndexedFile):
    """The items of a JSON list, or of JSON lines.

    `parts` is the name of a list in every item, if each of its elements is a sample.
    """

    names = ("items",)

    def __init__(self, path: Path, cache: Path | None = None, parts: str | None = None) -> None:
        super().__init__(path, cache)
        self.parts = parts
        self.purpose = f"items-{parts}"

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.tables["items"])

    def __getitem__(self, index: int) -> Any:
        """One item, of whose parts only the one that is meant is left; raises `BrokenItem`."""
        start, length, part = self.tables["items"][index].tolist()
        item = decode(*self._read([(start, length)]))
        if parts := self._parts(item):
            return item | {self.parts: parts[part : part + 1]}
        return item

    def _parts(self, item: Any) -> list[Any]:
        parts = item.get(self.parts) if isinstance(item, dict) else None
        return parts if isinstance(parts, list) else []

    def _build(self) -> dict[str, _Table]:
        return {"items": _to_table(self._rows(), 3)}

    def _rows(self) -> Iterator[tuple[int, int, int]]:
        """First byte, length and part of every sample.

        An item whose list is missing or empty is one, which parsing will refuse.
        """
        letter, begin = first_letter(self.path)
        found = self._lines(begin)
        if letter == b"[":
            found = ((e.value, e.start, len(e.text)) for e in stream_elements(self.path))
        for item, start, length in found:
            for part in range(len(self._parts(item)) or 1):
                yield start, length, part

    def _lines(self, start: int) -> Iterator[tuple[Any, int, int]]:
        """Lines that are not blank, decoded only where their parts are to be counted."""
        with self.path.open("rb") as file:
            file.seek(start)
            for line in file:
                if not line.isspace():
                    item = None
                    # One that is broken is found again when it is read.
                    with suppress(ValueError):
                        item = None if self.parts is None else load_json(line)
                    yield item, start, len(line)
                start += len(line)


class JsonTables(_IndexedFile):
    """A COCO-like file: `images`, each with its `annotations`, and `categories`.

    An image without id is a broken item. Annotations without the number of an image in the file
    belong to none; how many there are is logged when the index is made.
    """

    purpose = "tables"
    names = tuple(_KEYS)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.tables["images"])

    def __getitem__(self, index: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """An image and its annotations, in their order in the file.

        Raises `BrokenItem` if one of them is not JSON, or the image has no id.
        """
        start, length, first, count = self.tables["images"][index].tolist()
        members = self.tables["annotations"][first : first + count].tolist()
        image, *annotations = map(decode, self._read([(start, length), *members]))
        if _key(image, "id") == _NO_KEY:
            raise BrokenItem("a picture without id")
        return image, annotations

    @cached_property
    def categories(self) -> dict[int | str, str]:
        """Names of the classes by id; those that lack one of both are left out."""
        names: dict[int | str, str] = {}
        for text in self._read(self.tables["categories"].tolist()):
            with suppress(BrokenItem), refused():
                category = decode(text)
                if (number := to_identifier(category["id"])) is not None:
                    names[number] = words(category["name"])
        return names

    def _build(self) -> dict[str, _Table]:
        rows = _to_table(self._rows(), 4)
        images, annotations, categories = (
            rows[rows[:, 0] == number, 1:] for number in range(len(self.names))
        )
        if not len(images):
            raise GromaError(f"{self.path} has no list `images`: it is no COCO-like file.")
        self._check_keys("images", images)
        self._check_keys("annotations", annotations)
        annotations = annotations[np.argsort(annotations[:, 0], kind="stable")]
        owners, keys = annotations[:, 0], images[:, 0]
        first = np.searchsorted(owners, keys)
        count = np.searchsorted(owners, keys, side="right") - first
        count[keys == _NO_KEY] = 0
        orphans = int(np.count_nonzero(~np.isin(owners, keys) & (owners != _NO_KEY)))
        if orphans:
            self._warn(orphans, "annotations", "are of no image in it", len(owners))
        return {
            "images": np.column_stack([images[:, 1:], first, count]),
            "annotations": annotations[:, 1:],
            "categories": categories[:, 1:],
        }

    def _rows(self) -> Iterator[tuple[int, int, int, int]]:
        """List, number, first byte and length of every entry."""
        for name, value, start, text in stream_elements(self.path):
            if name in _KEYS:
                yield self.names.index(name), _key(value, _KEYS[name]), start, len(text)

    def _check_keys(self, name: str, rows: _Table) -> None:
        """Of the entries of a list some may have no number, but not all."""
        missing = int(np.count_nonzero(rows[:, 0] == _NO_KEY))
        if missing and missing == len(rows):
            raise GromaError(
                f"{self.path} is no COCO-like file: no entry of `{name}` has a number "
                f"`{_KEYS[name]}`."
            )
        if missing:
            self._warn(missing, name, f"have no number `{_KEYS[name]}`", len(rows))

    def _warn(self, count: int, name: str, what: str, total: int) -> None:
        _logger.warning(
            "%s: %d of %d entries of `%s` %s and are left out.",
            *(self.path, count, total, name, what),
        )


class CsvGroups(_IndexedFile):
    """Rows of a CSV file with a header, grouped by their first column."""

    purpose = "groups"
    names = ("groups", "rows")

    def __len__(self) -> int:
        """Number of different values in the first column."""
        return len(self.tables["groups"])

    def __getitem__(self, index: int) -> list[dict[str, str]]:
        """The rows of one group, in their order in the file."""
        first, count = self.tables["groups"][index].tolist()
        texts = self._read(self.tables["rows"][first : first + count].tolist())
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

    def _build(self) -> dict[str, _Table]:
        rows = _to_table(self._rows(), 3)
        count = np.bincount(rows[:, 0])
        return {
            "groups": np.column_stack([np.cumsum(count) - count, count]),
            "rows": rows[np.argsort(rows[:, 0], kind="stable"), 1:],
        }

    def _rows(self) -> Iterator[tuple[int, int, int]]:
        """Group, first byte and length of every line but the first."""
        known: dict[bytes, int] = {}
        with self.path.open("rb") as file:
            start = len(file.readline())
            for line in file:
                if not line.isspace():
                    yield known.setdefault(line.partition(b",")[0], len(known)), start, len(line)
                start += len(line)


def _load_table(file: Path) -> _Table | None:
    """A table of an index, memory-mapped; None where there is none, or not all of it."""
    try:
        return np.load(file, mmap_mode="r")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError):
        say_made_anew(file)
        return None


def _to_table(rows: Iterable[tuple[int, ...]], width: int) -> _Table:
    """(rows, width) without a list of them in between."""
    row: Any = np.dtype((np.int64, width))
    return np.fromiter(rows, row)


def _key(value: Any, field: str) -> int:
    """A number for an identifier that an entry holds, below zero for text, or `_NO_KEY`."""
    number = to_identifier(value.get(field)) if isinstance(value, Mapping) else None
    if isinstance(number, str) and number:
        number = -int.from_bytes(hashlib.blake2b(number.encode(), digest_size=7).digest())
    return number if isinstance(number, int) and abs(number) < 1 << 63 else _NO_KEY
