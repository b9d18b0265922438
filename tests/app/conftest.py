"""A running application with scripted answers, and a browser."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from groma.types import GromaError
from tests.app.scripted import ScriptedGroma, picture

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="session")
def browser_type_launch_args() -> dict:
    """Debian's Chromium, as it runs in a container."""
    switches = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
    ]
    return {"executable_path": CHROMIUM, "args": switches}


@pytest.fixture(scope="session")
def groma() -> ScriptedGroma:
    return ScriptedGroma(delay=0.005)


@pytest.fixture(scope="session")
def url(groma: ScriptedGroma) -> Iterator[str]:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr

    from app.launch import launch
    from app.shared.models_at_hand import Models

    def fail() -> ScriptedGroma:
        raise GromaError("Its weights are damaged.")

    others = {"groma-photo": lambda: ScriptedGroma(score_threshold=0.75), "<i>broken</i>": fail}
    models = Models("groma-mini", groma, others)
    yield launch(models, keys=(), prevent_thread_lock=True, quiet=True)
    gr.close_all()


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "scene.png"
    picture().save(path)
    return path
