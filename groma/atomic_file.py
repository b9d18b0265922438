"""Files that are written whole or not at all."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from groma.foreign import clean_json
from groma.types import GromaError


@contextmanager
def replacing(target: Path, advice: str = "") -> Generator[IO[bytes]]:
    """Write a file whole or not at all; several processes may do so at once.

    Its folder is made where there is none. Yields a file to write, which takes the place of the
    target once it is complete; raises `GromaError`, with advice, if the folder cannot be written.
    """
    draft = target.with_name(f"{target.name}.{uuid4().hex}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        file = draft.open("xb")
    except OSError as error:
        reason = "; ".join(filter(None, (error.strerror, advice)))
        raise GromaError(f"{target.parent} cannot be written: {reason}.") from error
    try:
        with file:
            yield file
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


def write_json(target: Path, data: Any) -> None:
    """Write JSON whole or not at all; raises as `replacing`."""
    text = clean_json(json.dumps(data, indent=1, ensure_ascii=False))
    with replacing(target) as file:
        file.write(f"{text}\n".encode())
