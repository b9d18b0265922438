"""What is trained on, to look at: boxes on the picture, and which tokens of the text are learnt."""

from collections.abc import Iterator
from itertools import groupby

import numpy as np
import supervision as sv
from PIL import Image

from groma.data.sample import GroundedSample
from groma.data.sources.items import Sample
from groma.data.tokenise import Written
from groma.drawing.boxes import draw_boxes
from groma.text.template import Template
from groma.tokens import GROUND_BOX, NEW_TOKENS, REFER_BOX
from groma.types import IGNORED

_LEARNT = ("⟦", "⟧")  # what stands around text that is learnt


def draw_sample(image: Image.Image, sample: Sample) -> Image.Image:
    """The picture with every box, its number and its name."""
    scale = np.array([image.width, image.height] * 2)
    boxes = np.array(sample.boxes, np.float32).reshape(-1, 4) * scale
    detections = sv.Detections(xyxy=boxes, class_id=np.arange(len(boxes)))
    names = sample.names or ("",) * len(boxes)
    return draw_boxes(
        image, detections, [f"{i} {name}".strip() for i, name in enumerate(names, start=1)]
    )


def describe_sample(sample: Sample) -> str:
    """Picture, size and boxes as text."""
    height, width = sample.size
    kind = "conversation" if isinstance(sample, GroundedSample) else f"head {sample.head}"
    lines = [f"{sample.picture} · {width}x{height} · {kind}"]
    for i, box in enumerate(sample.boxes):
        name = sample.names[i] if sample.names else ""
        lines.append(f"  {i + 1} {' '.join(f'{edge:.3f}' for edge in box)}  {name}".rstrip())
    return "\n".join(lines)


def mark_learnt(written: Written, template: Template) -> str:
    """A conversation as the model reads it, with marks around what is learnt, a turn per line."""
    return "".join(
        f"{_LEARNT[0]}{part}{_LEARNT[1]}\n" if learnt else part
        for part, learnt in learnt_parts(written, template)
    )


def learnt_parts(written: Written, template: Template) -> list[tuple[str, bool]]:
    """A conversation as the model reads it, in parts that are learnt as a whole, or not at all.

    Placeholders of boxes show which box they stand for.
    """
    spelt = list(zip(_spell(written, template), (written.labels != IGNORED).tolist(), strict=True))
    return [
        (b"".join(token for token, _ in tokens).decode("utf-8", "replace"), learnt)
        for learnt, tokens in groupby(spelt, key=lambda token: token[1])
    ]


def _spell(written: Written, template: Template) -> Iterator[bytes]:
    """Every token of a conversation as text."""
    boxes = {"refer": iter(written.refer.tolist()), "ground": iter(written.ground.tolist())}
    kinds = {template.tokens[REFER_BOX]: "refer", template.tokens[GROUND_BOX]: "ground"}
    for token in written.ids.tolist():
        if token in kinds:
            yield f"<box {next(boxes[kinds[token]]) + 1}>".encode()
        elif token >= template.tokens.base:
            yield NEW_TOKENS[token - template.tokens.base].encode()
        elif token == template.plain.eos:
            yield b"</s>"
        else:
            yield template.plain.to_bytes(token)
