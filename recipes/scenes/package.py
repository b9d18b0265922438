"""The checkpoint that is shipped: in 16 bit, in small files."""

from pathlib import Path

from groma.checkpoint.convert import convert
from groma.types import GromaError

LARGEST_FILE = 10_000_000
LARGEST_FOLDER = 100_000_000
"""Bytes."""
_SHARD = "9900KB"


def package(source: Path, target: Path) -> int:
    """Write a trained model the way it is shipped; `groma.checkpoint.load.load` reads it.

    Args:
        source: in 32 or 16 bit.
        target: a folder that does not exist or is empty.

    Returns:
        Bytes of the whole folder.

    Raises:
        GromaError: as `convert`, or if a file or the folder is too large to be shipped.
    """
    convert(source, target, dtype="float16", max_shard_size=_SHARD)
    sizes = {file.name: file.stat().st_size for file in target.iterdir()}
    large = [name for name, size in sizes.items() if size >= LARGEST_FILE]
    total = sum(sizes.values())
    if large or total >= LARGEST_FOLDER:
        raise GromaError(
            f"{target} is too large to be shipped: {total / 1e6:.1f} MB in all, "
            f"{', '.join(large) or 'no file'} over {LARGEST_FILE / 1e6:.0f} MB."
        )
    return total
