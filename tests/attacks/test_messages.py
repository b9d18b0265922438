"""What strangers wrote is shown as text: in warnings, on the page, in files."""

import ast
import base64
import json
from html import escape
from pathlib import Path
from typing import Any

import pytest

from app.chat import talk_files as export
from app.chat.talk_html import render_talk
from groma.types import GromaError
from tests.app.scripted import ScriptedGroma
from tests.attacks.caller import SETTINGS, Caller
from tests.paths import ROOT

MARKUP = "<img src=//evil.example/x onerror=alert(1)><a href=//evil.example>log in</a>"


@pytest.fixture
def talk(groma: ScriptedGroma, scene: Path) -> dict[str, Any]:
    chat = groma.chat(scene)
    chat.ask("Describe")
    return export.to_talk(scene, chat.conversation)


def spoilt(talk: dict[str, Any]) -> list[dict[str, Any]]:
    """The talk with markup in one place after another."""
    found: list[dict[str, Any]] = []

    def visit(part: Any) -> None:
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            if isinstance(value, dict | list):
                visit(value)
            kept, part[key] = part[key], MARKUP
            found.append(json.loads(json.dumps(talk)))
            part[key] = kept

    visit(talk["conversation"])
    return found


def test_a_saved_talk_with_markup_anywhere_is_text(talk: dict[str, Any], tmp_path: Path) -> None:
    file, shown = tmp_path / "talk.json", 0
    for version in spoilt(talk):
        file.write_text(json.dumps(version))
        try:
            picture, conversation = export.read_talk(file)
        except GromaError as error:
            assert "<" not in str(error)
            continue
        shown += 1
        for html in (render_talk(conversation), export.write_files(picture, conversation)[4]):
            text = html if isinstance(html, str) else html.read_text()
            assert "<img src=//evil" not in text
            assert "<a href" not in text
    assert shown


def test_a_warning_about_it_holds_no_markup(
    caller: Caller, talk: dict[str, Any], tmp_path: Path
) -> None:
    talk["conversation"]["turns"][0]["settings"]["temperature"] = MARKUP
    talk["conversation"]["image_size"] = [MARKUP, 1]
    file = tmp_path / f"{MARKUP[:10].replace('/', '')}.json"
    file.write_text(json.dumps(talk))
    load = caller.number("Load a saved talk", "upload")
    (warning,) = caller.warnings(load, caller.upload(file), *SETTINGS)
    assert warning == "This is no conversation that Groma saved."


def test_what_is_quoted_is_escaped(caller: Caller, scene: Path) -> None:
    canvas, ask = (
        {"image": caller.upload(scene), "regions": []},
        caller.number("Question", "submit"),
    )
    settings = [*SETTINGS]
    settings[1] = MARKUP  # where a number belongs
    for sentence in caller.warnings(ask, canvas, "Hi", *settings):
        assert sentence == escape(sentence, quote=False)


def test_every_message_passes_the_border() -> None:
    speakers = {"Warning", "Info", "Success", "Error"}
    for file in (ROOT / "app").rglob("*.py"):
        spoken = [
            node.attr
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and node.value.id == "gr"
        ]
        named = speakers & set(spoken)
        # ZeroGPU's own errors are read, not raised.
        assert file.name == "error_border.py" or named <= (
            {"Error"} if "zero" in file.name else set()
        )


def test_the_name_of_a_model_is_text(caller: Caller) -> None:
    """It is a value, which a script shows as text; nothing takes it for a part of the page."""
    parts = caller.http.get(f"{caller.url}config").json()["components"]
    named = [part["props"] for part in parts if "<b>mini" in json.dumps(part["props"])]
    assert len(named) == 1
    assert "${" not in named[0]["html_template"]
    assert "{{" not in named[0]["html_template"]
    assert "HTML" not in named[0]["js_on_load"]


def test_answers_are_text_everywhere(groma: ScriptedGroma, scene: Path) -> None:
    chat = groma.chat(scene)
    chat.ask(f"markup {MARKUP}")
    files = export.write_files(scene, chat.conversation)
    for html in (render_talk(chat.conversation), files[4].read_text(encoding="utf-8")):
        assert "<img src=x" not in html
        assert "<img src=//evil" not in html
        assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert base64.b64decode(json.loads(files[5].read_text())["picture"]) == scene.read_bytes()
