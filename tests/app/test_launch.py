"""Starting the application."""

import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import httpx
import pytest

import groma
from app import launch as starter
from app.launch import (
    FINETUNING_IS_OFF,
    NO_FINETUNING,
    build_parser,
    is_public,
    is_space,
    main,
    serve,
)
from app.shared import zero_gpu_sessions as zero_gpu
from app.shared.models_at_hand import Models
from app.shared.sessions import Sessions
from groma import embedded
from groma.masks.grabcut import GrabCut
from groma.types import GromaError
from tests import talk
from tests.app.scripted import ScriptedGroma, close_page


def test_missing_models_are_one_sentence(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("GROMA_MODEL", raising=False)
    monkeypatch.setattr(embedded, "WEIGHTS", tmp_path)
    assert main([]) == 2
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


@pytest.mark.parametrize(
    ("variable", "said", "sentence"),
    [
        ("GROMA_MEMORY_GB", "lots", "GROMA_MEMORY_GB must be a number of gigabytes, not lots."),
        ("GROMA_MEMORY_GB", "nan", "GROMA_MEMORY_GB must be a number of gigabytes, not nan."),
        ("GROMA_MEMORY_GB", "-1", "GROMA_MEMORY_GB must be a number of gigabytes, not -1."),
        ("GROMA_QUANTIZATION", "5bit", "GROMA_QUANTIZATION must be none, 8bit or 4bit, not 5bit."),
        ("GRADIO_SERVER_PORT", "web", "GRADIO_SERVER_PORT must be a number from 1 to 65535, not "),
        ("GRADIO_SERVER_PORT", "99999", "GRADIO_SERVER_PORT must be a number from 1 to 65535"),
        ("GROMA_DEVICE", "toaster", "There is no device 'toaster'"),
        ("GROMA_DTYPE", "int7", "'int7' is no floating point type"),
        ("GROMA_FINETUNE", "perhaps", "GROMA_FINETUNE must be 1 or 0, not perhaps."),
        ("GROMA_MASKS", "no/segmenter", "The segmenter no/segmenter cannot be loaded"),
        ("GROMA_MODEL", "no/such/model", "There is no model folder 'no/such/model'"),
    ],
)
def test_an_environment_that_cannot_be_is_one_sentence(
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    said: str,
    sentence: str,
) -> None:
    monkeypatch.setenv("GROMA_MODEL", "groma-mini")
    monkeypatch.setenv(variable, said)
    try:
        status: object = main([])
    except SystemExit as end:  # what the arguments' parser finds
        status = end.code
    assert status == 2
    written = capsys.readouterr().err
    assert written.startswith(f"groma: {sentence}")
    assert written.count("\n") == 1


def test_empty_variables_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("MODEL", "QUANTIZATION", "DEVICE", "DTYPE", "MEMORY_GB")
    variables = [*(f"GROMA_{name}" for name in names), "GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT"]
    for variable in variables:
        monkeypatch.delenv(variable, raising=False)
    unset = build_parser().parse_args([])
    for variable in variables:
        monkeypatch.setenv(variable, "")
    assert build_parser().parse_args([]) == unset


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], False),
        (["--host", "localhost"], False),
        (["--host", "127.0.0.2"], False),
        (["--host", "::1"], False),
        (["--host", "[::1]"], False),
        (["--host", "0.0.0.0"], True),
        (["--host", "::"], True),
        (["--host", "192.168.1.5"], True),
        (["--host", "groma.example.org"], True),
        (["--share"], True),
    ],
)
def test_who_can_reach_a_page(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: bool
) -> None:
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    options = build_parser().parse_args(arguments)
    assert is_public(options) is expected
    monkeypatch.setenv("SPACE_ID", "someone/groma")
    assert is_public(options)


@pytest.mark.parametrize(
    ("arguments", "said", "is_on", "is_told"),
    [
        ([], "", True, False),
        ([], "0", False, False),
        (["--share"], "", False, True),
        (["--share"], "0", False, False),
        (["--share"], "1", True, False),
        (["--host", "0.0.0.0"], "", False, True),
        (["--host", "0.0.0.0"], "1", True, False),
    ],
)
def test_visitors_do_not_train_unless_the_owner_says_so(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    arguments: list[str],
    said: str,
    is_on: bool,
    is_told: bool,
) -> None:
    given: dict = {}
    monkeypatch.setenv("GROMA_FINETUNE", said)
    monkeypatch.setattr(groma, "load", lambda *_, **__: talk.groma())
    monkeypatch.setattr(starter, "launch", lambda *_, **options: given.update(options))
    serve(build_parser().parse_args(["--model", "somebody/groma", *arguments]))
    assert (given["finetune"] is not None) is is_on
    assert (FINETUNING_IS_OFF in caplog.text) is is_told
    assert "GROMA_FINETUNE=1" in FINETUNING_IS_OFF


