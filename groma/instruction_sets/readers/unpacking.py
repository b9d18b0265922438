"""Zip files of strangers: pictures and annotations are unpacked, below one folder, and not much."""

import lzma
import re
import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from groma.image import PICTURE_ENDINGS
from groma.types import GromaError

DATA_ENDINGS = frozenset((".json", ".jsonl", ".xml", ".txt", ".yaml", ".yml", ".names", ".labels"))

_DIRECTORY_ENTRY = 512
"""Bytes that the zip's directory may use per file, 46 of them at least."""
_END_RECORD = 22
_CHUNK = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_OTHER_METHODS = {6: "Implode", 9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, NotImplementedError, ValueError),
)


@dataclass(frozen=True)
class Limits:
    """What a zip may hold."""

    files: int = 20_000  # most entries
    size: int = 8 << 30  # most bytes after unpacking
    ratio: int = 200  # a file may grow so many times when unpacked, beyond its first megabyte


def _is_picture_or_data(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry of a zip belongs to an instruction set."""
    name = PurePosixPath(entry.filename)
    is_hidden = any(part.startswith((".", "__MACOSX")) for part in name.parts)
    is_known = name.suffix.lower() in PICTURE_ENDINGS | DATA_ENDINGS
    return is_known and not is_hidden and not entry.is_dir()


def unpack(
    archive: Path,
    folder: Path,
    limits: Limits | None = None,
    is_wanted: Callable[[zipfile.ZipInfo], bool] = _is_picture_or_data,
) -> None:
    """Unpack the pictures and annotations of a zip, or what else is wanted, into a folder.

    The folder must exist, and nothing is written elsewhere; all is checked before anything is.
    Raises `GromaError` if it is no zip, damaged or encrypted, or has names that lead elsewhere,
    links, too many files or too much in them.
    """
    limits = limits or Limits()
    with _explained(archive):
        _check_directory(archive, limits)
        with zipfile.ZipFile(archive) as opened:
            entries = opened.infolist()
            _check_amount(entries, limits)
            for entry in entries:
                _check_entry(entry, limits)
            wanted = [entry for entry in entries if is_wanted(entry)]
            for entry in wanted:
                _check_method(entry)
            _check_names(wanted)
            for entry in wanted:
                _extract(opened, entry, folder)


def _check_directory(archive: Path, limits: Limits) -> None:
    """Refuse a directory that would fill the memory, before it is read."""
    with archive.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - _END_RECORD - 0xFFFF))
        tail = file.read()
    at = tail.rfind(b"PK\5\6")
    end = tail[at : at + _END_RECORD]
    if at >= 0 and len(end) == _END_RECORD:
        entries = int.from_bytes(end[10:12], "little")
        size = int.from_bytes(end[12:16], "little")
        if entries > limits.files or size > limits.files * _DIRECTORY_ENTRY:
            raise GromaError(_too_many(limits))


def _check_amount(entries: list[zipfile.ZipInfo], limits: Limits) -> None:
    if len(entries) > limits.files:
        raise GromaError(_too_many(limits))
    if sum(entry.file_size for entry in entries) > limits.size:
        raise GromaError(f"it unpacks to more than {limits.size / 1e9:.1f} GB.")


def _check_entry(entry: zipfile.ZipInfo, limits: Limits) -> None:
    name = entry.filename
    parts = name.replace("\\", "/").split("/")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if ".." in parts:
        raise GromaError(f"{name!r} leads out of the folder.")
    if name.startswith(("/", "\\")) or re.match("[A-Za-z]:", name):
        raise GromaError(f"{name!r} is an absolute name.")
    if any(map(_is_control, name)) or "\0" in entry.orig_filename:
        raise GromaError(f"{name!r} is no name of a file.")
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise GromaError(f"{name!r} is a link or a device, not a file.")
    if entry.flag_bits & 1:
        raise GromaError("it is encrypted; please unpack it with its password first.")
    if entry.file_size > (1 << 20) + limits.ratio * entry.compress_size:
        raise GromaError(f"{name!r} grows more than {limits.ratio}-fold when it is unpacked.")


def _is_control(letter: str) -> bool:
    """Whether it is no letter, sign or space: a line's end, NUL, half a character."""
    return unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp")


def _check_method(entry: zipfile.ZipInfo) -> None:
    if entry.compress_type not in _METHODS:
        method = _OTHER_METHODS.get(entry.compress_type, str(entry.compress_type))
        raise GromaError(
            f"{entry.filename!r} is compressed by the method {method}, which cannot be read here; "
            'zip it again with the method "Deflate", or uncompressed ("Store").'
        )


def _check_names(entries: list[zipfile.ZipInfo]) -> None:
    names = set()
    for entry in entries:
        name = _target(entry)
        if name in names:
            raise GromaError(f"it holds {entry.filename!r} twice.")
        names.add(name)


def _target(entry: zipfile.ZipInfo) -> PurePosixPath:
    return PurePosixPath(entry.filename.replace("\\", "/"))


def _extract(opened: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / _target(entry)
    target.parent.mkdir(parents=True, exist_ok=True)
    # An entry whose size is a lie ends in a wrong checksum: no more than it says is ever read.
    with opened.open(entry) as source, target.open("xb") as file:
        shutil.copyfileobj(source, file, _CHUNK)


@contextmanager
def _explained(archive: Path) -> Generator[None]:
    """Say in one sentence what was wrong with a zip."""
    try:
        yield
    except GromaError as error:
        raise GromaError(f"{archive.name} is refused: {error}") from error
    except _DAMAGED as error:
        raise GromaError(f"{archive.name} is no zip file, or it is damaged.") from error
    except OSError as error:
        raise GromaError(
            f"{archive.name} cannot be unpacked: {error.strerror or error}."
        ) from error
    except RuntimeError as error:
        raise GromaError(f"{archive.name} cannot be unpacked: {error}.") from error


def _too_many(limits: Limits) -> str:
    return f"it holds more than {limits.files:,} files."
