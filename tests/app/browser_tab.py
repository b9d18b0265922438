"""A page of the application in a browser, and what people do with it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, FloatRect, Locator, Page, Request, expect

from tests.app.scripted import SIZE

IDLE = "#groma-question button:text('Ask')"
BUSY = "#groma-question button:text('Stop')"
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "color_scheme": "dark",
}
"""Of a browser's context."""


class Tab:
    """A page of the application, and what people do with it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        page.set_default_timeout(60_000)
        expect.set_options(timeout=60_000)
        page.goto(url)
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        expect(page.locator(".groma-drop")).to_be_visible()

    def open(self, file: Path) -> None:
        self.page.set_input_files(".groma-canvas input[type=file]", file)
        self.page.locator("[data-do=explore]", has_text="3").wait_for()
        self.page.wait_for_function("document.querySelector('.groma-stage img').complete")

    @property
    def frame(self) -> FloatRect:
        frame = self.page.locator(".groma-stage img").bounding_box()
        assert frame
        return frame

    def at(self, x: float, y: float, size: tuple[int, int] = SIZE) -> tuple[float, float]:
        """Where a pixel of the picture is on the page."""
        frame = self.frame
        across, down = x / size[0], y / size[1]
        return frame["x"] + across * frame["width"], frame["y"] + down * frame["height"]

    def draw(self, box: tuple[float, ...], size: tuple[int, int] = SIZE) -> None:
        mouse = self.page.mouse
        mouse.move(*self.at(*box[:2], size))
        mouse.down()
        mouse.move(*self.at(box[0] + 9, box[1] + 9, size), steps=2)
        mouse.move(*self.at(*box[2:], size), steps=2)
        mouse.up()

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.at(x, y))

    def ask(self, question: str = "") -> None:
        """Ask and wait for the whole answer."""
        before = self.answers.count()
        if question:
            self.page.fill("#groma-question textarea", question)
        self.page.click(IDLE)
        expect(self.answers).to_have_count(before + 1)
        self.wait()

    def wait(self) -> None:
        expect(self.page.locator(IDLE)).to_be_visible()

    def sent_regions(self, action: Callable[[], None]) -> list:
        """What was drawn, as it is in the next request that carries a canvas."""

        def has_canvas(request: Request) -> bool:
            return "queue/join" in request.url and '"regions"' in (request.post_data or "")

        with self.page.expect_request(has_canvas) as info:
            action()
        data = json.loads(info.value.post_data or "")["data"]
        return next(value["regions"] for value in data if isinstance(value, dict))

    @property
    def answers(self) -> Locator:
        return self.page.locator(".groma-answer")

    def phrase(self, text: str) -> Locator:
        return self.page.locator(".groma-answer .groma-phrase", has_text=text)

    def box(self, key: str) -> Locator:
        return self.page.locator(f'.groma-box[data-key="{key}"]')


@contextmanager
def on_a_phone(browser: Browser, url: str, scene: Path) -> Iterator[Tab]:
    """The page on a small dark screen that is touched, with a picture."""
    context = browser.new_context(**PHONE)
    tab = Tab(context.new_page(), url)
    tab.open(scene)
    yield tab
    assert tab.problems == []
    context.close()


def serious(page: Page) -> list[str]:
    """What axe-core finds that keeps people out."""
    found = Axe().run(page).response["violations"]
    return [
        f"{rule['id']}: {node['target']}"
        for rule in found
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def small_targets(page: Page) -> list[str]:
    """What can be touched and is smaller, as far as it is seen, than a fingertip."""
    targets = "button:not([tabindex='-1']), select, textarea, summary, a[download], "
    targets += "label:has(input), input:not([type=file], [type=checkbox], [type=radio])"
    return page.evaluate(
        """(targets) => [...document.querySelectorAll(targets)]
            .filter((one) => one.checkVisibility({ visibilityProperty: true }))
            .filter((one) => {
                const { width, height } = one.getBoundingClientRect();
                const cut = one.parentElement.clientHeight || height;
                return width && Math.min(width, height, cut) < 43.5;
            })
            .map((one) => one.outerHTML.slice(0, 90))""",
        targets,
    )
