"""The finetune tab in a real browser: examples drawn by hand, a short training, its adapter."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio.processing_utils import hash_file
from playwright.sync_api import Browser, Locator, Page, expect

from app.launch import launch
from app.shared.models_at_hand import Models
from groma.chat.chat import Groma
from tests import talk
from tests.app.browser_tab import PHONE, serious, small_targets
from tests.app.conftest import CHROMIUM
from tests.app.scripted import BALL, DOG, SIZE, ScriptedGroma
from tests.groma.finetune import lora_case

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no chromium")

MINUTES = 400_000
"""Milliseconds that loading, a training or a comparison may take on a busy machine."""


class Maker:
    """The finetune tab, and what people do in it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        page.goto(url)
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.go("Finetune")
        expect(self.bench.locator(".groma-drop")).to_be_visible()

    def go(self, tab: str) -> None:
        self.page.get_by_role("tab", name=tab, exact=True).click()

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).click()

    @property
    def bench(self) -> Locator:
        return self.page.locator(".groma-maker")

    @property
    def made(self) -> Locator:
        return self.page.locator("#groma-made li")

    def open(self, picture: Path) -> None:
        self.bench.locator("input[type=file]").set_input_files(picture)
        expect(self.bench.locator("[data-do=explore]")).to_contain_text("Proposals ")
        self.page.wait_for_function("document.querySelector('.groma-maker img').naturalWidth")
        expect(self.bench.locator("[data-do=explore]")).not_to_have_text("Proposals ")

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        frame = self.bench.locator(".groma-stage img").bounding_box()
        assert frame
        places = [
            (frame["x"] + x / SIZE[0] * frame["width"], frame["y"] + y / SIZE[1] * frame["height"])
            for x, y in (start, end)
        ]
        mouse = self.page.mouse
        mouse.move(*places[0])
        mouse.down()
        mouse.move(*places[1], steps=3)
        mouse.up()

    def draw(self, box: tuple[float, float, float, float]) -> None:
        count = self.bench.locator(".groma-box.draft").count()
        self.drag(box[:2], box[2:])
        expect(self.bench.locator(".groma-box.draft")).to_have_count(count + 1)

    def write(self, question: str, answer: str) -> None:
        self.bench.locator("[data-question]").fill(question)
        self.bench.locator("[data-answer]").fill(answer)

    def mark(self, words: str, number: int) -> None:
        """Select words of the answer and press the number of their box."""
        self.bench.locator("[data-answer]").evaluate(
            """(area, words) => {
                const start = area.value.indexOf(words);
                area.focus();
                area.setSelectionRange(start, start + words.length);
            }""",
            words,
        )
        expect(self.bench.locator("[data-target]")).to_have_text(f"“{words}” means")
        self.bench.locator(f"[data-marker='{number}']").click()
        expect(self.bench.locator("[data-marked] .groma-phrase", has_text=words)).to_be_visible()

    def keep(self, count: int) -> None:
        self.press("Keep this example")
        expect(self.made).to_have_count(count)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def tiny(tiny_folder: Path) -> Iterator[str]:
    """A real tiny model that can be taught."""
    yield serve(talk.tiny_groma(), tiny_folder)


@pytest.fixture(scope="module")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    yield serve(ScriptedGroma(), tmp_path_factory.mktemp("scripted"))


def serve(groma: Groma, folder: Path, **changes: float) -> str:
    changes = {"epochs": 60.0} | changes
    settings = lora_case.settings(lora_case.save_base(folder / "base"), **changes)
    runs = folder / "runs"
    return launch(
        Models("tiny", groma), finetune=settings, runs=runs, prevent_thread_lock=True, quiet=True
    )


