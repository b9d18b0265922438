"""What the page does besides asking: drawing tools, masks, zoom, turns, phones, keys, readers."""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Route, expect

from tests.app.browser_tab import IDLE, Tab, on_a_phone, serious, small_targets
from tests.app.conftest import CHROMIUM
from tests.app.scripted import BALL

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no chromium")

Line = Sequence[tuple[float, float]]

STROKES = [(360, 350), (380, 400), (400, 350), (420, 410)], [(370, 420), (430, 425)]
LASSO = (480, 260), (570, 260), (560, 400), (490, 395)
SHOWN = ".groma-box:not(.away, .proposal)"


@pytest.fixture(scope="module")
def opened(browser: Browser, url: str, scene: Path) -> Iterator[Tab]:
    context = browser.new_context(
        viewport={"width": 1280, "height": 800}, permissions=["clipboard-read", "clipboard-write"]
    )
    tab = Tab(context.new_page(), url)
    tab.open(scene)
    yield tab
    assert tab.problems == []
    context.close()


@pytest.fixture
def tab(opened: Tab) -> Iterator[Tab]:
    """One page for all: each test leaves an empty talk."""
    yield opened
    opened.page.keyboard.press("Escape")
    opened.page.click("button:text-is('Clear')")
    expect(opened.page.locator(".groma-note")).to_contain_text("Cleared")
    opened.page.click("[data-tool=box]")


@pytest.fixture(scope="module")
def phone(browser: Browser, url: str, scene: Path) -> Iterator[Tab]:
    with on_a_phone(browser, url, scene) as tab:
        yield tab


def draw_line(tab: Tab, line: Line) -> None:
    tab.page.mouse.move(*tab.at(*line[0]))
    tab.page.mouse.down()
    for point in line[1:]:
        tab.page.mouse.move(*tab.at(*point), steps=3)
    tab.page.mouse.up()


def follows(line: Line, wanted: Line) -> bool:
    """Whether a line goes through all wanted points in their order, to a pixel, and ends there."""
    rest = iter(line)
    return (
        all(any(abs(x - px) + abs(y - py) < 1.5 for px, py in rest) for x, y in wanted)
        and next(rest, None) is None
    )


def test_every_tool_sends_the_pixels_that_were_drawn(tab: Tab) -> None:
    page = tab.page
    tab.draw((100, 190, 290, 440))
    page.click("[data-tool=scribble]")
    for stroke in (*STROKES, [(20, 20), (60, 40)]):
        draw_line(tab, stroke)
    page.keyboard.press("Control+z")  # the last of three strokes
    page.keyboard.press("p")
    tab.click(520, 120)
    page.keyboard.press("l")
    draw_line(tab, LASSO)
    expect(page.locator(".groma-chip")).to_have_count(4)
    box, scribble, point, lasso = tab.sent_regions(lambda: tab.ask("Describe [2] and [4]."))
    assert box == pytest.approx((100, 190, 290, 440), abs=1.5)
    assert len(scribble["scribble"]) == 2
    assert all(map(follows, scribble["scribble"], STROKES))
    assert scribble["width"] == pytest.approx(480 / 50)
    assert point["point"] == pytest.approx((520, 120), abs=1.5)
    assert follows(lasso["polygon"], LASSO)
    # Each stays what it was, with its number and colour.
    expect(page.locator(".groma-outlines .stroke[data-key=u2]")).to_have_count(1)
    expect(page.locator(".groma-outlines .contour[data-key=u4]")).to_have_count(1)
    expect(tab.box("u3").locator(".groma-dot")).to_have_count(1)
    # Undo gives question and shapes back.
    page.click("button:text-is('Undo')")
    expect(page.locator("#groma-question textarea")).to_have_value("Describe [2] and [4].")
    assert tab.sent_regions(lambda: tab.ask()) == [box, scribble, point, lasso]


def test_the_pen_is_led_by_keys(tab: Tab) -> None:
    page = tab.page
    page.locator(".groma-stage").focus()
    for keys in ("s", "Enter", "ArrowRight", "ArrowDown", "Enter", "Escape"):
        page.keyboard.press(keys)
    for keys in ("p", *["ArrowRight"] * 6, *["ArrowDown"] * 16, "Enter"):
        page.keyboard.press(keys)
    scribble, point = tab.sent_regions(lambda: tab.ask("Describe"))
    assert follows(scribble["scribble"][0], [(320, 240), (326.4, 240), (326.4, 246.4)])
    assert point["point"] == pytest.approx((326.4 + 38.4, 246.4 + 102.4), abs=0.5)


