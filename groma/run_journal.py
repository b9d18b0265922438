"""What a run has done, line by line on disk, so that a run that was killed goes on."""

import json
import os
from pathlib import Path
from typing import Any, Self

from groma.foreign import clean_json, load_json
from groma.types import GromaError

Fields = dict[str, Any]  # A JSON object
_START = b'{"run":'


class RunJournal:
    """A file of JSON lines: `settings`, how the run was started, and then the `entries`."""

    def __init__(self, path: Path, settings: Fields, entries: list[Fields]) -> None:
        self._path = path
        self.settings = settings
        self.entries = entries

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; a last line that was cut off by the end of its run is left out.

        Raises `GromaError` if it holds no run, or a line within is broken.
        """
        lines, _ = _split(path, path.read_bytes())
        if not lines or not isinstance(lines[0].get("run"), dict):
            raise _not_a_run(path)
        return cls(path, lines[0]["run"], lines[1:])

    @classmethod
    def resume(cls, path: Path, settings: Fields) -> Self:
        """Open a file to append to; it is begun anew where it holds no entry.

        Raises `GromaError` if it holds entries that were made in another way, or something else.
        """
        settings = json.loads(json.dumps(settings))
        data = path.read_bytes() if path.exists() else b""
        if not (data.startswith(_START) or _START.startswith(data)):
            raise _not_a_run(path)
        lines, num_bytes = _split(path, data)
        if len(lines) < 2:
            path.write_text(_to_line({"run": settings}), encoding="utf-8")
            return cls(path, settings, [])
        journal = cls.read(path)
        for name in sorted(settings.keys() | journal.settings.keys()):
            old, new = journal.settings.get(name), settings.get(name)
            if old != new:
                raise GromaError(
                    f"{path} is of another run: {name} was {old}, and now is {new}; save this one "
                    "elsewhere."
                )
        os.truncate(path, num_bytes)
        return journal

    def append(self, entry: Fields) -> None:
        """Add an entry; no crash can lose it when this returns."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(_to_line(entry))
            stream.flush()
            os.fsync(stream.fileno())
        self.entries.append(entry)


def _to_line(fields: Fields) -> str:
    return clean_json(json.dumps(fields, ensure_ascii=False, separators=(",", ":"))) + "\n"


def _not_a_run(path: Path) -> GromaError:
    return GromaError(f"{path} holds nothing that a run of groma saved.")


def _split(path: Path, data: bytes) -> tuple[list[Fields], int]:
    """The lines of a file's data that are whole, and the bytes they take."""
    num_bytes = data.rfind(b"\n") + 1
    lines: list[Fields] = []
    for number, line in enumerate(data[:num_bytes].split(b"\n")[:-1], start=1):
        try:
            fields = load_json(line)
        except ValueError as error:
            raise GromaError(f"Line {number} of {path} is damaged: it is not JSON.") from error
        if not isinstance(fields, dict):
            raise GromaError(f"Line {number} of {path} is damaged: it is no JSON object.")
        lines.append(fields)
    return lines, num_bytes