def ask(page: Page, picture: Path) -> str:
    """A short answer of the chat."""
    page.locator("summary", has_text="Settings").click()
    page.get_by_label("number input for Longest answer").fill("16")
    page.locator(".groma-canvas input[type=file]").first.set_input_files(picture)
    expect(page.locator(".groma-talk")).to_contain_text("Ask anything")
    page.fill("#groma-question textarea", "Where is the dog?")
    page.click("#groma-question button:text('Ask')")
    return answer(page)


def answer(page: Page) -> str:
    """The whole answer; the first of it and the button to stop it come together."""
    expect(page.locator(".groma-answer")).to_have_count(1)
    expect(page.locator("#groma-question button:text('Ask')")).to_be_visible(timeout=MINUTES)
    return page.locator(".groma-answer").inner_html()


def train(maker: Maker, folder: Path) -> None:
    """Start with what is chosen, and wait for the end."""
    page = maker.page
    expect(page.locator("#groma-estimate")).to_contain_text("at the pace of this moment")
    page.get_by_label("Learning rate").fill("0.05")
    maker.press("Start")
    ended = page.locator("#groma-progress td", has_text=re.compile("^(done|failed)$"))
    expect(ended).to_be_visible(timeout=MINUTES)
    expect(ended).to_have_text("done")
    # Drawn with the first step, and again with the last: what is shown is the latter.
    (drawn,) = folder.glob("runs/*/curves.png")
    plot = page.locator("#groma-plot img")
    expect(plot).to_have_attribute("src", re.compile(hash_file(drawn)))
    expect(plot).to_be_visible()


def stay_and_switch(page: Page) -> None:
    """Who answers is the same after a reload, and chosen in the header."""
    who, author = page.locator("#groma-model option:checked"), page.locator(".groma-author")
    expect(who).to_contain_text("tiny with run-")
    expect(author).to_contain_text("answered by the adapter run-")
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    expect(author).to_contain_text("answered by the adapter run-")
    expect(who).to_contain_text("tiny with run-")
    adapter = who.text_content()
    assert adapter
    page.select_option("#groma-model", label="tiny")
    expect(page.locator("#groma-status")).not_to_contain_text("adapter", timeout=MINUTES)
    expect(who).to_have_text("tiny")
    page.select_option("#groma-model", label=adapter)
    expect(page.locator("#groma-status")).to_contain_text("answered by the adapter run-")


def test_from_drawing_to_another_answer(
    page: Page, tiny: str, tiny_folder: Path, scene: Path
) -> None:
    maker = Maker(page, tiny)
    maker.go("Chat")
    before = ask(page, scene)
    maker.go("Finetune")
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_hidden()
    maker.open(scene)
    for count, (box, thing) in enumerate(
        ((DOG, "the dog"), (BALL, "the ball"), (DOG, "the big dog")), start=1
    ):
        maker.draw(box)
        maker.write(f"Where is {thing}?", f"Here is {thing}.")
        maker.mark(thing, 1)
        maker.keep(count)
    maker.press("Check and learn from these")
    expect(page.locator("#groma-findings")).to_contain_text("3 items, 3 of them can be learnt")
    expect(page.locator("#groma-supervised mark", has_text="the dog")).to_be_visible()

    train(maker, tiny_folder)
    page.locator("#groma-adapter input").click()
    page.locator("li[role=option]", has_text="run-").click()
    maker.press("Use in my chat")
    expect(page.locator("#groma-used")).to_contain_text("answered by: run-")
    maker.go("Chat")
    said = page.locator(".groma-answer").text_content()
    assert said
    maker.press("Regenerate")
    expect(page.locator(".groma-answer")).not_to_have_text(said, timeout=MINUTES)
    after = answer(page)
    assert "groma-cursor" not in before + after
    expect(page.locator("#groma-status")).to_contain_text("answered by the adapter run-")
    assert after != before
    stay_and_switch(page)
    maker.go("Finetune")
    expect(page.locator("#groma-progress progress")).to_have_attribute("value", "1.000")
    maker.press("Compare the run of step 3 with the base")
    expect(page.locator(".groma-compared")).to_have_count(1, timeout=MINUTES)
    expect(page.locator("#groma-compared")).to_contain_text("Mean IoU: base")
    assert maker.problems == []