def test_ten_thousand_points_are_one_sentence(tab: Tab) -> None:
    page = tab.page

    def forge(route: Route) -> None:
        request = json.loads(route.request.post_data or "{}")
        for value in request["data"]:
            if isinstance(value, dict) and value.get("regions"):
                value["regions"] = [{"scribble": [[[i % 640, 9] for i in range(10_000)]]}]
        route.continue_(post_data=json.dumps(request))

    tab.draw((300, 100, 350, 150))
    page.fill("#groma-question textarea", "What is [1]?")
    page.route("**/queue/join*", forge)
    page.click(IDLE)
    expect(page.locator(".toast-body")).to_contain_text("Region 1: It has more than 2,000 points.")
    page.unroute("**/queue/join*")
    expect(page.locator("#groma-question textarea")).to_have_value("What is [1]?")
    page.locator(".toast-close").click()
    page.click("[data-do=undo-stroke]")
    expect(page.locator(".groma-chip")).to_have_count(0)
    tab.ask("Describe")


def test_boxes_masks_or_nothing_of_any_turn(tab: Tab) -> None:
    page = tab.page
    shown, legend = page.locator(SHOWN), page.locator(".groma-legend li")
    tab.ask("Describe")
    tab.ask("How many?")
    expect(shown).to_have_count(2)
    expect(legend).to_have_text(["two things"] * 2)
    tab.page.locator("[data-boxes]").first.click()
    expect(shown).to_have_count(3)
    expect(legend).to_have_text(["a brown dog", "a red ball", "a tree"])
    page.click("[data-show=none]")
    expect(shown).to_have_count(0)
    tab.phrase("a red ball").hover()  # what is pointed at is shown all the same
    expect(tab.box("r1")).to_be_visible()
    page.click("[data-show=masks]")
    contours = page.locator(".groma-outlines .contour:not(.away)")
    expect(contours).to_have_count(3)
    expect(page.locator(".groma-hint")).to_contain_text("rough")
    path = page.locator(".contour[data-key=r1]").get_attribute("d") or ""
    points = [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]
    assert len(points) > 8  # the ball is round
    for axis in (0, 1):
        sides = [point[axis] for point in points]
        assert (min(sides), max(sides)) == pytest.approx(BALL[axis::2], abs=8)
    tab.ask("What is there?")  # of a new answer as well
    expect(contours).to_have_count(1)
    page.click("[data-show=boxes]")
    expect(contours).to_have_count(0)


def test_what_is_drawn_closer_is_exact(tab: Tab) -> None:
    page = tab.page
    page.mouse.move(*tab.at(400, 380))
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    percent = page.locator("[data-do=zoom-whole]")
    expect(percent).not_to_have_text("100 %")
    before = tab.at(400, 380)
    page.mouse.wheel(30, 20)
    assert tab.at(400, 380) == pytest.approx((before[0] - 30, before[1] - 20), abs=1.5)
    tab.draw((360, 350, 430, 420))
    (box,) = tab.sent_regions(lambda: tab.ask("Describe"))
    assert box == pytest.approx((360, 350, 430, 420), abs=1)
    page.locator(".groma-stage").focus()
    page.keyboard.press("+")
    expect(percent).not_to_have_text("100 %")
    page.keyboard.press("0")
    expect(percent).to_have_text("100 %")


def test_the_talk_follows_until_somebody_scrolls_up(tab: Tab) -> None:
    page = tab.page
    page.evaluate("document.querySelector('#groma-talk .html-container').scrollTop = 0")
    for _ in range(4):
        tab.ask("Describe")
    expect(tab.answers.last).to_be_in_viewport(ratio=1)
    tab.answers.first.scroll_into_view_if_needed()
    page.fill("#groma-question textarea", "a long story")
    page.click(IDLE)
    expect(tab.answers.last).to_contain_text("word word")
    expect(tab.answers.last).to_be_in_viewport()  # a new question is followed again
    tab.answers.first.scroll_into_view_if_needed()
    length = len(tab.answers.last.inner_text())
    page.wait_for_function(
        f"[...document.querySelectorAll('.groma-answer')].at(-1).innerText.length > {length + 50}"
    )
    expect(tab.answers.first).to_be_in_viewport()
    page.click("#groma-question button:text('Stop')")
    tab.wait()
    expect(page.locator(".groma-spoken")).to_contain_text("Groma: word")


def test_turns_can_be_copied_asked_anew_and_brought_back(tab: Tab) -> None:
    page = tab.page
    tab.draw((300, 100, 350, 150))
    for question in ("What is [1]?", "Describe", "How many?"):
        tab.ask(question)
    page.get_by_role("button", name="Copy: answer 2").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "There is a brown dog next to a red ball, and a tree behind."
    page.get_by_role("button", name="Edit question 1").click()
    expect(tab.answers).to_have_count(0)
    expect(page.locator("#groma-question textarea")).to_have_value("What is [1]?")
    expect(page.locator(".groma-box.draft")).to_have_count(1)
    page.click("[data-restore]")
    expect(tab.answers).to_have_count(3)
    page.click("button:text-is('Clear')")
    expect(tab.answers).to_have_count(0)
    page.click("[data-restore]")
    expect(tab.answers).to_have_count(3)
    expect(tab.box("u1")).to_have_count(1)


