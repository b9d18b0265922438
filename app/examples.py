"""Pictures with questions to try."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

from groma.image import load_image
from groma.types import Box, to_box

FOLDER = Path(__file__).parents[1] / "assets" / "examples"


@dataclass(frozen=True)
class Example:
    """Something to try.

    Attributes:
        picture: a file.
        question: what to ask.
        boxes: user regions of the question, xyxy in pixels.
    """

    picture: Path
    question: str
    boxes: tuple[Box, ...] = ()


def read_examples(folder: Path = FOLDER) -> list[Example]:
    """Examples of a folder's `examples.json`: a list of `image`, `question` and `boxes`.

    Args:
        folder: where the list and its pictures are; there need not be one.
    """
    index = folder / "examples.json"
    if not index.is_file():
        return []
    return [
        Example(
            folder / entry["image"],
            entry["question"],
            tuple(to_box(box) for box in entry.get("boxes", ())),
        )
        for entry in json.loads(index.read_text(encoding="utf-8"))
    ]


def pick(examples: Sequence[Example], data: Any) -> Example | None:
    """The example that a browser asks for; None if there is no such one."""
    index = data.get("index") if isinstance(data, dict) else None
    return examples[index] if isinstance(index, int) and 0 <= index < len(examples) else None


def render_examples(examples: Sequence[Example]) -> str:
    """A strip of buttons: small pictures with their questions."""
    buttons = [
        f'<button type="button" data-example="{i}" '
        f'title="{escape(example.question)}"><img alt="" src="{_thumbnail(example.picture)}">'
        f"<span>{escape(example.question)}</span></button>"
        for i, example in enumerate(examples)
    ]
    strip = "".join(buttons)
    return f'<div class="groma-examples" role="group" aria-label="Examples">{strip}</div>'


def _thumbnail(picture: Path) -> str:
    image = load_image(picture)
    image.thumbnail((264, 264))
    file = BytesIO()
    image.save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
