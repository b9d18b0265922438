"""The finetune tab in a real browser: corrections, sets that were sent, runs, comparisons."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from groma.checkpoint.adapters import Fingerprint, add_lora, share, write_adapter
from groma.data.sources.groma_instruct import format_item
from groma.finetune.run_folder import RunFolder
from tests import talk
from tests.app.composing import Composing
from tests.app.conftest import CHROMIUM
from tests.app.scripted import DOG, ScriptedGroma
from tests.app.test_finetune_browser import Maker, ask, serve
from tests.groma.finetune import lora_case

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no chromium")


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield serve(ScriptedGroma(), tmp_path_factory.mktemp("correct"))


def put_cursor(maker: Maker, start: int, end: int | None = None) -> None:
    """Move the cursor of the answer as a click would, or select from `start` to `end`."""
    area = maker.bench.locator("[data-answer]")
    area.dispatch_event("pointerdown")
    place = {"start": start, "end": start if end is None else end}
    area.evaluate(
        "(area, { start, end }) => { area.focus(); area.setSelectionRange(start, end) }", place
    )


def phrases(maker: Maker) -> list[str]:
    return maker.bench.locator("[data-marked] .groma-phrase").all_text_contents()


def test_words_typed_over_a_phrase_still_mean_its_box(page: Page, url: str, scene: Path) -> None:
    maker = Maker(page, url)
    maker.open(scene)
    maker.draw(DOG)
    text = "Look: The red book is here."
    start, end = text.index("The"), text.index(" is")
    book = text.index("book")
    there = ("ArrowRight", "ArrowLeft")
    cases = [
        ((start, end), ["A blicket"], ["A blicket"], "Look: A blicket is here."),
        ((book, end), ["dax"], ["The red dax"], "Look: The red dax is here."),
        ((end,), ["Backspace"] * 4 + ["dax"], ["The red dax"], "Look: The red dax is here."),
        ((end,), ["s and pens"], ["The red books"], "Look: The red books and pens is here."),
        ((end,), [" itself"], ["The red book"], "Look: The red book itself is here."),
        ((end + 1,), ["now "], ["The red book"], "Look: The red book now is here."),
        ((start, end), ["Delete", "It"], ["It"], "Look: It is here."),
        ((start, start + 3), ["Delete", "A"], ["A red book"], "Look: A red book is here."),
        ((start, end), ["A dax", *there, " now"], ["A dax"], "Look: A dax now is here."),
        ((start,), ["Oh: "], ["The red book"], "Look: Oh: The red book is here."),
        ((start, end + 3), ["Backspace", "!"], [], "Look: ! here."),
    ]
    for place, typed, marked, said in cases:
        maker.bench.locator("[data-answer]").fill("")
        page.keyboard.press("Home")  # nothing is being typed anew
        maker.write("Where?", text)
        maker.mark("The red book", 1)
        put_cursor(maker, *place)
        for keys in typed:
            if keys in ("Backspace", "Delete", "ArrowRight", "ArrowLeft"):
                page.keyboard.press(keys)
            else:
                page.keyboard.type(keys)
        expect(maker.bench.locator("[data-answer]")).to_have_value(said)
        assert phrases(maker) == marked, typed
    assert maker.problems == []


def test_a_phrase_at_the_end_is_replaced_and_the_sentence_ended(
    page: Page, url: str, scene: Path
) -> None:
    maker = Maker(page, url)
    maker.open(scene)
    maker.draw(DOG)
    maker.write("Where?", "It is the red book")
    maker.mark("the red book", 1)
    put_cursor(maker, 6, 18)
    page.keyboard.type("a blicket. Yes.")
    expect(maker.bench.locator("[data-answer]")).to_have_value("It is a blicket. Yes.")
    assert phrases(maker) == ["a blicket"]
    maker.keep(1)
    expect(maker.made.locator("b")).to_have_text("a blicket")


def test_a_wrong_box_is_dragged_to_its_place_and_kept(page: Page, url: str, scene: Path) -> None:
    maker = Maker(page, url)
    maker.go("Chat")
    page.locator(".groma-canvas input[type=file]").first.set_input_files(scene)
    expect(page.locator(".groma-talk")).to_contain_text("Ask anything")
    for number, question in enumerate(("Where is it?", "What is it?"), start=1):
        page.fill("#groma-question textarea", question)
        page.click("#groma-question button:text('Ask')")
        expect(page.locator(".groma-answer")).to_have_count(number)
        expect(page.locator("#groma-question button:text('Ask')")).to_be_visible()
    maker.press("Correct and keep")
    boxes = maker.bench.locator(".groma-box.draft")
    expect(boxes).to_have_count(1)
    expect(maker.bench.locator("[data-earlier] li")).to_have_text(
        "Where is it? No, there is no such thing in the picture."
    )
    expect(maker.bench.locator(".groma-hint")).to_contain_text("Drag a box to its place")
    x1, y1, x2, y2 = DOG
    maker.drag(((x1 + x2) / 2, (y1 + y2) / 2), ((x1 + x2) / 2 + 100, (y1 + y2) / 2 - 40))
    expect(boxes).to_have_count(1)
    expect(boxes).to_have_attribute(
        "aria-label", f"Region 1, from {x1 + 100}, {y1 - 40} to {x2 + 100}, {y2 - 40}"
    )
    page.keyboard.press("Escape")  # no box is selected, so that there are no handles
    maker.drag((x2 + 101, (y1 + y2) / 2), (x2 + 151, (y1 + y2) / 2))
    expect(boxes).to_have_count(1)
    expect(boxes).to_have_attribute(
        "aria-label", f"Region 1, from {x1 + 100}, {y1 - 40} to {x2 + 150}, {y2 - 40}"
    )
    maker.press("Keep this example")
    expect(page.locator("#groma-talk")).to_be_visible()
    maker.go("Finetune")
    expect(maker.made).to_contain_text("after 1 earlier turn")
    maker.press("Edit example 1")
    expect(maker.bench.locator("[data-earlier] li")).to_have_count(1)
    maker.press("Leave it out")
    expect(maker.bench.locator("[data-earlier]")).to_be_hidden()
    maker.keep(1)
    expect(maker.made).not_to_contain_text("earlier turn")
    assert maker.problems == []


def test_an_earlier_answer_is_corrected_too(page: Page, url: str, scene: Path) -> None:
    maker = Maker(page, url)
    maker.go("Chat")
    page.locator(".groma-canvas input[type=file]").first.set_input_files(scene)
    expect(page.locator(".groma-talk")).to_contain_text("Ask anything")
    for number, question in enumerate(("Where is it?", "Describe it.", "What is it?"), start=1):
        page.fill("#groma-question textarea", question)
        page.click("#groma-question button:text('Ask')")
        expect(page.locator(".groma-answer")).to_have_count(number)
        expect(page.locator("#groma-question button:text('Ask')")).to_be_visible()
    answer = page.locator(".groma-answer").nth(1)
    said = answer.inner_text()
    button = page.get_by_role("button", name="Correct: answer 2")
    expect(button).to_have_css("opacity", "0")
    answer.hover()
    expect(button).to_have_css("opacity", "1")
    button.click()
    expect(maker.bench.locator("[data-question]")).to_have_value("Describe it.")
    expect(maker.bench.locator("[data-answer]")).to_have_value(said)
    expect(maker.bench.locator("[data-earlier] li")).to_have_count(1)
    maker.press("Keep this example")
    expect(page.locator("#groma-talk")).to_be_visible()
    maker.go("Finetune")
    expect(maker.made).to_contain_text("after 1 earlier turn")
    assert maker.problems == []


def test_a_box_is_drawn_within_a_box_with_shift(page: Page, url: str, scene: Path) -> None:
    maker = Maker(page, url)
    maker.open(scene)
    maker.draw(DOG)
    page.keyboard.down("Shift")
    maker.draw((140, 240, 220, 330))
    page.keyboard.up("Shift")
    assert maker.problems == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("slow")


@pytest.fixture(scope="module")
def slow(folder: Path) -> Iterator[str]:
    """A tiny model, of which a run is done already; another takes its time."""
    groma = talk.tiny_groma()
    settings = lora_case.settings(folder / "base", held_out=0.5)
    done = RunFolder.create(folder / "runs" / "done", settings, lora_case.samples(folder))
    write_adapter(
        add_lora(share(groma.model), 2, 4.0), done.adapter, Fingerprint.of(groma.model), {}
    )
    done.write_state("done")
    yield serve(groma, folder, epochs=1000.0, lr=1e-5)


def test_what_was_sent_is_mended_and_trained_while_the_chat_answers(
    page: Page, slow: str, folder: Path, scene: Path
) -> None:
    maker = Maker(page, slow)
    maker.go("Upload a set")
    sent = folder / "sent"
    sent.mkdir()
    samples = [replace(s, picture=Path(s.picture).name) for s in lora_case.samples(sent)]
    items = [format_item(sample, number) for number, sample in enumerate(samples, start=1)]
    items.append(items[0] | {"file_name": "gone.png"})
    (sent / "set.json").write_text(json.dumps(items))
    page.locator("input[type=file][multiple]").last.set_input_files(sorted(sent.iterdir()))
    findings = page.locator("#groma-findings")
    expect(findings).to_contain_text("7 items, 6 of them can be learnt")
    findings.locator("tr", has_text="leave it out").locator("[data-fix]").first.click()
    expect(findings).to_contain_text("6 items, 6 of them can be learnt")
    expect(findings).to_contain_text("(1 items left out)")
    with page.expect_download() as download:
        maker.press("Make a zip of this set")
        page.locator("#groma-mended a[download]").click()
    assert download.value.suggested_filename == "mended-examples.zip"

    maker.press("Start")
    progress = page.locator("#groma-progress")
    state = progress.locator("tr", has_text="state")
    expect(state).to_have_text("statetraining", timeout=120_000)
    maker.go("Chat")
    assert ask(page, scene)
    maker.go("Finetune")
    expect(state).to_have_text("statetraining")
    maker.press("Cancel")
    expect(state).to_contain_text("cancelled", timeout=120_000)
    runs = page.locator("#groma-runs input")
    runs.click()
    expect(page.get_by_role("option", name="done: done")).to_be_visible()
    expect(page.get_by_role("option", name=": cancelled")).to_be_visible()
    page.keyboard.press("Escape")
    steps = progress.locator("tr", has_text="step").first.inner_text()
    maker.press("Resume")
    expect(state).to_have_text("statetraining", timeout=120_000)
    expect(progress).not_to_contain_text(steps, timeout=120_000)
    maker.press("Cancel")
    expect(state).to_contain_text("cancelled", timeout=120_000)
    assert maker.problems == []


def test_a_comparison_goes_from_example_to_example_and_is_stopped(page: Page, slow: str) -> None:
    maker = Maker(page, slow)
    page.locator("#groma-runs input").click()
    page.get_by_role("option", name="done: done").click()
    expect(page.locator("#groma-progress")).to_contain_text("3, and 3 held out")
    compared = page.locator("#groma-compared")
    maker.press("Compare the run of step 3 with the base")
    # Looked for in every frame: what is left to ask is shown for as long as one answer takes.
    left = "document.querySelector('#groma-compared').innerText.match(/Left to ask: [12] example/)"
    page.wait_for_function(left, timeout=120_000)
    expect(compared).not_to_contain_text("to ask", timeout=120_000)
    expect(page.get_by_role("button", name="Stop comparing")).to_be_hidden()
    count = page.locator(".groma-compared").count()
    assert count >= 3
    maker.press("Compare the run of step 3 with the base")
    maker.press("Stop comparing")
    expect(page.get_by_role("button", name="Stop", exact=False)).to_be_hidden(timeout=120_000)
    assert page.locator(".groma-compared").count() < count
    expect(page.get_by_role("button", name="Compare the run of step 3")).to_be_enabled()
    assert maker.problems == []


def test_an_input_method_composes_on_the_workbench(page: Page, url: str, scene: Path) -> None:
    maker = Maker(page, url)
    maker.open(scene)
    maker.draw(DOG)
    keyboard = Composing(page)
    for name in ("question", "answer"):
        field = maker.bench.locator(f"[data-{name}]")
        field.focus()
        for text in ("に", "にほ", "にほん"):
            keyboard.compose(text)
            keyboard.press_enter(field)
            expect(field).to_have_value(text)
        keyboard.commit("日本")
        expect(field).to_have_value("日本")
    maker.mark("日本", 1)
    assert phrases(maker) == ["日本"]
    expect(maker.made).to_have_count(0)