def test_memory_is_tidied_while_the_page_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    tidied, times = threading.Event(), []

    def tidy(_: Sessions) -> None:
        times.append(time.monotonic())
        tidied.set()

    monkeypatch.setattr(starter, "SECONDS_BETWEEN_TIDYING", 0.01)
    monkeypatch.setattr(Sessions, "tidy", tidy)
    models = Models("groma-mini", ScriptedGroma())
    url = starter.launch(models, prevent_thread_lock=True, quiet=True)
    try:
        assert tidied.wait(20)
    finally:
        close_page(url)
    time.sleep(0.2)
    count = len(times)
    time.sleep(0.2)
    assert len(times) == count


@pytest.mark.parametrize("wanted", ["1", "0"])
def test_a_page_that_cannot_teach_although_it_should_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wanted: str
) -> None:
    said: dict = {}
    monkeypatch.setenv("GROMA_FINETUNE", wanted)
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    assert zero_gpu.is_zero_gpu()
    monkeypatch.setattr(groma, "load", lambda *_, **__: talk.groma())
    monkeypatch.setattr(starter, "launch", lambda *_, **options: said.update(options))
    serve(build_parser().parse_args(["--model", "somebody/groma"]))
    assert said["finetune"] is None
    assert (said["notice"] == NO_FINETUNING) == (NO_FINETUNING in caplog.text) == (wanted == "1")


def test_the_documented_image_is_the_small_one() -> None:
    dockerfile, readme = (
        Path(name).read_text("utf-8") for name in ("Dockerfile", "docs/application.md")
    )
    (argument,) = re.findall(r"^ARG (\w+)$", dockerfile, re.MULTILINE)
    lines = re.findall(r"docker build .*", dockerfile + readme)
    assert len(lines) == 2
    assert all(f"--build-arg {argument}=" in line for line in lines)
    assert "://" not in dockerfile


def test_this_is_no_space() -> None:
    assert not is_space()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("somebody/groma-7b", ["groma-7b", "groma-photo", "groma-mini"]),
        ("groma-mini", ["groma-mini", "groma-photo"]),
        (str(embedded.WEIGHTS / "groma-photo"), ["groma-photo", "groma-mini"]),
    ],
)
def test_the_given_model_is_at_hand_and_the_embedded_ones(
    monkeypatch: pytest.MonkeyPatch, said: str, expected: list[str]
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(embedded, "at_hand", lambda: list(embedded.NAMES))
    monkeypatch.setattr(
        groma, "load", lambda source, *_, **__: asked.append(source) or talk.groma()
    )
    monkeypatch.setattr(starter, "launch", lambda models, **_: asked.extend(models.notes))
    serve(build_parser().parse_args(["--model", said]))
    assert asked == [said, *expected]


def test_a_segmenter_makes_the_masks_of_every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    served: list[Models] = []
    maker = GrabCut()
    monkeypatch.setattr(groma, "load", lambda *_, **__: talk.groma())
    monkeypatch.setattr("groma.masks.maker.load_maker", lambda *_: maker)
    monkeypatch.setattr(starter, "launch", lambda models, **_: served.append(models))
    for arguments in (["--masks", "somebody/segmenter"], []):
        serve(build_parser().parse_args(["--model", "somebody/groma", *arguments]))
    given, plain = served
    given.load_all()
    assert [given.get(name).mask_maker for name in given.notes] == [maker] * len(given.notes)
    assert plain.get("groma").mask_maker is None


def no_address(*_: Any, **__: Any) -> None:
    raise httpx.ConnectError("Name or service not known")


@pytest.mark.parametrize(
    ("where", "happens"),
    [("gradio.networking.url_ok", lambda _: False), ("httpx.Client.request", no_address)],
    ids=["too slow", "localhost is not known"],
)
def test_a_page_that_cannot_be_reached_says_so(
    monkeypatch: pytest.MonkeyPatch, where: str, happens: Callable[..., Any]
) -> None:
    monkeypatch.setattr(where, happens)
    with gr.Blocks() as blocks, pytest.raises(GromaError, match="did not answer"):
        starter.start(blocks, prevent_thread_lock=True, quiet=True)


def test_a_port_that_is_taken_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with gr.Blocks() as blocks, pytest.raises(GromaError, match=rf"{port}.* --port"):
            starter.start(blocks, server_port=port, prevent_thread_lock=True, quiet=True)
