"""Items to look at: boxes on the picture, and exactly what the model would learn."""

import numpy as np
import supervision as sv
from PIL import Image

from groma.data.sample import GroundedSample
from groma.data.set_preview import learnt_parts
from groma.data.sources.groma_instruct import GPT, PHRASE
from groma.data.tokenise import write
from groma.drawing.boxes import draw_boxes
from groma.image import load_image
from groma.instruction_sets.doctor.box_layouts import is_four_numbers
from groma.instruction_sets.readers.set_items import InstructionSet, Item
from groma.text.template import Template
from groma.tokens import GROUND_BOX
from groma.types import Box, GromaError, Size


def overlay(instructions: InstructionSet, number: int) -> Image.Image:
    """An item's boxes as they are read now, on its picture; what is outside is cut.

    Returns a new picture; a box has its number, from 1 as on every canvas and in `supervised_text`,
    and the words that mean it. Raises `GromaError` if there is no item of this number, or its
    picture cannot be read.
    """
    item = instructions.find(number)
    file = instructions.picture(item)
    if file.path is None:
        raise GromaError(file.reason or "This item has no picture.")
    image = load_image(file.path)
    size = image.height, image.width
    boxes = {
        i: box
        for i, raw in enumerate(item.boxes)
        if (box := _visible(raw, item.size or size, size))
    }
    names = _names(item)
    detections = sv.Detections(
        xyxy=np.array([*boxes.values()], np.float32).reshape(-1, 4),
        class_id=np.array([*boxes], dtype=int),
    )
    return draw_boxes(image, detections, [f"{i + 1} {names.get(i, '')}".strip() for i in boxes])


def supervised_text(
    sample: GroundedSample, template: Template, limit: int
) -> tuple[tuple[str, bool], ...]:
    """Exactly what the model reads of a sample with at least one turn.

    `limit` is the most tokens, before picture and regions are put in; whole turns beyond are cut.
    Returns parts of the text in order, each with whether it is learnt. Places for boxes are spelt
    `<box N>`, N from 1.
    """
    return tuple(learnt_parts(write(sample, template, limit), template))


def _visible(box: tuple[float, ...], frame: Size, size: Size) -> Box | None:
    """The part of a box that is in a picture of `size` (H, W), xyxy in its pixels, or None.

    The box is x, y, width, height in pixels of `frame`, (H, W).
    """
    if not is_four_numbers(box):
        return None
    x, y, width, height = box
    down, across = (to / of for to, of in zip(size, frame, strict=True))
    x1, x2 = (min(max(edge * across, 0.0), size[1]) for edge in sorted((x, x + width)))
    y1, y2 = (min(max(edge * down, 0.0), size[0]) for edge in sorted((y, y + height)))
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def _names(item: Item) -> dict[int, str]:
    """The words that mean each box first."""
    names: dict[int, str] = {}
    for message in item.messages:
        if message.role == GPT:
            given = iter(message.boxes)
            for phrase in PHRASE.finditer(message.text):
                for _ in range(phrase["boxes"].count(GROUND_BOX)):
                    names.setdefault(next(given, -1), (phrase["words"] or "").strip())
    return names
