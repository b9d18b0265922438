"""A talk as a web page in one file."""

import base64
import re
from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from groma.chat.conversation import Conversation

from ..canvas.shown_boxes import shown_boxes
from ..shared.style_sheets import read_styles
from .talk_html import render_talk

HERE = Path(__file__).parent


def to_page(
    picture: Path, image: Image.Image, conversation: Conversation, certain: float = 0.0
) -> str:
    """The picture, the talk, and both lit by the other.

    Args:
        picture: the file the talk is about.
        image: its pixels.
        conversation: what was said.
        certain: what has a lower score is marked as uncertain.
    """
    page = (HERE / "talk_page.html").read_text(encoding="utf-8")
    regions = shown_boxes(conversation, certain=certain)["regions"]
    parts = {
        "STYLE": read_styles(),
        "SIZE": f"{image.width} {image.height}",
        "OUTLINES": "".join(_outline(region, min(image.size)) for region in regions),
        "BOXES": "".join(_box(region, image) for region in regions),
        "TALK": render_talk(conversation, certain=certain),
        "NAME": escape(picture.name),
        "RATIO": f"{image.width / image.height:.5f}",
        "PICTURE": _data_uri(image),
    }
    return re.sub("@@([A-Z]+)@@", lambda place: parts[place[1]], page)


def _box(region: dict[str, Any], image: Image.Image) -> str:
    x1, y1, x2, y2 = region["box"]
    left, top = 100 * x1 / image.width, 100 * y1 / image.height
    width, height = 100 * (x2 - x1) / image.width, 100 * (y2 - y1) / image.height
    label = " · ".join(str(part) for part in (region["user"], region["label"]) if part)
    classes = ["latest", *(["uncertain"] if region["uncertain"] else [])]
    if _lines(region):
        classes.append("outlined")
    dot = ""
    if "point" in (region["shape"] or ()):
        x, y = region["shape"]["point"]
        across, down = 100 * (x - x1) / (x2 - x1), 100 * (y - y1) / (y2 - y1)
        dot = f'<i class="groma-dot" style="left:{across:.2f}%;top:{down:.2f}%"></i>'
    doubt = "?" if region["uncertain"] else ""
    return (
        f'<div class="groma-box {" ".join(classes)}" tabindex="0" {_names(region)} '
        f'style="left:{left:.3f}%;top:{top:.3f}%;width:{width:.3f}%;height:{height:.3f}%;'
        f'--colour:{region["colour"]};--ink:{region["ink"]}">'
        f'{dot}<span class="groma-label">{escape(label)}{doubt}</span></div>'
    )


def _outline(region: dict[str, Any], side: int) -> str:
    """What no box can show, of a picture whose shorter side is given: a mask or what was drawn."""
    if not (lines := _lines(region)):
        return ""
    is_drawn = _is_scribble(region)
    path = "".join(_path(line) + ("" if is_drawn else "Z") for line in lines)
    look = f"--colour:{region['colour']}"
    if is_drawn:
        look += f";fill:none;stroke-width:{region['shape'].get('width') or max(1, side // 50):g}"
    kind = "stroke" if is_drawn else "contour"
    return f'<path class="{kind}" {_names(region)} style="{look}" d="{path}"/>'


def _is_scribble(region: dict[str, Any]) -> bool:
    return not region["polygons"] and "scribble" in (region["shape"] or ())


def _lines(region: dict[str, Any]) -> Sequence[Any]:
    """The lines [x, y], … around a region, or of its scribble; none of a box."""
    shape = region["shape"] or {}
    polygon = [shape["polygon"]] if "polygon" in shape else []
    return region["polygons"] or polygon or shape.get("scribble", [])


def _path(line: Sequence[Sequence[float]]) -> str:
    """A line as SVG draws it; one of a single place is a dot."""
    places = " ".join(f"{x:g},{y:g}" for x, y in line)
    return f"M{places}" + ("h.01" if len(line) == 1 else "")


def _names(region: dict[str, Any]) -> str:
    return f'data-key="{region["key"]}" data-twin="{region["twin"]}"'


def _data_uri(image: Image.Image) -> str:
    file = BytesIO()
    small = image.copy()
    small.thumbnail((2048, 2048))
    small.save(file, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
