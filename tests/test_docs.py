"""README and docs are true: their paths, symbols, commands, links and front matter exist."""

import importlib
import io
import json
import re
import runpy
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import version
from itertools import takewhile
from typing import Any
from unittest import mock

import pytest
import yaml
from PIL import Image

import groma
from groma.data.sources.groma_instruct import format_item, parse_item
from tests import talk
from tests.paths import ROOT

NAMES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "weights/README.md")
FILES = [*(ROOT / name for name in NAMES), *sorted((ROOT / "docs").glob("*.md"))]
PAGES = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in FILES}
README, ARCHITECTURE = PAGES["README.md"], PAGES["docs/architecture.md"]

SOURCES = ("benchmarks", "groma", "app", "recipes")
"""Folders of which every file stands in the tree."""
FOLDERS = "assets|benchmarks|docs|groma|app|recipes|tests|weights"
MADE_BY_THE_READER = "weights/groma-7b"

COMMAND = re.compile(
    r"^(?:groma|(?:python|accelerate launch\b.*) -m (?P<module>(?:groma|recipes|benchmarks)[\w.]*))"
    r"(?:[ ](?P<rest>.+))?$",
    re.MULTILINE,
)


def section(page: str, title: str) -> str:
    """Text below a second-level heading."""
    return re.split(r"^## ", page.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def code_blocks(text: str, language: str = "") -> list[str]:
    """Contents of the fenced blocks marked with `language`."""
    blocks = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", text, flags=re.MULTILINE | re.DOTALL)
    return [block for marked, block in blocks if marked == language]


def code_spans(text: str) -> list[str]:
    """Code within lines, its line breaks undone."""
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text)]


def code() -> Iterator[str]:
    """All code of all pages."""
    for text in PAGES.values():
        yield from code_blocks(text)
        yield from code_spans(text)


def tree(block: str) -> list[str]:
    """Paths of a tree; two more spaces of indent are one folder deeper."""
    paths, folders = [], [""]
    for line in block.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        del folders[depth + 1 :]
        paths.append(folders[-1] + name)
        if name.endswith("/"):
            folders.append(paths[-1])
    return paths


TREE = tree("".join(code_blocks(section(ARCHITECTURE, "Every file"))))
FOLDER_TREE = tree(code_blocks(section(README, "Where things are"))[0])


def symbols() -> list[tuple[str, str]]:
    """(path, symbol) pairs of the tables; a file without symbols comes with an empty one."""
    pairs = []
    for title in ("From the paper to the code", "The path of a question"):
        for row in re.findall(r"^\| .* \|$", section(ARCHITECTURE, title), re.MULTILINE):
            path, *names = code_spans(row.split("|", 2)[2]) or [""]
            pairs += [(path, name) for name in names or [""] if path]
    return pairs


def commands() -> list[tuple[str, str]]:
    """(module, arguments) of every command line of ours."""
    found = [match for text in code() for match in COMMAND.finditer(text)]
    return sorted({(match["module"] or "groma", match["rest"] or "") for match in found})


def paths() -> list[str]:
    """Paths in code spans that name something here."""
    spans = {span for text in PAGES.values() for span in code_spans(text)}
    found = {span for span in spans if re.fullmatch(rf"(?:{FOLDERS})/[\w./-]*", span)}
    return sorted(path for path in found if not path.startswith(MADE_BY_THE_READER))


@cache
def help_of(module: str, *words: str) -> str:
    """What `python -m MODULE WORDS --help` prints; the words name a command, perhaps with more."""
    arguments = [module, *words, "--help"]
    with (
        redirect_stdout(io.StringIO()) as printed,
        mock.patch.object(sys, "argv", arguments),
        pytest.raises(SystemExit) as end,
    ):
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    assert not end.value.code
    return printed.getvalue()


def anchors(page: str) -> set[str]:
    """What links may name behind `#`."""
    return {
        re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE)
    }


def test_front_matter() -> None:
    settings: dict[str, Any] = yaml.safe_load(README.split("---\n", 2)[1])
    required = {"title", "emoji", "colorFrom", "colorTo", "sdk", "app_file", "license", "models"}
    assert required <= settings.keys()
    assert settings["sdk"] == "gradio"
    assert settings["sdk_version"] == version("gradio")
    assert settings["python_version"] == "3.12"
    assert len(settings["short_description"]) <= 60


def test_readme_is_short_and_leads_to_every_page() -> None:
    assert len(README.splitlines()) < 150
    assert [page for page in PAGES if "/" in page and f"]({page})" not in README] == []


def test_make_demo_and_make_test_come_first() -> None:
    assert code_blocks(README)[0] == "make demo\nmake test\n"


@pytest.mark.parametrize("path", [*FOLDER_TREE, *TREE, *paths()])
def test_paths_exist(path: str) -> None:
    assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).exists()


def test_tree_names_every_source_file() -> None:
    files = [file for name in SOURCES for file in (ROOT / name).rglob("*.*") if file.stat().st_size]
    shown = {file for file in files if file.suffix in {".py", ".js", ".css"}}
    assert {str(file.relative_to(ROOT)) for file in shown} - set(TREE) == set()


def test_readme_names_every_folder() -> None:
    assert set(FOLDER_TREE) == {f"{name}/" for name in FOLDERS.split("|")}


@pytest.mark.parametrize(("path", "symbol"), symbols())
def test_symbols_exist(path: str, symbol: str) -> None:
    assert path in TREE
    found = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    for name in symbol.split(".") if symbol else ():
        found = getattr(found, name)


def test_layers_are_those_that_are_checked() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = [rule["layers"] for rule in contracts if rule.get("containers") == ["groma"]]
    (block,) = code_blocks(section(ARCHITECTURE, "What may import what"))
    assert [re.split(r" {2,}", line)[0] for line in block.splitlines()] == [
        re.sub(r"[()]", "", layer) for layer in layers
    ]


@pytest.mark.parametrize(("module", "line"), commands())
def test_commands_exist_with_their_options(module: str, line: str) -> None:
    arguments = line.partition("#")[0].split()
    words = list(takewhile(lambda argument: not argument.startswith("-"), arguments))
    options = [argument for argument in arguments if argument.startswith("--")]
    assert [option for option in options if option not in help_of(module, *words)] == []


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^make ([a-z-]+)", "\n".join(code()), re.MULTILINE))
    assert {"test", "check", "bench", "demo"} <= targets
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_python_example_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(groma, "load", lambda _: talk.tiny_groma(longest=4096))
    (example,) = code_blocks(README, "python")
    names: dict[str, Any] = {}
    with redirect_stdout(io.StringIO()) as printed:
        exec(example, names)
    assert len(names["chat"].conversation.turns) == example.count("chat.ask(") + 1
    assert printed.getvalue()


def test_the_example_of_groma_instruct_is_read() -> None:
    (example,) = code_blocks(PAGES["docs/grounded-conversations.md"], "json")
    for item in json.loads(example):
        sample = parse_item(item)
        with Image.open(ROOT / "assets" / "photographs" / sample.picture) as picture:
            assert (picture.height, picture.width) == sample.size
        assert parse_item(format_item(sample)) == sample


@pytest.mark.parametrize("document", PAGES)
def test_links_lead_somewhere(document: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[document]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        leads_to = ((ROOT / document).parent / path).resolve() if path else ROOT / document
        assert leads_to.exists()
        if anchor:
            assert anchor in anchors(leads_to.read_text(encoding="utf-8"))
