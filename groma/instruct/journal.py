"""What became of every picture, line by line on disk, so that a run that was killed goes on."""

import json
import os
from pathlib import Path
from typing import Any

from groma.foreign import clean_json, load_json
from groma.types import GromaError

Entry = dict[str, Any]


class Journal:
    """A file whose first line says how a run was started; every other line is one entry.

    Args:
        path: of the file; made where there is none. A last line that was cut off is dropped.
        settings: its first line; JSON-ready.

    Attributes:
        entries: the last one for every value of `key`, in order.

    Raises:
        GromaError: if the file is damaged, or has entries that were made with other settings.
    """

    def __init__(self, path: Path, settings: Entry) -> None:
        self._path = path
        self.entries: dict[str, Entry] = {}
        settings = json.loads(json.dumps(settings))
        lines = read_lines(path)
        if len(lines) < 2:
            path.write_text(_to_line(settings), encoding="utf-8")
            return
        os.truncate(path, path.read_bytes().rfind(b"\n") + 1)
        for name in sorted(settings.keys() | lines[0].keys()):
            old, new = lines[0].get(name), settings.get(name)
            if old != new:
                raise GromaError(
                    f"{path.parent} was begun in another way: {name} was {old}, and now is {new}; "
                    "name another folder, or the same settings."
                )
        self.entries = {entry["key"]: entry for entry in lines[1:]}

    def append(self, entry: Entry) -> None:
        """Add an entry with a `key`; it is on disk when this returns."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(_to_line(entry))
            stream.flush()
            os.fsync(stream.fileno())
        self.entries[entry["key"]] = entry


def read_lines(path: Path) -> list[Entry]:
    """The whole lines of a journal; one that is still being written, or was cut off, is left out.

    Raises:
        GromaError: if a line is no JSON object, or has no `key`.
    """
    data = path.read_bytes() if path.exists() else b""
    lines = []
    for number, line in enumerate(data[: data.rfind(b"\n") + 1].split(b"\n")[:-1], start=1):
        try:
            entry = load_json(line)
        except ValueError:
            entry = None
        if not isinstance(entry, dict) or (number > 1 and not isinstance(entry.get("key"), str)):
            raise GromaError(f"Line {number} of {path} is damaged.")
        lines.append(entry)
    return lines


def _to_line(entry: Entry) -> str:
    return clean_json(json.dumps(entry, ensure_ascii=False, separators=(",", ":"))) + "\n"
