"""The application in a real browser, from an uploaded picture to a coloured answer."""

import gc
import json
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from app.chat.example_strip import examples_of
from app.launch import launch
from app.shared.models_at_hand import Models
from app.shared.picture_files import MOST_BYTES
from app.shared.sessions import Sessions
from tests.app.browser_tab import BUSY, IDLE, Tab, on_a_phone
from tests.app.composing import Composing
from tests.app.conftest import CHROMIUM
from tests.app.scripted import BALL, DOG, ScriptedGroma, close_page, picture

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no chromium")


@pytest.fixture
def phone(browser: Browser, url: str, scene: Path) -> Iterator[Tab]:
    with on_a_phone(browser, url, scene) as tab:
        yield tab


@pytest.fixture
def tab(page: Page, url: str, scene: Path) -> Tab:
    tab = Tab(page, url)
    tab.open(scene)
    yield tab
    assert tab.problems == []


MINI, PHOTO = '["groma-mini",""]', '["groma-photo",""]'
"""Without an adapter."""

LIT = re.compile(r"\blit\b")


def near(found: list[float], wanted: tuple[float, ...]) -> bool:
    return found == pytest.approx(wanted, abs=1.5)


def test_draw_ask_and_links_both_ways(tab: Tab) -> None:
    wanted = (100, 190, 290, 440)
    tab.draw(wanted)
    expect(tab.page.locator(".groma-chip")).to_have_text("1")
    (box,) = tab.sent_regions(lambda: tab.page.click("text=Ask about this"))
    assert near(box, wanted)
    expect(tab.phrase("the thing you mean")).to_be_visible()
    tab.wait()

    tab.ask("Describe what is beside [1].")
    phrase = tab.phrase("a red ball")
    phrase.hover()
    expect(tab.box("r1")).to_have_class(LIT)
    expect(tab.box("u1")).not_to_have_class(LIT)
    expect(tab.page.locator(".groma-shade rect")).not_to_have_count(0)
    assert phrase.get_attribute("data-tip") == "91 % sure"
    tab.page.mouse.move(*tab.at(400, 380))
    expect(phrase).to_have_class(LIT)
    expect(tab.phrase("a tree")).not_to_have_class(LIT)
    expect(tab.phrase("a tree")).to_have_class(re.compile("groma-uncertain"))
    expect(tab.page.locator(".groma-question .groma-number")).to_have_count(2)

    # What somebody has begun to write is theirs.
    tab.page.fill("#groma-question textarea", "How many are like")
    tab.click(400, 380)
    tab.page.click("text=Ask about this")
    expect(tab.page.locator("#groma-question textarea")).to_have_value("How many are like [2]")
    expect(tab.page.locator(".groma-chip")).to_have_count(2)
    (box,) = tab.sent_regions(lambda: tab.page.click(IDLE))
    assert near(box, BALL)
    tab.wait()


def test_answer_streams_and_can_be_stopped(tab: Tab) -> None:
    tab.page.fill("#groma-question textarea", "a long story")
    tab.page.click(IDLE)
    tab.page.wait_for_function("document.querySelector('.groma-answer')?.innerText.length > 20")
    tab.page.click(BUSY)
    expect(tab.page.locator(".groma-ending")).to_contain_text("stopped")
    tab.wait()
    tab.page.click("text=Regenerate")
    expect(tab.page.locator(BUSY)).to_be_visible()
    tab.page.click(BUSY)
    tab.wait()
    expect(tab.answers).to_have_count(1)
    tab.page.click("button:text-is('Undo')")
    expect(tab.answers).to_have_count(0)
    expect(tab.page.locator("#groma-question textarea")).to_have_value("a long story")
    tab.ask("Describe")
    expect(tab.page.locator(".groma-answer .groma-phrase")).to_have_count(3)


def test_click_takes_a_proposal_and_edit_gives_it_back(tab: Tab) -> None:
    tab.click(400, 380)
    tab.click(620, 20)  # Nothing is there.
    expect(tab.page.locator(".groma-box.draft")).to_have_count(1)
    tab.page.click("text=What is this?")
    expect(tab.answers).to_have_count(1)
    tab.wait()
    expect(tab.page.locator(".groma-box.draft")).to_have_count(0)
    tab.page.click("button:text-is('Edit')")
    expect(tab.page.locator("#groma-question textarea")).to_have_value("What is [1]?")
    (box,) = tab.sent_regions(lambda: tab.ask("How many are like [1]?"))
    assert near(box, BALL)
    tab.page.click("button:text-is('Clear')")
    expect(tab.page.locator(".groma-note")).to_contain_text("Cleared")
    expect(tab.page.locator(".groma-chip")).to_have_count(0)


