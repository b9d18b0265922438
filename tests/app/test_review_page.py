"""The review page: decisions are kept, shown, and end up in the file."""

import json
import re
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from app.launch import launch
from app.review.review_page import open_review
from app.shared.models_at_hand import Models
from groma.cli import main as cli
from groma.data.sample import plain_text
from groma.data.sources.groma_instruct import parse_item
from groma.instruct.made_folder import MadeFolder
from groma.types import GromaError
from tests.app.composing import Composing
from tests.app.conftest import CHROMIUM
from tests.app.scripted import ScriptedGroma, close_page
from tests.paths import DATA

VISUAL_GENOME = DATA / "public" / "visual_genome"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the maker saves: two accepted conversations and a refused picture."""
    pictures = tmp_path / "visual_genome"
    shutil.copytree(VISUAL_GENOME, pictures, ignore=shutil.ignore_patterns(".groma-index"))
    files = ("--regions", "region_descriptions.json", "--image-data", "image_data.json")
    options = [name if name[0] == "-" else str(pictures / name) for name in files]
    save = tmp_path / "run"
    assert cli.main(["instruct", str(pictures), "--save", str(save), *options]) == 0
    return save


def written(folder: Path) -> list:
    return json.loads((folder / "groma_instruct.json").read_text())


def test_decisions_are_kept_and_written(folder: Path) -> None:
    before = written(folder)
    tab = open_review(folder)
    view = tab.show(0)
    assert view.text.startswith("Q: ")
    assert view.picture is not None
    assert "1 of 2: undecided" in view.status
    assert (tab.show(-5).index, tab.show(99).index) == (0, 1)

    edited = "Q: What is <1>?\nA: [A thing](1) near [another](2).\n\nQ: Why?\nA: Who knows."
    view = tab.accept(0, edited)
    assert view.index == 1
    assert "2 rounds" in view.warning
    assert tab.reject(1, "").index == 1
    # Somebody else opens it: everything is there.
    again = open_review(folder)
    assert again.show(0).text == edited
    assert again.review.count() == {"edited": 1, "rejected": 1}
    assert str(folder) in again.write()
    (item,) = written(folder)
    sample = parse_item(item)
    assert [plain_text(turn.question, (0,)) for turn in sample.turns] == ["What is [1]?", "Why?"]
    assert len(item["boxes"]) == 2
    refused = json.loads((folder / "refused.json").read_text())
    assert {entry["key"]: entry["reasons"] for entry in refused} == {
        "1": ["It was rejected in review."],
        "2": ["no box"],
    }
    assert [entry["file_name"] for entry in before] == ["VG_100K_2/1.jpg", "VG_100K/2.jpg"]


def test_mistakes_do_not_lose_what_was_typed(folder: Path) -> None:
    tab = open_review(folder)
    for typed in ("", "Q: What?\nA: See [this](99).", "nonsense"):
        view = tab.accept(0, typed)
        assert (view.index, view.text) == (0, typed)
        assert view.warning
    assert tab.review.count() == {"undecided": 2}


def test_folders_without_conversations_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GromaError, match="holds nothing"):
        open_review(tmp_path)
    MadeFolder.begin(tmp_path, {"pictures": "."})
    with pytest.raises(GromaError, match="no conversation to review"):
        open_review(tmp_path)


@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no chromium")
def test_the_page(folder: Path, page: Page) -> None:
    url = launch(
        Models("any", ScriptedGroma()), review=folder, prevent_thread_lock=True, quiet=True
    )
    try:
        page.set_default_timeout(30_000)
        page.goto(f"{url}review")
        box = page.get_by_label("Conversation")
        expect(page.get_by_text("1 of 2: undecided")).to_be_visible(timeout=30_000)
        expect(page.locator("img").first).to_be_visible()
        expect(page.get_by_text("[the red kite](3)")).to_be_visible()
        box.focus()
        box.evaluate("(box) => box.addEventListener('keydown', () => (window.heard = true))")
        keyboard = Composing(page)
        keyboard.compose("ねこ")
        keyboard.press_enter(box)
        keyboard.commit("猫")
        expect(box).to_have_value(re.compile("猫"))
        assert page.evaluate("window.heard") is None
        box.fill("Q: Is <1> here?\nA: [It](1) is, and so is [this](2).")
        page.get_by_role("button", name="Accept").click()
        expect(page.get_by_text("2 of 2: undecided")).to_be_visible()
        page.get_by_role("button", name="Reject").click()
        expect(page.get_by_text("1 edited, 1 rejected")).to_be_visible()
        page.get_by_role("button", name="Write the file").click()
        expect(page.get_by_text("The accepted conversations are in")).to_be_visible()
    finally:
        close_page(url)
    assert [len(item["conversation"]) for item in written(folder)] == [2]
