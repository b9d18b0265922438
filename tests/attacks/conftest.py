"""Running applications to attack, with scripted answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.scripted import ScriptedGroma, picture
from tests.attacks.caller import Caller


@pytest.fixture(scope="session")
def groma() -> ScriptedGroma:
    return ScriptedGroma(delay=0.01)


@pytest.fixture(scope="session")
def caller(groma: ScriptedGroma) -> Iterator[Caller]:
    """Of an application as anybody starts it, without a finetune tab."""
    from app.launch import launch
    from app.shared.models_at_hand import Models

    url = launch(Models("<b>mini</b>", groma), prevent_thread_lock=True, quiet=True)
    with Caller(url) as calling:
        yield calling


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "scene.png"
    picture().save(path)
    return path
