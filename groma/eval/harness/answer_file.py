"""Answers on disk as JSON lines, so that scoring needs no model and a killed run goes on."""

import json
from pathlib import Path
from typing import Any, Self

from groma.foreign import clean_json, load_json
from groma.types import GromaError

Fields = dict[str, Any]
_START = b'{"run":'


class AnswerFile:
    """A file whose first line says how its answers were made; every other line is one case.

    Args:
        path: of the file.
        header: its first line.
        cases: its other lines.

    Attributes:
        header: as given.
        cases: as given, and what was appended since.
    """

    def __init__(self, path: Path, header: Fields, cases: list[Fields]) -> None:
        self._path = path
        self.header = header
        self.cases = cases

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a file; a last line that was cut off by the end of its run is left out.

        Raises:
            GromaError: if it holds no answers, or a line within is broken.
        """
        lines, _ = _split(path, path.read_bytes())
        if not lines or "run" not in lines[0]:
            raise _no_answers(path)
        return cls(path, lines[0]["run"], lines[1:])

    @classmethod
    def resume(cls, path: Path, header: Fields) -> Self:
        """Open a file to append to; it is begun anew where it holds no case.

        Raises:
            GromaError: if it holds answers that were made in another way, or something else.
        """
        data = path.read_bytes() if path.exists() else b""
        if data and not data.startswith(_START):
            raise _no_answers(path)
        lines, num_bytes = _split(path, data)
        if len(lines) < 2:
            path.write_text(_to_line({"run": header}), encoding="utf-8")
            return cls(path, header, [])
        file = cls.read(path)
        for name in sorted(header.keys() | file.header.keys()):
            old, new = file.header.get(name), header.get(name)
            if old != new:
                raise GromaError(
                    f"{path} holds answers of another run: {name} was {old}, and now is {new}; "
                    "save these answers elsewhere."
                )
        with path.open("rb+") as stream:
            stream.truncate(num_bytes)
        return file

    def append(self, case: Fields) -> None:
        """Add one case; it is on disk when this returns."""
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(_to_line(case))
        self.cases.append(case)


def _to_line(fields: Fields) -> str:
    return clean_json(json.dumps(fields, ensure_ascii=False, separators=(",", ":"))) + "\n"


def _no_answers(path: Path) -> GromaError:
    return GromaError(f"{path} holds no answers that `groma eval` saved.")


def _split(path: Path, data: bytes) -> tuple[list[Fields], int]:
    """The lines of a file's data that are whole, and the bytes they take."""
    whole, _, _ = data.rpartition(b"\n")
    lines: list[Fields] = []
    for number, line in enumerate(whole.split(b"\n") if whole else (), start=1):
        try:
            fields = load_json(line)
        except ValueError as error:
            raise GromaError(f"Line {number} of {path} is damaged: it is not JSON.") from error
        if not isinstance(fields, dict):
            raise GromaError(f"Line {number} of {path} is damaged: it is no JSON object.")
        lines.append(fields)
    return lines, len(whole) + 1 if whole else 0
