"""What is shipped as fixtures is what their maker makes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from groma.data.records.derived_files import FOLDER_NAME
from tests.groma.data import make

PICTURE, TABLE = ".jpg", ".parquet"


def content(path: Path) -> Any:
    """What a file says; another build of a library may write the same in other bytes."""
    if path.suffix == PICTURE:
        return Image.open(path).size
    if path.suffix == TABLE:
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    return path.read_bytes()


def names(folder: Path) -> set[str]:
    """Of all files in a folder and below, but for indexes."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if FOLDER_NAME not in path.parts}


def assert_same_files(shipped: Path, made: Path, beside: set[str] | None = None) -> None:
    """Two folders hold the same; `beside` names what is shipped, but not made."""
    assert names(shipped) == names(made) | (beside or set())
    for name in names(made):
        assert content(shipped / name) == content(made / name), name
        if name.endswith(PICTURE):
            one, other = (np.asarray(Image.open(f / name), float) for f in (shipped, made))
            assert np.abs(one - other).mean() < 2, name


def test_the_fixtures_are_what_their_maker_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    shipped, made = make.ROOT, tmp_path / "public"
    monkeypatch.setattr(make, "ROOT", made)
    make.main()
    assert_same_files(shipped, made)