def test_an_answer_is_corrected_and_kept(page: Page, scripted: str, scene: Path) -> None:
    maker = Maker(page, scripted)
    maker.go("Chat")
    ask(page, scene)
    maker.press("Correct and keep")
    expect(maker.bench.locator("[data-question]")).to_have_value("Where is the dog?")
    text = "No, there is no such thing in the picture."
    expect(maker.bench.locator("[data-answer]")).to_have_value(text)
    expect(maker.bench.locator("[data-do=explore]")).to_be_hidden()  # there are none to show
    maker.draw(DOG)
    maker.press("Keep this example")
    expect(page.locator(".toast-body")).to_contain_text("Box 1 means nothing yet")
    maker.write("Where is the dog?", "It is here: a dog.")
    maker.mark("a dog", 1)
    expect(maker.bench.locator("[data-marked] .groma-phrase")).to_have_text("a dog")
    maker.press("Keep this example")
    expect(page.locator("#groma-talk")).to_be_visible()
    expect(page.locator(".toast-body").last).to_contain_text("Kept")
    maker.go("Finetune")
    expect(maker.made).to_have_count(1)
    maker.press("Edit example 1")
    expect(maker.bench.locator("[data-marked] .groma-phrase")).to_have_text("a dog")
    maker.bench.locator("[data-question]").fill("Is there a dog?")
    maker.keep(1)
    expect(maker.made).to_contain_text("Is there a dog?")
    with page.expect_event("dialog") as asked:
        page.evaluate("setTimeout(() => location.reload())")
    assert asked.value.type == "beforeunload"
    asked.value.dismiss()
    expect(maker.made).to_have_count(1)
    maker.press("Delete example 1")
    expect(maker.made).to_have_count(0)
    assert maker.problems == []


def test_what_was_made_by_hand_survives_a_reload(page: Page, scripted: str, scene: Path) -> None:
    maker = Maker(page, scripted)
    maker.open(scene)
    for count, question in enumerate(("Where is the dog?", "Is there a dog?"), start=1):
        maker.draw(DOG)
        maker.write(question, "It is here: a dog.")
        maker.mark("a dog", 1)
        maker.keep(count)
    page.on("dialog", lambda dialog: dialog.accept())
    for _ in range(2):
        page.reload()
        maker.go("Finetune")
        expect(maker.made).to_have_count(2)
    maker.press("Edit example 2")
    expect(maker.bench.locator("[data-question]")).to_have_value("Is there a dog?")
    page.wait_for_function("document.querySelector('.groma-maker img').naturalWidth")
    maker.press("Discard")
    maker.press("Check and learn from these")
    expect(page.locator("#groma-findings")).to_contain_text("2 items, 2 of them can be learnt")
    # Of a set nobody else sees anything.
    other = Maker(page.context.new_page(), scripted)
    expect(other.page.locator("#groma-made")).to_contain_text("No examples yet.")
    other.page.close()
    assert maker.problems == []


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_the_tab_is_for_fingers_and_keeps_nobody_out(
    browser: Browser, scripted: str, scene: Path, colours: str
) -> None:
    context = browser.new_context(**PHONE | {"color_scheme": colours})
    maker = Maker(context.new_page(), scripted)
    maker.open(scene)
    maker.draw(DOG)
    maker.write("Where is the dog?", "It is here: a dog.")
    maker.mark("a dog", 1)
    maker.keep(1)
    for step in ("2. Check", "3. Training", "4. Use and compare"):
        maker.page.get_by_role("button", name=step).click()
    expect(maker.page.get_by_label("Runs")).to_be_visible()
    assert small_targets(maker.page) == []
    assert serious(maker.page) == []
    context.close()
