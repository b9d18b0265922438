"""Answers of an endpoint on disk under the hash of their requests, safe against any crash."""

import json
import os
import threading
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class ReplyStore:
    """A folder of answers; may be used from several threads and processes.

    Args:
        folder: made where there is none.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._guard = threading.Lock()

    @contextmanager
    def alone(self, key: str) -> Generator[None]:
        """Keep other threads from the same request meanwhile."""
        with self._guard:
            lock = self._locks[key]
        with lock:
            yield

    def read(self, key: str) -> dict[str, Any] | None:
        """An answer, or None where there is none that can be read."""
        try:
            return json.loads(self._path(key, "json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def begin(self, key: str) -> bool:
        """Note that a request is about to be sent; the note outlives a run that is killed.

        Returns:
            Whether there was no such note.
        """
        note = self._path(key, "sent")
        note.parent.mkdir(exist_ok=True)
        try:
            note.open("x").close()
        except FileExistsError:
            return False
        return True

    def abandon(self, key: str) -> None:
        """Take the note back: the request brought no answer, and may be sent again."""
        self._path(key, "sent").unlink(missing_ok=True)

    def write(self, key: str, reply: dict[str, Any]) -> None:
        """Keep an answer; when this returns no crash can lose it."""
        path = self._path(key, "json")
        partial = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}")
        with partial.open("w", encoding="utf-8") as stream:
            json.dump(reply, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
        self.abandon(key)

    def _path(self, key: str, suffix: str) -> Path:
        return self._folder / key[:2] / f"{key}.{suffix}"
