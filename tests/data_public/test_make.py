"""What is shipped as fixtures is what their maker makes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data_public import make

PICTURE, TABLE = ".jpg", ".parquet"


def content(path: Path) -> Any:
    """What a file says; another build of a library may write the same in other bytes."""
    if path.suffix == PICTURE:
        return Image.open(path).size
    if path.suffix == TABLE:
        return pytest.importorskip("pyarrow.parquet").read_table(path).to_pylist()
    return path.read_bytes()


def files(folder: Path) -> dict[str, Path]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): path
        for path in found
        if ".groma-index" not in path.parts
    }


def test_the_fixtures_are_what_their_maker_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    shipped = files(make.ROOT)
    monkeypatch.setattr(make, "ROOT", tmp_path / "public")
    make.main()
    made = files(tmp_path)
    assert {f"public/{name}" for name in shipped} == made.keys()
    for name, path in shipped.items():
        again = made[f"public/{name}"]
        assert content(path) == content(again), f"{name}: run python -m tests.data_public.make"
        if path.suffix == PICTURE:
            one, other = (np.asarray(Image.open(file), float) for file in (path, again))
            assert np.abs(one - other).mean() < 2, name
