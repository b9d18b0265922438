"""Checkpoints of a run: each lists its files, so that one that is not whole is passed over."""

import json
import logging
from pathlib import Path

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from groma.atomic_file import replacing

_LIST = "files.json"
_VERSION = 1
_logger = logging.getLogger(__name__)


def list_files(checkpoint: Path) -> None:
    """Write down what a checkpoint holds, once all of it is written."""
    listed = {"version": _VERSION, "files": _sizes(checkpoint)}
    with replacing(checkpoint / _LIST) as file:
        file.write(json.dumps(listed, indent=1).encode())


def all_checkpoints(folder: Path) -> list[Path]:
    """Those of a run, whole or not, the newest first."""
    found = [path for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*") if step_of(path) >= 0]
    return sorted(found, key=step_of, reverse=True)


def last_checkpoint(folder: Path) -> Path | None:
    """The newest one that is whole, or None; a warning tells of every one that is passed over."""
    found = all_checkpoints(folder)
    for checkpoint in found:
        if is_whole(checkpoint):
            return checkpoint
        _logger.warning("%s is not whole, or of another version; it is passed over.", checkpoint)
    if found:
        _logger.warning("No checkpoint in %s is whole: the training begins anew.", folder)
    return None


def is_whole(checkpoint: Path) -> bool:
    """Whether every file is there and as long as it was when the checkpoint was complete."""
    try:
        listed = json.loads((checkpoint / _LIST).read_bytes())
        is_known, files = listed["version"] == _VERSION, listed["files"].items()
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return is_known and files <= _sizes(checkpoint).items()


def step_of(checkpoint: Path) -> int:
    """The step after which it was written; -1 for what is no checkpoint."""
    number = checkpoint.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else -1


def _sizes(checkpoint: Path) -> dict[str, int]:
    files = (path for path in checkpoint.rglob("*") if path.is_file() and path.name != _LIST)
    return {path.relative_to(checkpoint).as_posix(): path.stat().st_size for path in files}
