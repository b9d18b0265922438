"""The named endpoints /ask and /regions, for programs; they keep nothing."""

from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import spaces
from PIL import Image

from app.pictures import read_picture
from groma.chat import Groma
from groma.conversation import GenerationSettings
from groma.types import GromaError


def add(groma: Groma, queue: dict[str, Any]) -> None:
    """Add both endpoints to the page being built.

    The inputs are hidden components rather than plain values: so a file can only be one that the
    caller uploaded.

    Args:
        groma: the model.
        queue: the line in which work of the model waits.
    """
    with gr.Row(visible=False):
        image = gr.File(label="image")
        message = gr.Textbox(label="message")
        regions = gr.JSON([], label="regions")
        settings = gr.JSON({}, label="settings")
        answer = gr.JSON(label="answer")
        ask_button, regions_button = gr.Button(), gr.Button()
    ask_button.click(
        spaces.GPU(duration=60)(partial(ask, groma)),
        [image, message, regions, settings],
        answer,
        api_name="ask",
        api_description="Ask about a picture; regions are xyxy in pixels, settings are optional.",
        **queue,
    )
    regions_button.click(
        spaces.GPU(duration=30)(partial(find_regions, groma)),
        [image, settings],
        answer,
        api_name="regions",
        api_description="What the region proposer finds in a picture, best first.",
        **queue,
    )


def ask(groma: Groma, image: str | None, message: str, regions: Any, settings: Any) -> dict:
    """Answer one question about one picture.

    Args:
        groma: the model.
        image: an uploaded file.
        message: the question; `[K]` means region K.
        regions: boxes xyxy in pixels of the picture.
        settings: fields of `GenerationSettings`.

    Returns:
        What `groma ask --json` prints.

    Raises:
        Error: one sentence about what is wrong with the request.
    """
    try:
        chat = groma.chat(_read(image), **_checked(settings))
        return chat.ask(message or "", regions or ()).to_dict()
    except GromaError as error:
        raise gr.Error(str(error), print_exception=False) from error


def find_regions(groma: Groma, image: str | None, settings: Any) -> dict:
    """List the regions of one picture.

    Args:
        groma: the model.
        image: an uploaded file.
        settings: fields of `GenerationSettings`.

    Returns:
        What `groma regions --json` prints.

    Raises:
        Error: one sentence about what is wrong with the request.
    """
    try:
        picture = _read(image)
        found = groma.regions(picture, **_checked(settings))
    except GromaError as error:
        raise gr.Error(str(error), print_exception=False) from error
    size = [picture.height, picture.width]
    return {"image_size": size, "regions": [region.to_dict() for region in found]}


def _read(image: str | None) -> Image.Image:
    if image is None:
        raise GromaError("Please send a picture.")
    return read_picture(Path(image))


def _checked(settings: Any) -> dict[str, Any]:
    """Settings as the model takes them.

    Raises:
        GromaError: if there is an unknown one, or a value is out of range or of the wrong type.
    """
    try:
        GenerationSettings(**(settings or {}))
    except TypeError as error:
        raise GromaError(f"The settings cannot be used: {error}.") from error
    return dict(settings or {})