def test_a_new_picture_can_be_undone_and_an_example_forgets_its_question(
    tab: Tab, scene: Path
) -> None:
    page = tab.page
    tab.ask("Describe")
    page.locator("[data-example]").first.click()
    question = page.locator("#groma-question textarea")
    expect(question).not_to_have_value("")
    page.click("button:text-is('Describe')")
    expect(tab.answers).to_have_count(1)
    tab.wait()
    expect(question).to_have_value("")
    page.set_input_files(".groma-canvas input[type=file]", scene)
    expect(page.locator(".groma-note")).to_contain_text("A new picture")
    page.click("[data-restore]")
    expect(page.locator(".groma-note")).to_contain_text("The talk before is back")
    expect(tab.answers).to_have_count(1)


def test_nothing_keeps_people_out(tab: Tab, phone: Tab) -> None:
    for one in (tab, phone):
        one.draw((300, 100, 350, 150))
        one.page.click("[data-tool=lasso]")
        one.ask("Describe")
        one.page.click("text=Settings >> nth=0")
        assert serious(one.page) == []


def test_every_key_is_listed_on_the_page(tab: Tab) -> None:
    page, keys = tab.page, tab.page.locator(".groma-keys")
    tab.ask("Describe")
    question = page.locator("#groma-question textarea")
    question.press_sequentially("Why?")
    expect(question).to_have_value("Why?")
    expect(keys).not_to_have_attribute("open", "")
    question.fill("")
    page.locator(".groma-stage").focus()
    page.keyboard.press("?")
    expect(keys.locator("summary")).to_be_focused()
    listed = set(keys.locator("kbd").all_inner_texts())
    for button in page.locator(".groma-canvas").first.locator("button[title*='(']").all():
        key = (button.get_attribute("title") or "").partition("(")[2].rstrip(")")
        assert set(key.split("+") if len(key) > 1 else key) <= listed
    assert {"Enter", "Delete", "Escape", "@"} <= listed
    assert serious(page) == []
    page.keyboard.press("?")
    expect(keys.locator("table").first).to_be_hidden()
    page.locator(".groma-keys summary").click()
    expect(keys.locator("table").first).to_be_visible()
    page.locator(".groma-keys summary").click()


def test_a_phone_is_for_fingers(phone: Tab) -> None:
    page = phone.page
    phone.ask("Describe")
    sections = {"Settings": "Certain from", "Save and load": "Leave out below"}
    for section, inside in sections.items():
        if not page.get_by_label(f"range slider for {inside}").is_visible():
            page.click(f"text={section} >> nth=0")
    page.click("text=Make files of this talk")
    page.locator("a[download]").first.wait_for()
    assert small_targets(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    slider = page.get_by_label("range slider for Certain from")
    slider.tap(position={"x": 100, "y": 40})
    expect(page.get_by_label("number input for Certain from")).not_to_have_value("0.5")
    for section in sections:
        page.click(f"text={section} >> nth=0")
    phone.ask("Describe")
    expect(phone.answers.last).to_be_in_viewport(ratio=1)
    expect(page.locator(".groma-view")).to_be_in_viewport(ratio=1)


def test_two_fingers_look_closer_and_one_draws(phone: Tab) -> None:
    page = phone.page
    # Whoever touches the page is no longer taken to the newest answer.
    page.evaluate("() => { dispatchEvent(new Event('touchmove')); scrollTo(0, 0); }")
    finger = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        places = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": places})

    x, y = phone.at(400, 380)
    touch("touchStart", (x - 10, y))
    touch("touchMove", (x - 20, y))  # begins to draw
    touch("touchStart", (x - 20, y), (x + 20, y))
    touch("touchMove", (x - 40, y), (x + 40, y))
    touch("touchEnd")
    expect(page.locator("[data-do=zoom-whole]")).to_have_text("200 %")
    expect(page.locator(".groma-box.draft")).to_have_count(0)
    assert phone.at(400, 380) == pytest.approx((x, y), abs=2)
    page.tap("[data-tool=scribble]")
    line = [(370, 360), (400, 380), (430, 400)]
    touch("touchStart", phone.at(*line[0]))
    for point in line[1:]:
        touch("touchMove", phone.at(*point))
    touch("touchEnd")
    (scribble,) = phone.sent_regions(lambda: phone.ask("Describe"))
    assert follows(scribble["scribble"][0], line)


def test_at_twice_the_size_picture_and_answer_are_seen_together(
    browser: Browser, url: str, scene: Path
) -> None:
    context = browser.new_context(viewport={"width": 640, "height": 400}, device_scale_factor=2)
    tab = Tab(context.new_page(), url)
    tab.open(scene)
    tab.ask("Describe")
    tab.answers.last.scroll_into_view_if_needed()
    expect(tab.answers.last).to_be_in_viewport(ratio=1)
    expect(tab.page.locator(".groma-view")).to_be_in_viewport(ratio=0.9)
    assert tab.page.evaluate("document.documentElement.scrollWidth") <= 640
    assert tab.problems == []
    context.close()
