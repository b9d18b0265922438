from pathlib import Path

import pytest
import torch
from torch import Tensor

from groma.model.groma import GromaForConditionalGeneration
from tests.groma.model import released


@pytest.fixture(scope="session")
def record() -> dict:
    return released.fixture()[0]


@pytest.fixture(scope="session")
def recorded() -> dict[str, Tensor]:
    return released.fixture()[1]


@pytest.fixture(scope="session")
def released_folder(tmp_path_factory: pytest.TempPathFactory, record: dict) -> Path:
    folder = tmp_path_factory.mktemp("released")
    return released.write_released(folder, record, shards=0, tied="decoder")


@pytest.fixture(scope="session")
def pixels(record: dict) -> Tensor:
    return torch.from_numpy(released.recipe().pixels((1, 3, 448, 448), record["seed"]))


@pytest.fixture
def groma_a(released_folder: Path) -> GromaForConditionalGeneration:
    return GromaForConditionalGeneration.from_pretrained(released_folder).eval()
