"""Pictures with questions to try."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from groma.config import NUM_REGION_TOKENS
from groma.drawing.boxes import region_colour
from groma.image import load_image
from groma.types import Box, to_box

THUMBNAIL = (264, 168)
"""Width and height in pixels; it is shown at half of that."""

_INSTALLED = Path(__file__).parents[1] / "assets"
ASSETS = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "assets"
SCENES, PHOTOGRAPHS = ASSETS / "examples", ASSETS / "photographs"


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


def examples_of(model: str) -> list[Example]:
    """What to try with a model: illustrated scenes with groma-mini, photographs with any other."""
    return read_examples(SCENES if model == "groma-mini" else PHOTOGRAPHS)


def read_examples(folder: Path) -> list[Example]:
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


@cache
def strip_of(model: str) -> str:
    """The examples of a model as HTML; made once, because pictures are made small for it."""
    return render_examples(examples_of(model))


def render_examples(examples: Sequence[Example]) -> str:
    """A strip of buttons: small pictures with their questions; "" without any."""
    if not examples:
        return ""
    strip = "".join(_button(number, example) for number, example in enumerate(examples))
    return (
        '<div class="groma-strip" role="group" aria-label="Examples"><p>Examples</p>'
        f'<div class="groma-examples">{strip}</div></div>'
    )


def _button(number: int, example: Example) -> str:
    question, seen = escape(example.question), f"Picture of {escape(example.picture.stem)}"
    drawn = ", [1] drawn" if example.boxes else ""
    return (
        f'<button type="button" data-example="{number}" title="{question}">'
        f'<img alt="{seen}{drawn}:" src="{_thumbnail(example)}"><span>{question}</span></button>'
    )


def _thumbnail(example: Example) -> str:
    """The picture with the question's boxes, cut so that they are in it."""
    image = load_image(example.picture)
    scale = max(side / full for side, full in zip(THUMBNAIL, image.size, strict=True))
    width, height = (round(side * scale) for side in image.size)
    image = image.resize((width, height), Image.Resampling.LANCZOS)
    boxes = [tuple(side * scale for side in box) for box in example.boxes]
    draw = ImageDraw.Draw(image)
    for number, box in enumerate(boxes, start=1):
        draw.rectangle(box, outline="white", width=8)
        draw.rectangle(box, outline=region_colour(NUM_REGION_TOKENS - number), width=6)
    x1, y1, x2, y2 = boxes[0] if boxes else (0, 0, width, height)
    left = min(max(0, round((x1 + x2 - THUMBNAIL[0]) / 2)), width - THUMBNAIL[0])
    top = min(max(0, round((y1 + y2 - THUMBNAIL[1]) / 2)), height - THUMBNAIL[1])
    image = image.crop((left, top, left + THUMBNAIL[0], top + THUMBNAIL[1]))
    file = BytesIO()
    image.save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