def test_proposal_explorer(tab: Tab) -> None:
    tab.page.mouse.move(*tab.at(200, 300))
    expect(tab.page.locator(".hinted .groma-label")).to_have_text("r0 · 0.90")
    tab.page.click("[data-do=explore]")
    expect(tab.page.locator(".groma-box.proposal")).to_have_count(3)
    tab.page.mouse.move(*tab.at(500, 100))
    expect(tab.box("r2").locator(".groma-label")).to_be_visible()
    tab.click(500, 100)
    expect(tab.page.locator(".groma-box.proposal")).to_have_count(2)
    expect(tab.page.locator(".groma-box.draft")).to_have_count(1)


def test_move_resize_and_delete(tab: Tab) -> None:
    tab.draw((100, 100, 200, 200))
    tab.draw((150, 150, 180, 190))  # Inside the selected box, so it moves that.
    tab.page.locator("[data-handle=nw]").hover()
    tab.page.mouse.down()
    tab.page.mouse.move(*tab.at(60, 70), steps=3)
    tab.page.mouse.up()
    (box,) = tab.sent_regions(lambda: tab.ask("Describe"))
    assert near(box, (60, 70, 230, 240))
    tab.draw((300, 100, 350, 150))
    tab.draw((400, 100, 450, 150))
    tab.page.fill("#groma-question textarea", "[2] or [3]?")
    tab.click(325, 125)
    tab.page.click("[data-do=delete]")
    expect(tab.page.locator("#groma-question textarea")).to_have_value(" or [2]?")
    assert near(tab.sent_regions(lambda: tab.ask())[0], (400, 100, 450, 150))


def test_keyboard_only(page: Page, url: str, scene: Path) -> None:
    tab = Tab(page, url)
    tab.open(scene)
    page.locator(".groma-stage").focus()
    page.keyboard.press("Enter")
    for key in ("Alt+ArrowRight", "Alt+ArrowDown", "ArrowLeft", "Shift+ArrowUp"):
        page.keyboard.press(key)
    (box,) = tab.sent_regions(lambda: page.keyboard.press("Enter"))
    assert near(box, (240 + 1 - 6.4, 180 + 1, 400 + 1 - 6.4, 300 + 1 - 6.4))
    tab.wait()
    phrase = page.locator(".groma-answer .groma-phrase").first
    phrase.focus()
    expect(page.locator(".groma-box.lit")).to_have_count(1)
    page.locator(".groma-stage").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".groma-box.draft")).to_have_count(1)
    page.keyboard.press("Delete")
    expect(page.locator(".groma-box.draft")).to_have_count(0)


def test_typing_mentions_and_chips(tab: Tab) -> None:
    tab.click(400, 380)
    tab.click(200, 300)
    question = tab.page.locator("#groma-question textarea")
    question.press_sequentially("Is @1")
    expect(question).to_have_value("Is [1]")
    tab.page.locator(".groma-chip", has_text="2").click()
    expect(question).to_have_value("Is [1] [2]")
    question.fill("")
    tab.page.click("text=How many …")
    tab.page.keyboard.type("dogs")
    expect(question).to_have_value("How many dogs are there?")
    tab.page.locator(".groma-chip", has_text="2").click()
    expect(question).to_have_value("How many dogs [2] are there?")
    question.press("End")
    tab.page.locator(".groma-chip", has_text="1").click()
    expect(question).to_have_value("How many dogs [2] are there [1]?")
    # What people wrote is neither overwritten nor sent.
    tab.page.click("text=Find …")
    tab.page.click("button:text-is('Describe')")
    expect(tab.page.locator(".groma-question")).to_have_text("Describe the picture.")
    tab.wait()
    expect(question).to_have_value("How many dogs [2] are there [1]?")


def test_one_box_has_one_colour_and_is_drawn_once(tab: Tab) -> None:
    tab.ask("Describe")
    colour = "(box) => box.style.getPropertyValue('--colour')"
    before = tab.box("r1").evaluate(colour)
    question = tab.page.locator("#groma-question textarea")
    question.press_sequentially("What is @ball")
    question.press("Enter")
    expect(question).to_have_value("What is [1]")
    boxes = tab.page.locator(".groma-box:not(.proposal)")
    for is_asked in (False, True):
        expect(boxes).to_have_count(3)
        assert tab.box("u1").evaluate(colour) == before
        assert tab.page.locator(".groma-chip").evaluate(colour) == before
        tab.phrase("a red ball").hover()
        expect(tab.box("u1")).to_have_class(LIT)
        tab.page.locator(".groma-chip").hover()
        expect(tab.box("u1")).to_have_class(LIT)
        if not is_asked:
            tab.ask()
    assert tab.page.locator(".groma-question .groma-number").first.evaluate(colour) == before


