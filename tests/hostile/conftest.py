"""Inputs that people brought, or could have brought, to programs like this one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

CASES = Path("tests/data/cases")


@pytest.fixture
def case(tmp_path: Path) -> Callable[[str], Path]:
    """Copies a case by its name, with the pictures that it speaks of."""

    def copy(name: str) -> Path:
        folder = shutil.copytree(CASES / name, tmp_path / name)
        for picture in ("a.png", "b.png"):
            shutil.copy(CASES / "picture.png", folder / picture)
        return folder

    return copy
