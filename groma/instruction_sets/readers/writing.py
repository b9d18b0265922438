"""Instruction sets to files, always as Groma-Instruct JSON."""

import json
import zipfile
from pathlib import Path, PurePosixPath

from groma.instruction_sets.readers.set_items import InstructionSet
from groma.types import GromaError

NAME = "groma_instruct.json"
"""Of the annotations in a zip."""


def write_set(instructions: InstructionSet, path: Path) -> None:
    """Write a set to a new file, which `read_set` reads: `.json`, or `.zip` with the pictures.

    Raises `GromaError` if there is no item, or the file exists or has another ending.
    """
    if not instructions.items:
        raise GromaError("Nothing is left of this set that could be written.")
    if path.exists():
        raise GromaError(f"{path} exists already; name a new file.")
    if path.suffix.lower() == ".json":
        path.write_text(to_json(instructions), encoding="utf-8")
    elif path.suffix.lower() == ".zip":
        _write_zip(instructions, path)
    else:
        raise GromaError(f"{path} must end in .json or .zip.")


def to_json(instructions: InstructionSet) -> str:
    """Annotations alone."""
    items = [item.to_dict(instructions.picture(item).size) for item in instructions.items]
    return json.dumps(items, indent=1, ensure_ascii=False)


def _write_zip(instructions: InstructionSet, path: Path) -> None:
    """Pictures have their names in the set, from which they are found again."""
    found = {item.picture: instructions.picture(item).path for item in instructions.items}
    sources = {_member(name): source for name, source in found.items() if source is not None}
    with zipfile.ZipFile(path, "x") as file:
        file.writestr(NAME, to_json(instructions), zipfile.ZIP_DEFLATED)
        for name, source in sources.items():
            file.write(source, name)


def _member(name: str) -> str:
    """A name below a folder: without root or drive. None that leads out of it was ever found."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return "/".join(part for part in parts if part != "/" and ":" not in part)
