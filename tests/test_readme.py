"""The README is true: its paths, symbols, commands, links and front matter exist."""

import importlib
import io
import re
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml

import groma
from groma.cli.main import main
from tests import talk
from tests.paths import ROOT

_, FRONT_MATTER, README = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n", 2)
DOCUMENTS = {"README.md": README, "weights/README.md": (ROOT / "weights/README.md").read_text()}


def section(title: str) -> str:
    """Text below a second-level heading."""
    return re.split(r"^## ", README.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def code_blocks(text: str, language: str = "") -> list[str]:
    """Contents of the fenced blocks marked with `language`."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [block for marked, block in blocks if marked == language]


def tree() -> list[str]:
    """Paths of the tree; two more spaces of indent are one folder deeper."""
    paths, folders = [], [""]
    for line in code_blocks(section("Where things are"))[0].splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        del folders[depth + 1 :]
        paths.append(folders[-1] + name)
        if name.endswith("/"):
            folders.append(paths[-1])
    return paths


def paper_map() -> list[tuple[str, str]]:
    """(path, symbol) pairs of the table."""
    pairs = []
    for row in re.findall(r"^\| .* \|$", section("From the paper to the code"), re.MULTILINE)[1:]:
        path, *symbols = re.findall(r"`([^`]+)`", row.split("|", 2)[2])
        pairs += [(path, symbol) for symbol in symbols]
    return pairs


def commands() -> list[str]:
    """Every `groma` command line of the documents, without the program's name."""
    found = re.findall(r"^(?:python -m )?groma (.+)$", "\n".join(all_code()), re.MULTILINE)
    return sorted(set(found))


def all_code() -> list[str]:
    """Fenced blocks, and code spans with their line breaks undone."""
    blocks = [block for text in DOCUMENTS.values() for block in code_blocks(text)]
    spans = [
        " ".join(span.split())
        for text in DOCUMENTS.values()
        for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)
    ]
    return blocks + spans


@cache
def help_of(*words: str) -> str:
    """What `groma WORDS --help` prints; the words name a command and perhaps its subcommand."""
    with redirect_stdout(io.StringIO()) as printed, pytest.raises(SystemExit) as end:
        main([*words, "--help"])
    assert not end.value.code
    return printed.getvalue()


def test_front_matter() -> None:
    settings: dict[str, Any] = yaml.safe_load(FRONT_MATTER)
    required = {"title", "emoji", "colorFrom", "colorTo", "sdk", "app_file", "license", "models"}
    assert required <= settings.keys()
    assert settings["sdk"] == "gradio"
    assert settings["sdk_version"] == version("gradio")
    assert settings["python_version"] == "3.12"
    assert len(settings["short_description"]) <= 60


@pytest.mark.parametrize("path", tree())
def test_tree_names_only_what_exists(path: str) -> None:
    assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()


def test_tree_names_every_source_file() -> None:
    packages = [ROOT / name for name in ("groma", "groma_app", "benchmarks")]
    files = [file for package in packages for file in package.rglob("*.*") if file.stat().st_size]
    shown = {file for file in files if file.suffix in {".py", ".js", ".css"}}
    assert {str(file.relative_to(ROOT)) for file in shown} <= set(tree())


@pytest.mark.parametrize(("path", "symbol"), paper_map())
def test_paper_map(path: str, symbol: str) -> None:
    assert (ROOT / path).is_file()
    found = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    for name in symbol.split("."):
        found = getattr(found, name)
    assert f"{path.rpartition('/')[2]}" in "\n".join(tree())


@pytest.mark.parametrize("line", commands())
def test_commands_exist_with_their_options(line: str) -> None:
    arguments = line.partition("#")[0].split()
    words = list(takewhile(lambda argument: not argument.startswith("-"), arguments))
    options = [argument for argument in arguments if argument.startswith("--")]
    assert [option for option in options if option not in help_of(*words)] == []


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^make ([a-z]+)", "\n".join(all_code()), re.MULTILINE))
    assert {"test", "check", "bench", "demo"} <= targets
    assert targets <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


def test_python_example_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    talk.picture().resize((400, 500)).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(groma, "load", lambda _: talk.tiny_groma(longest=4096))
    (example,) = code_blocks(README, "python")
    names: dict[str, Any] = {}
    with redirect_stdout(io.StringIO()) as printed:
        exec(example, names)
    assert len(names["chat"].conversation.turns) == example.count("chat.ask(") + 1
    assert printed.getvalue()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = DOCUMENTS[document]
    headings = {
        re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in headings
        elif not target.startswith("https://"):
            assert (ROOT / document).parent.joinpath(target).exists()