def test_hint_goes_when_it_was_followed(tab: Tab) -> None:
    hint = tab.page.locator(".groma-hint")
    tab.page.click("text=What is this?")
    expect(hint).to_have_text("Draw a box or click a thing first.")
    tab.click(400, 380)
    expect(hint).to_contain_text("Drag to draw a box")


def test_nothing_can_be_undone_before_there_is_a_turn(tab: Tab) -> None:
    undo = tab.page.get_by_role("button", name="Undo", exact=True)
    expect(undo).to_be_hidden()
    tab.ask("Describe")
    expect(undo).to_be_visible()


def test_at_sign_lists_regions(tab: Tab) -> None:
    """Keys, mouse, and typing on: each writes the number, and none of them asks."""
    question = tab.page.locator("#groma-question textarea")
    options = tab.page.locator(".groma-mentions").get_by_role("option")
    question.press_sequentially("@")
    expect(tab.page.locator(".groma-hint")).to_have_text("Draw a box or click a thing first.")
    expect(options).to_have_count(0)
    tab.ask("Describe")
    tab.click(20, 20)  # Nothing is there.
    tab.draw((300, 100, 350, 150))
    question.press_sequentially("Is @")
    expect(options).to_have_text(["1your box", "+a brown dog", "+a red ball", "+a tree"])
    expect(tab.box("u1")).to_have_class(LIT)
    expect(question).to_have_attribute(
        "aria-activedescendant", options.first.get_attribute("id") or "?"
    )
    for key in ("ArrowUp", "ArrowUp", "Enter"):
        question.press(key)
    expect(question).to_have_value("Is [2]")
    expect(options).to_have_count(0)
    question.press_sequentially(" or @")
    options.nth(1).click()
    expect(question).to_have_value("Is [2] or [2]")
    question.press_sequentially(" or @brown")
    expect(options).to_have_count(1)
    question.press("Escape")
    expect(options).to_have_count(0)
    question.fill("Is [")
    expect(options).to_have_count(4)
    question.press_sequentially("1")
    expect(options).to_have_count(1)
    question.press_sequentially("]?")
    expect(options).to_have_count(0)
    boxes = tab.sent_regions(lambda: question.press("Enter"))
    assert near(boxes[0], (300, 100, 350, 150)) and near(boxes[1], BALL)
    tab.wait()


def test_new_picture_starts_a_new_talk_and_a_bad_one_does_not(
    tab: Tab, scene: Path, tmp_path: Path
) -> None:
    tab.ask("Describe")
    (tmp_path / "bad.png").write_bytes(b"no picture at all")
    tab.page.set_input_files(".groma-canvas input[type=file]", tmp_path / "bad.png")
    expect(tab.page.locator(".toast-body")).to_contain_text("The picture is not a")
    tab.page.wait_for_function("document.querySelector('.groma-stage img').naturalWidth === 640")
    expect(tab.answers).to_have_count(1)
    (tmp_path / "large.png").write_bytes(bytes(MOST_BYTES + 1))
    tab.page.set_input_files(".groma-canvas input[type=file]", tmp_path / "large.png")
    expect(tab.page.locator(".groma-canvas")).to_contain_text("it may be too large")
    expect(tab.answers).to_have_count(1)
    tab.page.set_input_files(".groma-canvas input[type=file]", scene)
    expect(tab.page.locator(".groma-note")).to_contain_text("A new picture, a new talk.")
    expect(tab.answers).to_have_count(0)


def test_mistakes_are_one_sentence_and_lose_nothing(page: Page, url: str, scene: Path) -> None:
    tab = Tab(page, url)
    question, toast = page.locator("#groma-question textarea"), page.locator(".toast-body").last
    question.fill("What is there?")
    page.click(IDLE)
    expect(toast).to_contain_text("Please choose a picture first.")
    expect(question).to_have_value("What is there?")
    tab.open(scene)
    tab.draw((100, 100, 200, 200))
    question.fill(" ")
    page.click(IDLE)
    expect(toast).to_contain_text("The question is empty")
    expect(page.locator(".groma-box.draft")).to_have_count(1)
    expect(page.locator(".toast-body", has_text="Traceback")).to_have_count(0)
    tab.ask("Describe [1].")
    assert tab.problems == []


