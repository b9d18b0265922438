"""The named endpoints /ask and /regions, for programs; they keep nothing."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import spaces
from PIL import Image

from groma.chat.chat import Groma
from groma.chat.conversation import GroundedReply, check_question
from groma.chat.settings import GenerationSettings
from groma.types import GromaError

from ..shared.error_border import answered
from ..shared.gpu_memory import (
    SECONDS_TO_START,
    free_memory,
    retrying,
    seconds_to_answer,
    stream_retrying,
)
from ..shared.gradio_components import SentFile
from ..shared.picture_files import read_picture

SECONDS_BETWEEN_LOOKS = 0.5
"""For whoever asked."""


def add(groma: Groma, queue: dict[str, Any], free: Callable[[], None] = free_memory) -> None:
    """Add both endpoints to the page being built.

    The inputs are hidden components rather than plain values: so a file can only be one that the
    caller uploaded.

    Args:
        groma: the model.
        queue: the line in which work of the model waits.
        free: frees memory where there is too little.
    """
    with gr.Row(visible=False):
        image = SentFile(label="image")
        message = gr.Textbox(label="message")
        regions = gr.JSON([], label="regions")
        settings = gr.JSON({}, label="settings")
        answer = gr.JSON(label="answer")
        ask_button, regions_button = gr.Button(), gr.Button()
    ask_button.click(
        spaces.GPU(duration=_seconds)(partial(ask, groma, free=free)),
        [image, message, regions, settings],
        answer,
        api_name="ask",
        api_description="Ask about a picture; regions are boxes x1, y1, x2, y2 or other shapes in "
        "pixels, settings are optional.",
        **queue,
    )
    regions_button.click(
        spaces.GPU(duration=SECONDS_TO_START)(partial(find_regions, groma, free=free)),
        [image, settings],
        answer,
        api_name="regions",
        api_description="What the region proposer finds in a picture, best first.",
        **queue,
    )


def ask(
    groma: Groma,
    image: str | None,
    message: str,
    regions: Any,
    settings: Any,
    free: Callable[[], None] = free_memory,
) -> Generator[dict]:
    """Answer one question about one picture; the answer ends when its caller leaves.

    Args:
        groma: the model.
        image: an uploaded file.
        message: the question; `[K]` means region K.
        regions: see `groma.shapes.parse_shape`.
        settings: fields of `GenerationSettings`; and `masks`, whether the whole answer has a mask
            for every region.
        free: frees memory where there is too little.

    Yields:
        The answer as it grows, now and then; the last is whole, as `groma ask --json` prints it.

    Raises:
        Error: one sentence about what is wrong with the request.
    """
    with answered():
        drawn = () if regions is None else regions
        check_question(message, drawn)
        masks, settings = _wants_masks(settings)
        options, picture = _checked(settings), _read(image)
        with closing(
            stream_retrying(
                lambda: groma.chat(picture, **options).stream(message, regions=drawn), free
            )
        ) as replies:
            for reply in _now_and_then(replies):
                if masks and reply.finish != "streaming":
                    reply = reply.masked(groma.look_for_masks(picture))
                yield reply.to_dict()


def find_regions(
    groma: Groma, image: str | None, settings: Any, free: Callable[[], None] = free_memory
) -> dict:
    """List the regions of one picture.

    Args:
        groma: the model.
        image: an uploaded file.
        settings: fields of `GenerationSettings`.
        free: frees memory where there is too little.

    Returns:
        What `groma regions --json` prints.

    Raises:
        Error: one sentence about what is wrong with the request.
    """
    with answered():
        options, picture = _checked(settings), _read(image)
        found = retrying(lambda: groma.regions(picture, **options), free)
        size = [picture.height, picture.width]
        return {"image_size": size, "regions": [region.to_dict() for region in found]}


def _seconds(image: str | None, message: str, regions: Any, settings: Any) -> int:  # noqa: ARG001
    """Seconds of GPU that a question may need; ZeroGPU calls it with the inputs of `/ask`."""
    return seconds_to_answer(settings)


def _now_and_then(replies: Iterator[GroundedReply]) -> Iterator[GroundedReply]:
    """Some of the growing replies, and the last.

    After each, Gradio looks whether anybody still listens.
    """
    told_at = time.monotonic()
    for reply in replies:
        if reply.finish != "streaming" or time.monotonic() - told_at > SECONDS_BETWEEN_LOOKS:
            yield reply
            told_at = time.monotonic()


def _read(image: str | None) -> Image.Image:
    if image is None:
        raise GromaError("Please send a picture.")
    return read_picture(Path(image))


def _wants_masks(settings: Any) -> tuple[bool, Any]:
    """Whether masks are wanted, and the other settings.

    Raises:
        GromaError: if that is neither true nor false.
    """
    if not isinstance(settings, dict) or "masks" not in settings:
        return False, settings
    others = {name: value for name, value in settings.items() if name != "masks"}
    if not isinstance(settings["masks"], bool):
        raise GromaError("masks must be true or false.")
    return settings["masks"], others


def _checked(settings: Any) -> dict[str, Any]:
    """Settings as the model takes them.

    Raises:
        GromaError: if there is an unknown one, or a value is of another kind or out of range.
    """
    return asdict(GenerationSettings.from_dict({} if settings is None else settings))
