import shutil
from pathlib import Path

import pytest

from groma.data.mixture import Mixture, read_mixture
from tests.groma.data.make import ROOT


@pytest.fixture(scope="session")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the fixtures, so that indexes are written elsewhere."""
    folder = tmp_path_factory.mktemp("public") / "data"
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".groma-index"))
    return folder


@pytest.fixture(scope="session")
def detection(public: Path) -> Mixture:
    return read_mixture(public / "detection.toml")


@pytest.fixture(scope="session")
def conversations(public: Path) -> Mixture:
    return read_mixture(public / "conversations.toml")
