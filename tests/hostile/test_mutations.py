"""Whatever becomes of a file, every reader ends in a result, or says in a sentence why not.

`HOSTILE` in the environment is how many files are made, and `HOSTILE_SEED` makes others; `make
hostile` makes 100,000. What fails is shrunk, and added to the file that `HOSTILE_FAILURES` names.
"""

import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest
from hypothesis import HealthCheck, given, seed, settings

from groma.data.sources import refer
from groma.types import GromaError
from tests.hostile.inputs import INPUTS, Read
from tests.hostile.mutations import BYTES, NAMES, VALUES, Step, mutate, rename, steps

MOST_SECONDS, MOST_MB = 5, 300
"""What one file may take: time of the processor, and memory beyond what was ever taken before."""
NUMBER = int(os.environ.get("HOSTILE", "1000")) // len(INPUTS)
SEED = int(os.environ.get("HOSTILE_SEED", "0"))
ALTERING = {"retype", "nest", "rename", "spell"}
"""Changes after which something must be said of whatever is no longer used."""


@pytest.mark.parametrize("name", INPUTS)
def test_readers_end_in_a_result_or_a_sentence(name: str, tmp_path: Path) -> None:
    source = INPUTS[name]
    is_json = source.name.endswith(".json")
    kinds = (*BYTES, *(VALUES if is_json else ()), *(NAMES if name.startswith("set-") else ()))

    def read_one(changes: list[Step]) -> Read | None:
        folder = Path(mkdtemp(dir=tmp_path))
        path = folder / rename(source.name, changes)
        path.write_bytes(mutate(source.data, changes))
        (folder / "beside").mkdir()
        try:
            return source.read(path, folder / "beside")
        except GromaError as error:
            sentence = str(error)
            assert sentence.strip(), changes
            assert "\n" not in sentence
            sentence.encode()
            return None
        finally:
            shutil.rmtree(folder)

    # What is imported and remembered by the first one is no cost of a changed one.
    whole = read_one([])

    @seed(SEED)
    @given(steps(kinds))
    @settings(
        max_examples=NUMBER,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    def try_one(changes: list[Step]) -> None:
        began, had = time.process_time(), _peak()
        read = read_one(changes)
        assert time.process_time() - began < MOST_SECONDS
        assert _peak() - had < MOST_MB
        if read and whole and read.used < whole.used and {c.kind for c in changes} <= ALTERING:
            assert read.said - whole.said, (read, whole)

    with _noted(name):
        try_one()


@contextmanager
def _noted(name: str) -> Iterator[None]:
    """Write down which files failed."""
    try:
        yield
    except BaseException as error:
        if file := os.environ.get("HOSTILE_FAILURES"):
            with Path(file).open("a", encoding="utf-8") as failures:
                notes = "\n".join(getattr(error, "__notes__", ()))
                failures.write(f"{name}, seed {SEED}: {error!r}\n{notes}\n\n")
        raise


def _peak() -> float:
    """The most memory that this process ever had, in MB."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def test_a_pickle_is_given_no_room_that_it_does_not_fill(tmp_path: Path) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(b"\x80\x02]r\xff\xff\xff\x7f.")
    with pytest.raises(GromaError, match="place 2,147,483,647"):
        refer.read_refs(path)
