"""What is made of annotation files once and kept beside them: indexes, joined lists, copies."""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from groma.atomic_file import replacing
from groma.types import GromaError

FOLDER_NAME = ".groma-index"  # where it goes if nobody says otherwise: beside the data
_VERSION = 3
_END = b" \n"  # last line of a file of lines that is whole: a blank one, which readers pass over

_logger = logging.getLogger(__name__)

keeping = partial(replacing, advice="name another folder as `cache` in the configuration")
"""Writes a derived file whole or not at all."""


def cache_stem(sources: Sequence[Path], purpose: str, cache: Path | None) -> Path:
    """Path, without its ending, of what is derived from files; another once a file has changed.

    Of a folder its own change and that of its folders count. No cache is `FOLDER_NAME` beside the
    first source, or its own folder if it is itself derived. Raises `GromaError` if a source does
    not exist.
    """
    digest = hashlib.sha256(f"{_VERSION}|{purpose}".encode())
    for source in sources:
        if not source.exists():
            raise GromaError(f"There is no file or folder {source}.")
        inside = sorted(source.iterdir()) if source.is_dir() else ()
        folders = [path for path in inside if path.is_dir() and path.name != FOLDER_NAME]
        for path in (source, *folders):
            stat = path.stat()
            digest.update(f"|{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode())
    beside = sources[0].parent
    folder = cache or (beside if beside.name == FOLDER_NAME else beside / FOLDER_NAME)
    return folder / f"{sources[0].name}.{digest.hexdigest()[:16]}"


def derive_lines(
    sources: Sequence[Path],
    purpose: str,
    cache: Path | None,
    make: Callable[[], Iterable[Mapping[str, Any]]],
) -> Path:
    """A file of JSON lines made once of files that cannot be read by index.

    `purpose` names what is derived, its options included. Raises `GromaError` if a source does not
    exist or the file cannot be written.
    """
    stem = cache_stem(sources, purpose, cache)
    target = stem.with_name(f"{stem.name}.jsonl")
    if not _is_whole(target):
        with keeping(target) as file:
            file.writelines(json.dumps(item).encode() + b"\n" for item in make())
            file.write(_END)
    return target


def _is_whole(target: Path) -> bool:
    if not target.is_file():
        return False
    with target.open("rb") as file:
        file.seek(max(0, target.stat().st_size - len(_END)))
        is_whole = file.read() == _END
    if not is_whole:
        say_made_anew(target)
    return is_whole


def say_made_anew(target: Path) -> None:
    """Tell of a file that is not whole."""
    _logger.warning("%s is not whole; it is made anew.", target)
