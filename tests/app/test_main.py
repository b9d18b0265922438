"""Starting the application."""

import socket
from pathlib import Path

import gradio as gr
import pytest

import groma
from app import main as starter
from app import zero_gpu
from app.main import NO_FINETUNING, NOTES, build_parser, is_space, main, serve
from groma.types import GromaError


def test_missing_models_are_one_sentence(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(starter, "DEFAULT_MODEL", tmp_path / "none")
    assert main(["--model", str(tmp_path / "none")]) == 2
    assert "no embedded model" in capsys.readouterr().err
    assert main(["--model", str(tmp_path)]) == 2
    assert "not a model folder" in capsys.readouterr().err


def test_environment_gives_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROMA_MODEL", "somebody/groma")
    monkeypatch.setenv("GROMA_QUANTIZATION", "4bit")
    monkeypatch.setenv("GROMA_MEMORY_GB", "0.5")
    options = build_parser().parse_args([])
    assert (options.model, options.quantization, options.memory) == ("somebody/groma", "4bit", 0.5)
    assert build_parser().parse_args(["--quantization", "8bit"]).quantization == "8bit"


@pytest.mark.parametrize("wanted", ["1", "0"])
def test_a_page_that_cannot_teach_although_it_should_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wanted: str
) -> None:
    said: dict = {}
    monkeypatch.setenv("GROMA_FINETUNE", wanted)
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    assert zero_gpu.is_zero_gpu()
    monkeypatch.setattr(groma, "load", lambda *_, **__: None)
    monkeypatch.setattr(starter, "launch", lambda *_, **options: said.update(options))
    serve(build_parser().parse_args(["--model", "somebody/groma"]))
    assert said["finetune"] is None
    assert (said["notice"] == NO_FINETUNING) == (NO_FINETUNING in caplog.text) == (wanted == "1")


def test_notes_are_honest_sentences() -> None:
    assert "illustrated scenes only" in NOTES["groma-mini"]
    assert not is_space()


def test_a_page_that_cannot_be_reached_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradio.networking.url_ok", lambda _: False)
    with gr.Blocks() as blocks, pytest.raises(GromaError, match="did not answer"):
        starter.start(blocks, prevent_thread_lock=True, quiet=True)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with gr.Blocks() as blocks, pytest.raises(GromaError, match=rf"{port}.* --port"):
            starter.start(blocks, server_port=port, prevent_thread_lock=True, quiet=True)
