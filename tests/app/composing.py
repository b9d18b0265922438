"""An input method, as it takes words of Japanese or Chinese from several keys."""

from playwright.sync_api import Locator, Page

_ENTER = """(field, type) => field.dispatchEvent(new KeyboardEvent(type, {
    key: "Enter", code: "Enter", keyCode: 13, isComposing: true, bubbles: true, cancelable: true
}))"""


class Composing:
    """A keyboard with an input method.

    Args:
        page: whose focused field is typed into.
    """

    def __init__(self, page: Page) -> None:
        self._protocol = page.context.new_cdp_session(page)

    def compose(self, text: str) -> None:
        """Show what may become of the keys so far."""
        place = {"selectionStart": len(text), "selectionEnd": len(text)}
        self._protocol.send("Input.imeSetComposition", {"text": text} | place)

    def commit(self, text: str) -> None:
        """Take the words that are meant."""
        self._protocol.send("Input.insertText", {"text": text})

    def press_enter(self, field: Locator) -> None:
        """The key that takes a word, as browsers send it on to the page."""
        for kind in ("keydown", "keypress", "keyup"):
            field.evaluate(_ENTER, kind)
