"""The package: what `pip install .` brings, and what it leaves to its extras."""

import importlib.util
import tomllib
from pathlib import Path

import pytest

from app.chat.example_strip import PHOTOGRAPHS
from groma import embedded
from groma.cli import application
from groma.cli.main import main
from tests.paths import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def names(requirements: list[str]) -> set[str]:
    return {requirement.lower().split(">")[0].split("=")[0] for requirement in requirements}


def test_the_library_comes_without_the_application() -> None:
    assert not {"gradio", "spaces"} & names(PROJECT["dependencies"])
    assert {"gradio", "spaces"} <= names(EXTRAS["app"])


def test_a_space_installs_the_library_and_all_that_the_application_needs() -> None:
    listed = (ROOT / "requirements.txt").read_text("utf-8").split("\n")
    needed = [*PROJECT["dependencies"]]
    for extra in ("train", "eval", "serve", "app"):
        needed += EXTRAS[extra]
    assert set(filter(None, listed)) == set(needed) - {"groma[train,eval,serve]"}


def test_every_requirement_has_a_version_that_was_tested() -> None:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    tested = {name.replace("_", "-") for name in names(lines)}
    asked = names([*PROJECT["dependencies"], *(one for extra in EXTRAS.values() for one in extra)])
    plain = {name.replace("_", "-") for name in asked if "[" not in name and ";" not in name}
    assert plain <= tested


def test_installed_weights_and_pictures_are_found(tmp_path: Path) -> None:
    assert embedded.WEIGHTS == ROOT / "weights"
    assert PHOTOGRAPHS == ROOT / "assets" / "photographs"
    library = tmp_path / "groma"
    (library / "weights").mkdir(parents=True)
    copy = library / "embedded.py"
    copy.write_text((ROOT / "groma" / "embedded.py").read_text("utf-8"), "utf-8")
    spec = importlib.util.spec_from_file_location("installed", copy)
    assert spec
    assert spec.loader
    installed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(installed)
    assert library / "weights" == installed.WEIGHTS


def test_the_application_is_a_command(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main(["app", "--port", "x"])
    assert end.value.code == 2
    assert "groma app: error: argument --port: must be a number" in capsys.readouterr().err


def test_without_its_packages_the_application_says_how_to_get_them(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "find_spec", lambda name: None if name == "gradio" else name)
    assert main(["app"]) == 2
    sentence = "groma: The application needs gradio: pip install 'groma[app]'.\n"
    assert capsys.readouterr().err == sentence
