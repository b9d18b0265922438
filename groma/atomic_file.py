"""Files that are written whole or not at all."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from uuid import uuid4

from groma.types import GromaError


@contextmanager
def replacing(target: Path, advice: str = "") -> Generator[IO[bytes]]:
    """Write a file whole or not at all; several processes may do so at once.

    Args:
        target: the file; its folder is made where there is none.
        advice: what to do if it cannot be written.

    Yields:
        A file to write, which takes the place of the target once it is complete.

    Raises:
        GromaError: if the folder cannot be written.
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
