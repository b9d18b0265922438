"""What belongs to nobody is gone: at the end, after a signal, and at the next start."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from app.shared.work_folder import work_folder
from groma.types import GromaError
from tests.attacks.caller import Caller

KEEPING = """
import signal, sys, tempfile, time
from pathlib import Path
from app.shared.work_folder import work_folder
signal.signal(signal.SIGTERM, signal.default_int_handler)
try:
    with work_folder() as folder:
        (Path(tempfile.mkdtemp()) / "secret.txt").write_text("set")
        print(folder, flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    pass
"""


@contextmanager
def keeping(parent: Path) -> Iterator[tuple[subprocess.Popen, Path]]:
    """A process that keeps something there."""
    environment = os.environ | {"TMPDIR": str(parent), "GRADIO_TEMP_DIR": ""}
    process = subprocess.Popen(
        [sys.executable, "-c", KEEPING], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.wait()


def test_nothing_is_left_after_a_signal(tmp_path: Path) -> None:
    with keeping(tmp_path) as (process, folder):
        assert list(folder.rglob("secret.txt"))
        assert folder.stat().st_mode & 0o077 == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    assert list(tmp_path.iterdir()) == []


def test_the_next_start_removes_what_was_killed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    (tmp_path / "groma-app-mine").mkdir()
    (tmp_path / "groma-app-mine" / "kept.txt").write_text("no lock: not ours")
    with keeping(tmp_path) as (_, living), keeping(tmp_path) as (killed, left):
        killed.kill()
        killed.wait()
        assert list(left.rglob("secret.txt"))
        before = tempfile.gettempdir()
        with work_folder() as folder:
            assert not left.exists()
            assert list(living.rglob("secret.txt"))
            assert Path(tempfile.mkdtemp()).is_relative_to(folder)
            assert Path(os.environ["GRADIO_TEMP_DIR"]).is_relative_to(folder)
        assert tempfile.gettempdir() == before
        assert os.environ["GRADIO_TEMP_DIR"] == str(tmp_path)
        assert living.exists()
        assert not folder.exists()
    assert (tmp_path / "groma-app-mine" / "kept.txt").exists()


def test_no_place_for_it_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "file" / "folder"))
    with pytest.raises(GromaError, match=r"Nothing can be kept in .*folder"), work_folder():
        pass


def test_no_call_leaves_an_empty_file(caller: Caller, scene: Path) -> None:
    from gradio.utils import get_upload_folder

    sent, places = caller.upload(scene), [Path(get_upload_folder()), Path(tempfile.gettempdir())]
    before = {file for place in places for file in place.iterdir()}
    for _ in range(3):
        assert caller.call("ask", sent, "What is this?", [], {})[-1][0] == "complete"
        assert caller.call("regions", sent, {})[-1][0] == "complete"
    new = {file for place in places for file in place.iterdir()} - before
    assert [file for file in new if file.is_file() and not file.stat().st_size] == []


@pytest.mark.slow
def test_the_application_leaves_nothing(tmp_path: Path, scene: Path) -> None:
    """The real one, with the embedded model, ended in both ways."""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    environment.pop("GRADIO_TEMP_DIR", None)
    command = [sys.executable, "-u", "app.py", "--port"]
    uploaded = []
    for end, port in ((signal.SIGKILL, "7973"), (signal.SIGTERM, "7974")):
        process = subprocess.Popen([*command, port], env=environment, stdout=subprocess.PIPE)
        try:
            assert any(b"Running on" in line for line in process.stdout)
            with Caller(f"http://127.0.0.1:{port}/") as calling:
                for former in uploaded:
                    answer = calling.http.get(f"{calling.api}file={former}")
                    assert answer.status_code == 403
                uploaded.append(calling.upload(scene)["path"])
                assert calling.call("regions", {"path": uploaded[-1]}, {})
            process.send_signal(end)
            process.wait(60)
        finally:
            process.kill()
            process.wait()
    assert not any(Path(each).exists() for each in uploaded)
    assert [each for each in tmp_path.iterdir() if each.name.startswith("groma-app")] == []
    with pytest.raises(httpx.ConnectError):
        httpx.get("http://127.0.0.1:7974/")