def test_two_people_do_not_mix(browser: Browser, url: str, scene: Path) -> None:
    tabs = [Tab(browser.new_context().new_page(), url) for _ in range(2)]
    for one in tabs:
        one.open(scene)
    tabs[0].draw((100, 100, 200, 200))
    for one, question in zip(tabs, ("Describe", "How many?"), strict=True):
        one.page.fill("#groma-question textarea", question)
        one.page.click(IDLE)
    for one in tabs:
        expect(one.answers).to_have_count(1)
        one.wait()
    expect(tabs[0].phrase("a tree")).to_be_visible()
    expect(tabs[1].phrase("two things")).to_be_visible()
    expect(tabs[1].page.locator(".groma-chip")).to_have_count(0)
    for one in tabs:
        one.page.context.close()


def test_two_people_are_answered_at_the_same_time(
    browser: Browser, url: str, scene: Path, groma: ScriptedGroma, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tabs = [Tab(browser.new_context().new_page(), url) for _ in range(2)]
    for one in tabs:
        one.open(scene)
    monkeypatch.setattr(groma, "delay", 0.05)
    first.page.fill("#groma-question textarea", "long")
    first.page.click(IDLE)
    expect(first.answers).to_contain_text("word")
    second.ask("Describe")
    expect(second.phrase("a tree")).to_be_visible()
    expect(first.page.locator(BUSY)).to_be_visible()
    monkeypatch.undo()
    first.page.click(BUSY)
    for one in tabs:
        one.wait()
        one.page.context.close()


@pytest.fixture
def narrow(groma: ScriptedGroma, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Address of an application that answers one at a time."""
    monkeypatch.setattr(Sessions, "at_once", 1)
    url = launch(Models("groma-mini", groma), prevent_thread_lock=True, quiet=True)
    yield url
    close_page(url)


def test_who_waits_sees_the_place_in_the_line(
    browser: Browser,
    narrow: str,
    scene: Path,
    groma: ScriptedGroma,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = tabs = [Tab(browser.new_context().new_page(), narrow) for _ in range(2)]
    for one in tabs:
        one.open(scene)
    monkeypatch.setattr(groma, "delay", 0.05)
    question = second.page.locator("#groma-question")
    place = question.bounding_box()
    for one, words in zip(tabs, ("long", "Describe"), strict=True):
        one.page.fill("#groma-question textarea", words)
        one.page.click(IDLE)
        if one is first:
            expect(one.answers).to_contain_text("word")
    expect(second.page.locator("#groma-talk")).to_contain_text("queue: 1/1")
    assert question.bounding_box() == place
    second.page.click(BUSY)  # leaves the line, with the question
    second.wait()
    expect(second.page.locator("#groma-talk")).not_to_contain_text("queue")
    expect(question.locator("textarea")).to_have_value("Describe")
    second.page.click(IDLE)
    expect(second.page.locator("#groma-talk")).to_contain_text("queue: 1/1")
    monkeypatch.undo()
    first.page.click(BUSY)
    expect(second.phrase("a tree")).to_be_visible()
    expect(second.answers).to_have_count(1)
    for one in tabs:
        one.wait()
        one.page.context.close()


def test_a_page_loaded_again_goes_on(tab: Tab, scene: Path) -> None:
    colour = "(phrase) => getComputedStyle(phrase).getPropertyValue('--colour')"
    drawn, later = (100, 190, 290, 440), (300, 60, 420, 160)
    tab.draw(drawn)
    tab.ask("Describe what is beside [1].")
    before = tab.phrase("a red ball").evaluate(colour)
    tab.draw(later)
    question = tab.page.locator("#groma-question textarea")
    question.fill("How many are beside [2]?")
    tab.page.reload()
    expect(tab.answers).to_have_count(1)
    tab.page.wait_for_function("document.querySelector('.groma-stage img').naturalWidth === 640")
    expect(tab.page.locator(".groma-box.user")).to_have_count(2)
    expect(tab.page.locator(".groma-box.draft")).to_have_count(1)
    expect(question).to_have_value("How many are beside [2]?")
    phrase = tab.phrase("a red ball")
    assert phrase.evaluate(colour) == before != ""
    phrase.hover()
    expect(tab.box("r1")).to_have_class(LIT)
    tab.page.mouse.move(*tab.at(400, 380))
    expect(phrase).to_have_class(LIT)
    (box,) = tab.sent_regions(lambda: tab.ask())
    assert near(box, later)
    tab.page.click("button:text-is('Undo')")
    expect(tab.answers).to_have_count(1)
    # Another tab of the same browser has its own talk.
    other = Tab(tab.page.context.new_page(), tab.page.url)
    other.open(scene)
    expect(other.answers).to_have_count(0)
    other.page.close()


@pytest.fixture
def model(tab: Tab) -> Locator:
    return tab.page.get_by_label("Answers come from")


def test_another_model_keeps_picture_boxes_and_question(tab: Tab, model: Locator) -> None:
    expect(model).to_have_value(MINI)
    note = tab.page.locator("#groma-header [role=status]")
    expect(note).to_contain_text("illustrated scenes only")
    asked, drawn = (100, 190, 290, 440), (300, 60, 420, 160)
    tab.draw(asked)
    tab.ask("Describe what is beside [1].")
    tab.draw(drawn)
    question = tab.page.locator("#groma-question textarea")
    question.fill("Describe what is beside [2].")
    model.focus()
    tab.page.keyboard.type("groma-p")
    expect(tab.page.locator(".groma-note")).to_contain_text("groma-photo answers now")
    expect(note).to_contain_text("80 kinds of things")
    expect(model).to_be_focused()
    expect(tab.answers).to_have_count(0)
    expect(tab.page.locator(".groma-box.draft")).to_have_count(2)
    expect(question).to_have_value("Describe what is beside [2].")
    expect(tab.page.locator("[data-do=explore]")).to_have_text("Proposals 2")
    settings = tab.page.locator("#groma-settings")
    tab.page.click("text=Settings >> nth=0")
    expect(settings.get_by_label("number input for Score threshold")).to_have_value("0.75")
    # The thresholds that came along do not take the note away.
    expect(tab.page.locator(".groma-note")).to_contain_text("groma-photo answers now")
    boxes = tab.sent_regions(lambda: tab.ask())
    assert near(boxes[0], asked) and near(boxes[1], drawn)
    # Who comes second begins with the model that everybody begins with.
    other = Tab(tab.page.context.new_page(), tab.page.url)
    expect(other.page.get_by_label("Answers come from")).to_have_value(MINI)
    other.page.close()
    tab.page.reload()
    expect(tab.answers).to_have_count(1)
    expect(model).to_have_value(PHOTO)
    expect(note).to_contain_text("80 kinds of things")
    tab.page.click("text=Settings >> nth=0")
    expect(settings.get_by_label("number input for Score threshold")).to_have_value("0.75")


def test_earlier_talks_are_one_click_or_key_away(
    tab: Tab, model: Locator, url: str, browser: Browser, tmp_path: Path
) -> None:
    page = tab.page
    page.click("text=Settings >> nth=0")
    threshold = page.get_by_label("number input for Score threshold")
    threshold.fill("0.3")
    threshold.press("Enter")
    page.click("text=Settings >> nth=0")
    tab.draw((100, 190, 290, 440))
    tab.ask("Describe what is beside [1].")
    model.select_option(PHOTO)
    expect(page.locator(".groma-note")).to_contain_text("groma-photo answers now")
    expect(threshold).to_have_value("0.75")
    tab.ask("How many?")
    Image.new("RGB", (64, 48), "white").save(tmp_path / "white.png")
    page.set_input_files(".groma-canvas input[type=file]", tmp_path / "white.png")
    former = page.locator("[data-former]")
    expect(former.locator("span")).to_have_text(["How many?", "Describe what is beside [1]."])
    expect(former.locator("img[alt='scene.png']")).to_have_count(2)
    page.reload()
    expect(former).to_have_count(2)
    page.click("text=Settings >> nth=0")
    former.last.click()
    expect(tab.phrase("a red ball")).to_be_visible()
    expect(model).to_have_value(MINI)
    expect(threshold).to_have_value("0.3")
    expect(tab.box("u1")).to_have_count(1)
    page.wait_for_function("document.querySelector('.groma-stage img').naturalWidth === 640")
    # Of the new picture nothing was said; what the talk goes on with is no earlier one.
    expect(former).to_have_count(1)
    tab.ask("Describe")
    former.focus()
    page.keyboard.press("Enter")
    expect(tab.phrase("two things")).to_be_visible()
    expect(model).to_have_value(PHOTO)
    expect(former.locator("span")).to_have_text(["Describe what is beside [1]."])
    expect(former).to_have_attribute("title", "2 questions, groma-mini")
    expect(page.locator(".groma-stage")).to_be_focused()
    other = Tab(browser.new_page(), url)
    expect(other.page.locator("[data-former]")).to_have_count(0)
    other.page.close()


def test_examples_belong_to_the_model(tab: Tab, model: Locator) -> None:
    examples = tab.page.locator("[data-example]")
    num_scenes, num_photographs = (len(examples_of(f"groma-{name}")) for name in ("mini", "photo"))
    expect(examples).to_have_count(num_scenes)
    model.select_option("groma-photo")
    expect(examples).to_have_count(num_photographs)
    model.select_option("groma-mini")
    expect(examples).to_have_count(num_scenes)


def test_a_model_that_cannot_be_loaded_leaves_the_old_one(tab: Tab, model: Locator) -> None:
    tab.ask("Describe")
    markup = "<i>broken</i>"
    expect(model.locator("option")).to_have_text(["groma-mini", "groma-photo", markup])
    model.select_option(markup)
    expect(tab.page.locator(".toast-body")).to_contain_text("Its weights are damaged.")
    expect(model).to_have_value(MINI)
    expect(tab.page.locator("#groma-header")).to_contain_text("illustrated scenes only")
    expect(tab.page.locator("#groma-header i")).to_have_count(0)
    tab.ask("How many?")
    expect(tab.answers).to_have_count(2)


def test_an_answer_that_was_cut_off_by_loading_again_stays(tab: Tab) -> None:
    tab.page.fill("#groma-question textarea", "a long story")
    tab.page.click(IDLE)
    tab.page.wait_for_function("document.querySelector('.groma-answer')?.innerText.length > 20")
    tab.page.reload()
    expect(tab.page.locator(".groma-ending")).to_contain_text("stopped")
    tab.ask("Describe")
    expect(tab.answers).to_have_count(2)


def test_leaving_frees_memory(
    browser: Browser, url: str, scene: Path, groma: ScriptedGroma
) -> None:
    tab = Tab(browser.new_context().new_page(), url)
    num_encoded = len(groma.encoded)
    tab.open(scene)
    assert eventually(lambda: len(groma.encoded) > num_encoded)
    image = groma.encoded[-1]
    assert image() is not None
    tab.page.context.close()
    assert eventually(lambda: image() is None)


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether a condition comes true within 20 seconds."""
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.1)
        gc.collect()
    return False


def test_model_markup_stays_text(tab: Tab) -> None:
    tab.ask("show markup")
    expect(tab.answers).to_contain_text("<img src=x onerror=alert(1)> **bold** &")
    expect(tab.page.locator(".groma-answer img")).to_have_count(0)


def test_phone(browser: Browser, url: str, scene: Path) -> None:
    context = browser.new_context(
        viewport={"width": 420, "height": 860}, has_touch=True, is_mobile=True, color_scheme="dark"
    )
    tab = Tab(context.new_page(), url)
    tab.open(scene)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 420
    tab.page.touchscreen.tap(*tab.at(400, 380))
    (box,) = tab.sent_regions(lambda: tab.page.tap("text=Ask about this"))
    assert near(box, BALL)
    expect(tab.answers).to_have_count(1)
    tab.wait()
    tab.page.tap(".groma-answer .groma-phrase")
    expect(tab.page.locator(".groma-box.lit")).to_have_count(1)
    context.close()


def test_phone_shows_the_newest_turn_and_its_boxes(phone: Tab) -> None:
    for _ in range(3):
        phone.ask("Describe")
    expect(phone.answers.last).to_be_in_viewport(ratio=1)
    asking = phone.page.locator(".groma-asking").bounding_box()
    answer = phone.answers.last.bounding_box()
    assert asking and answer and answer["y"] + answer["height"] <= asking["y"]
    phrase = phone.phrase("a red ball").last
    phrase.tap()
    expect(phone.box("r1")).to_have_class(LIT)
    expect(phone.box("r1")).to_be_in_viewport(ratio=1)
    tip = "(phrase) => getComputedStyle(phrase, '::before').content"
    assert phrase.evaluate(tip) == '"91 % sure"'


def test_phone_tells_of_a_proposal_and_keeps_chips_in_sight(phone: Tab) -> None:
    phone.page.tap("text=What is this?")
    expect(phone.page.locator(".groma-hint")).to_have_text("Draw a box or tap a thing first.")
    phone.page.touchscreen.tap(*phone.at(400, 380))
    expect(phone.page.locator(".groma-box.draft .groma-label")).to_have_text("1 r1 · 0.80")
    expect(phone.page.locator(".groma-score")).to_be_visible()
    phone.page.evaluate("scrollTo(0, 0)")
    chip = phone.page.locator(".groma-chip")
    expect(chip).to_be_in_viewport(ratio=1)
    frame, asking = chip.bounding_box(), phone.page.locator("#groma-question").bounding_box()
    assert frame and asking and frame["y"] + frame["height"] <= asking["y"]


def test_touch_chooses_from_the_list_of_regions(phone: Tab) -> None:
    phone.ask("Describe")
    question = phone.page.locator("#groma-question textarea")
    question.tap()
    phone.page.keyboard.type("Is @")
    phone.page.locator(".groma-mentions li", has_text="a red ball").tap()
    expect(question).to_have_value("Is [1]")
    expect(question).to_be_focused()
    expect(phone.page.locator(".groma-mentions")).to_be_hidden()


def test_touch_draws(browser: Browser, url: str, scene: Path) -> None:
    context = browser.new_context(viewport={"width": 420, "height": 860}, has_touch=True)
    tab = Tab(context.new_page(), url)
    tab.open(scene)
    finger = context.new_cdp_session(tab.page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": x, "y": y} for x, y in points]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    touch("touchStart", tab.at(100, 100))
    for x in (150, 200, 250):
        touch("touchMove", tab.at(x, x))
    touch("touchEnd")
    (box,) = tab.sent_regions(lambda: tab.ask("Describe"))
    assert near(box, (100, 100, 250, 250))
    context.close()


@pytest.mark.parametrize("kind", ["portrait", "huge", "exif"])
def test_pixels_are_exact(page: Page, url: str, tmp_path: Path, kind: str) -> None:
    tab = Tab(page, url)
    size = {"portrait": (300, 900), "huge": (4000, 3000), "exif": (480, 640)}[kind]
    file = tmp_path / "picture.jpg"
    if kind == "exif":
        exif = Image.Exif()
        exif[0x0112] = 6
        picture().save(file, exif=exif)
    else:
        Image.new("RGB", size, "gray").save(file)
    tab.open(file)
    page.evaluate("document.body.style.zoom = 1.25")
    wanted = tuple(side * size[i % 2] for i, side in enumerate((0.2, 0.3, 0.7, 0.6)))
    tab.draw(wanted, size)
    (box,) = tab.sent_regions(lambda: tab.ask("Describe"))
    assert box == pytest.approx(wanted, abs=max(size) / 300)


@pytest.mark.parametrize("kind", ["portrait", "landscape"])
def test_pixels_are_exact_in_fullscreen(
    browser: Browser, url: str, tmp_path: Path, kind: str
) -> None:
    """On a phone and on a sharp screen; the talk is there as well."""
    phone = {"viewport": {"width": 400, "height": 800}, "device_scale_factor": 2.5}
    laptop = {"viewport": {"width": 1100, "height": 640}, "device_scale_factor": 1.25}
    size, screen = ((300, 900), laptop) if kind == "portrait" else ((1600, 900), phone)
    context = browser.new_context(**screen)
    tab = Tab(context.new_page(), url)
    Image.new("RGB", size, "gray").save(tmp_path / "picture.png")
    tab.open(tmp_path / "picture.png")
    tab.page.click("[data-do=fullscreen]")
    tab.page.wait_for_function("document.fullscreenElement")
    frame = tab.frame
    assert frame["width"] / frame["height"] == pytest.approx(size[0] / size[1], rel=0.01)
    assert frame["y"] >= 0
    assert frame["y"] + frame["height"] <= screen["viewport"]["height"]
    wanted = tuple(side * size[i % 2] for i, side in enumerate((0.2, 0.3, 0.7, 0.6)))
    tab.draw(wanted, size)
    (box,) = tab.sent_regions(lambda: tab.page.click("text=Ask about this"))
    expect(tab.answers).to_be_in_viewport()
    assert box == pytest.approx(wanted, abs=1.5 * max(size) / max(frame["width"], frame["height"]))
    context.close()


def test_camera(browser: Browser, url: str) -> None:
    """Chromium's own pretended camera: a green picture with a moving pacman."""
    context = browser.new_context(permissions=["camera"])
    tab = Tab(context.new_page(), url)
    tab.page.click("[data-do=camera]")
    tab.page.wait_for_function("document.querySelector('.groma-camera video').videoWidth > 0")
    tab.page.click("[data-do=shoot]")
    tab.page.locator("[data-do=explore]", has_text="3").wait_for()
    expect(tab.page.locator(".groma-camera")).to_be_hidden()
    colour = tab.page.evaluate("""() => {
        const canvas = document.createElement("canvas");
        const picture = document.querySelector(".groma-stage img");
        canvas.width = canvas.height = 1;
        canvas.getContext("2d").drawImage(picture, 0, 0, 20, 20, 0, 0, 1, 1);
        return [...canvas.getContext("2d").getImageData(0, 0, 1, 1).data];
    }""")
    assert colour[1] > colour[0] + 50
    tab.ask("Describe")
    expect(tab.phrase("a tree")).to_be_visible()
    context.clear_permissions()
    context.close()


def test_no_camera_is_one_sentence(page: Page, url: str) -> None:
    tab = Tab(page, url)
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => Promise.reject('none') }")
    page.click("[data-do=camera]")
    expect(page.locator(".groma-hint")).to_have_text("No camera can be used here.")
    expect(page.locator(".groma-camera")).to_be_hidden()
    assert tab.problems == []


def test_paste_and_drop(page: Page, url: str, scene: Path) -> None:
    tab = Tab(page, url)
    give = """(bytes) => {
        const data = new DataTransfer();
        data.items.add(new File([new Uint8Array(bytes)], "scene.png", { type: "image/png" }));
        return data;
    }"""
    data = page.evaluate_handle(give, list(scene.read_bytes()))
    page.evaluate(
        "(data) => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData: data }))",
        data,
    )
    page.locator("[data-do=explore]", has_text="3").wait_for()
    data = page.evaluate_handle(give, list(scene.read_bytes()))
    page.dispatch_event(".groma-stage", "drop", {"dataTransfer": data})
    expect(page.locator(".groma-note")).to_have_text("A new picture, a new talk.")
    assert tab.problems == []


def test_save_and_load(tab: Tab, tmp_path: Path) -> None:
    tab.click(*DOG[:2])
    tab.click(200, 300)
    tab.ask("Describe [1].")
    tab.page.click("text=Save and load")
    least = tab.page.get_by_label("number input for Leave out below")
    least.fill("0.5")
    least.press("Tab")
    expect(tab.page.get_by_label("range slider for Leave out below")).to_have_value("0.5")
    tab.page.click("text=Make files of this talk")
    with tab.page.expect_download() as download:
        tab.page.locator("a[download='scene.zip']").first.click()
    with zipfile.ZipFile(download.value.path()) as archive:
        known = json.loads(archive.read("coco.json"))["categories"]
        assert archive.read("images/scene.png").startswith(b"\x89PNG")
    assert [category["name"] for category in known] == ["dog", "ball"]
    with tab.page.expect_download() as download:
        tab.page.locator("a[download='talk.json']").first.click()
    saved = tmp_path / "talk.json"
    download.value.save_as(saved)
    with tab.page.expect_download() as download:
        tab.page.locator("a[download='talk.html']").first.click()
    download.value.save_as(tmp_path / "talk.html")
    alone = tab.page.context.new_page()
    alone.goto((tmp_path / "talk.html").as_uri())
    alone.locator(".groma-answer .groma-phrase", has_text="a red ball").hover()
    expect(alone.locator(".groma-box.lit")).to_have_count(1)
    alone.close()
    tab.page.click("button:text-is('Clear')")
    expect(tab.answers).to_have_count(0)
    expect(tab.page.locator("a[download='talk.json']")).to_have_count(0)
    with tab.page.expect_file_chooser() as chooser:
        tab.page.click("text=Load a saved talk")
    chooser.value.set_files(saved)
    expect(tab.answers).to_have_count(1)
    expect(tab.page.locator(".groma-chip")).to_have_text("1")
    tab.ask("How many?")
    expect(tab.answers).to_have_count(2)


def test_nothing_is_sent_or_chosen_while_an_input_method_composes(tab: Tab) -> None:
    tab.click(400, 380)
    question = tab.page.locator("#groma-question textarea")
    question.focus()
    keyboard = Composing(tab.page)
    keyboard.compose("@1")
    expect(question).to_have_value("@1")
    keyboard.press_enter(question)
    expect(question).to_have_value("@1")
    keyboard.commit("@1")
    expect(question).to_have_value("[1]")
    keyboard.compose("ねこ")
    keyboard.press_enter(question)
    keyboard.commit("猫")
    expect(question).to_have_value("[1]猫")
    expect(tab.page.locator(".groma-question")).to_have_count(0)
    question.press("Enter")
    expect(tab.page.locator(".groma-question")).to_have_count(1)
    tab.wait()
