"""The folder of everything that is gone with the process: uploads, exports, unpacked sets."""

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from groma.types import GromaError

_PREFIX = "groma-app-"
_LOCK_NAME = "lock"
_VARIABLE = "GRADIO_TEMP_DIR"


@contextmanager
def work_folder() -> Generator[Path]:
    """Have temporary files, Gradio's too, in one new folder, and remove it at the end.

    What processes left that were killed is removed as well: each holds the lock of its own folder.

    Raises:
        GromaError: if there can be no such folder.
    """
    given = os.environ.get(_VARIABLE)
    parent, before = Path(given or tempfile.gettempdir()), tempfile.tempdir
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_left_overs(parent)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    except OSError as error:
        raise GromaError(
            f"Nothing can be kept in {parent} ({error.strerror}); name another folder in TMPDIR."
        ) from error
    try:
        with FileLock(folder / _LOCK_NAME):
            # Apart from the rest, for everything in it is shown to who knows its name.
            os.environ[_VARIABLE] = str(folder / "shown")
            tempfile.tempdir = str(folder)
            yield folder
    finally:
        tempfile.tempdir = before
        os.environ.pop(_VARIABLE)
        if given:
            os.environ[_VARIABLE] = given
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_overs(parent: Path) -> None:
    """Remove the folders of processes that are gone."""
    for lock in parent.glob(f"{_PREFIX}*/{_LOCK_NAME}"):
        with suppress(Timeout, OSError), FileLock(lock, timeout=0):
            shutil.rmtree(lock.parent, ignore_errors=True)
