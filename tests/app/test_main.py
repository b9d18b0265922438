"""Starting the application."""

from pathlib import Path

import pytest

from app import main as starter
from app.main import NOTES, build_parser, is_space, main


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


def test_notes_are_honest_sentences() -> None:
    assert "illustrated scenes only" in NOTES["groma-mini"]
    assert not is_space()
