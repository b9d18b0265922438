"""The review page: conversations that were made to learn from, to accept, edit or reject."""

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from groma.instruct.conversation_review import Review
from groma.types import GromaError

from ..shared.error_border import told, warn
from ..shared.gradio_components import Kept

HELP = (
    "A question says <3> for a region that is pointed at; an answer says [the red kite](3) for "
    "words that mean it, or (3, 4) for several. Changes are kept when you accept them."
)


@dataclass(frozen=True)
class ReviewView:
    """What the page shows.

    Attributes:
        index: of the conversation.
        picture: with marks; None where it cannot be read.
        text: the conversation as it is edited.
        status: where it stands, and how far the review is, as HTML.
        warning: sentences about what is wrong.
    """

    index: int
    picture: Image.Image | None
    text: str
    status: str
    warning: str = ""


class ReviewTab:
    """Handlers of the review page.

    Args:
        review: of a folder.
    """

    def __init__(self, review: Review) -> None:
        self.review = review

    def show(self, index: int, warning: str = "") -> ReviewView:
        """Show a conversation; one before the first or after the last is the nearest of them."""
        index = min(max(int(index), 0), len(self.review.keys) - 1)
        item = self.review.item(index)
        try:
            picture = self.review.picture(index)
        except GromaError as error:
            picture, warning = None, f"{warning} {error}".strip()
        counts = ", ".join(f"{count} {name}" for name, count in sorted(self.review.count().items()))
        status = (
            f"<p><strong>{index + 1} of {len(self.review.keys)}: {escape(item.verdict)}</strong> "
            f"{escape(item.picture)}</p><p>{counts}</p>"
        )
        return ReviewView(index, picture, item.text, status, warning)

    def accept(self, index: int, text: str) -> ReviewView:
        """Accept a conversation as it stands in the box, and go on to the next undecided one."""
        try:
            faults = self.review.accept(index, text)
        except GromaError as error:
            view = self.show(index, str(error))
            return ReviewView(index, view.picture, text, view.status, view.warning)
        warning = f"Accepted, although: {' '.join(faults)}" if faults else ""
        return self.show(self.review.next_undecided(index), warning)

    def reject(self, index: int, _text: str) -> ReviewView:
        """Leave a conversation out, and go on to the next undecided one."""
        self.review.reject(index)
        return self.show(self.review.next_undecided(index))

    def write(self) -> str:
        """Write the file of what is accepted; returns a sentence about it, as HTML."""
        return f"<p>The accepted conversations are in {escape(str(self.review.write()))}.</p>"


def add_page(blocks: gr.Blocks, tab: ReviewTab) -> None:
    """Add the review page, at /review, to a finished application.

    Args:
        blocks: the application.
        tab: the handlers.
    """
    with blocks.route("Review", "/review"):
        index = Kept(0)
        with gr.Row():
            with gr.Column(scale=6, min_width=300):
                picture = gr.Image(
                    type="pil", format="jpeg", label="Picture", interactive=False, height=560
                )
            with gr.Column(scale=5, min_width=300):
                status = gr.HTML()
                text = gr.Textbox(label="Conversation", lines=16, max_lines=30)
                # As HTML: Markdown would take the example for a link.
                gr.HTML(f"<p>{escape(HELP)}</p>")
                with gr.Row():
                    accept = gr.Button("Accept", variant="primary", min_width=60)
                    reject = gr.Button("Reject", variant="stop", min_width=60)
                with gr.Row():
                    back = gr.Button("Back", size="sm", min_width=60)
                    forward = gr.Button("Next", size="sm", min_width=60)
                    write = gr.Button("Write the file", size="sm", min_width=60)
                written = gr.HTML()
        work: dict[str, Any] = {
            "inputs": [index, text],
            "outputs": [index, picture, text, status],
            "api_visibility": "private",
        }
        accept.click(_updates(tab.accept), **work)
        reject.click(_updates(tab.reject), **work)
        back.click(_updates(lambda at, _: tab.show(at - 1)), **work)
        forward.click(_updates(lambda at, _: tab.show(at + 1)), **work)
        blocks.load(_updates(lambda *_: tab.show(tab.review.next_undecided(-1))), **work)
        write.click(told(tab.write), None, written, api_visibility="private")


def open_review(folder: Path) -> ReviewTab:
    """The review of a folder.

    Raises:
        GromaError: if `groma instruct` accepted nothing there.
    """
    review = Review(folder)
    if not review.keys:
        raise GromaError(f"{folder} holds no conversation to review.")
    return ReviewTab(review)


def _updates(handler: Callable[[int, str], ReviewView]) -> Callable[..., tuple]:
    def run(index: int, text: str) -> tuple:
        view = handler(index, text)
        if view.warning:
            warn(view.warning)
        return view.index, view.picture, view.text, view.status

    return told(run)
