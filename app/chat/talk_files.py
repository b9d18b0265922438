"""What people take away from a talk, and bring back."""

import base64
import json
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from groma.chat.conversation import Conversation
from groma.data.sources.groma_instruct import format_item
from groma.drawing.boxes import draw_boxes, regions_to_detections
from groma.drawing.outlines import outlines
from groma.foreign import load_json
from groma.image import load_image
from groma.instruction_sets.talks import talk_to_sample
from groma.named_regions import RegionRef
from groma.shapes import Mask
from groma.types import GromaError

from ..canvas.shown_boxes import colour_id, find_twins, region_key, shown_boxes
from ..shared.picture_files import add_folder, read_picture
from ..shared.style_sheets import read_styles
from .talk_html import render_talk

HERE = Path(__file__).parent


def write_files(picture: Path, conversation: Conversation) -> list[Path]:
    """Write a talk in every form.

    Args:
        picture: the file it is about.
        conversation: what was said, at least one turn.

    Returns:
        The marked picture, COCO and Groma-Instruct annotations, a web page and the talk itself,
        in a new folder.
    """
    image = read_picture(picture)
    name = picture.name
    texts = {
        "coco.json": _dump(to_coco(name, conversation)),
        "groma_instruct.json": _dump([to_instruct(name, conversation)]),
        "talk.html": to_page(picture, image, conversation),
        "talk.json": _dump(to_talk(picture, conversation)),
    }
    with _whole_folder() as folder:
        for file_name, text in texts.items():
            (folder / file_name).write_text(text, encoding="utf-8")
        mark(image, conversation).save(folder / "marked.png")
    return [folder / "marked.png", *(folder / file_name for file_name in texts)]


def mark(image: Image.Image, conversation: Conversation) -> Image.Image:
    """The picture with every region that was drawn or meant, each box once."""
    twins = find_twins(conversation)
    numbers = {twin: number for number, twin in twins.items()}
    found = [mention for mention in _mentions(conversation) if mention[0].user not in twins]
    regions = [region for region, _ in found]
    detections = regions_to_detections(regions, [phrase for _, phrase in found])
    detections.class_id = np.array([colour_id(region) for region in regions])
    users = [region.user or numbers.get(region.id) for region in regions]
    labels = [_label(*mention, user) for mention, user in zip(found, users, strict=True)]
    return draw_boxes(image, detections, labels)


def to_coco(file_name: str, conversation: Conversation) -> dict[str, Any]:
    """Regions as COCO annotations: boxes x, y, width, height in pixels.

    The phrase is the category, the certainty the score. A mask is there twice: `segmentation` has
    its outlines, which know no holes, `mask` its run lengths.
    """
    height, width = conversation.image_size
    found = [(region, phrase or "region") for region, phrase in _mentions(conversation)]
    names = list(dict.fromkeys(phrase for _, phrase in found))
    return {
        "info": {"description": "A talk with Groma"},  # pycocotools before 2.0.11 needs it
        "images": [{"id": 1, "file_name": file_name, "height": height, "width": width}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(names, start=1)],
        "annotations": [
            {
                "id": number,
                "image_id": 1,
                "category_id": 1 + names.index(phrase),
                "bbox": _to_xywh(region.box),
                "area": _to_xywh(region.box)[2] * _to_xywh(region.box)[3],
                "iscrowd": 0,
                "segmentation": [],
                "score": region.score,
            }
            | ({} if region.mask is None else _to_segmentation(region.mask))
            for number, (region, phrase) in enumerate(found, start=1)
        ],
    }


def to_instruct(file_name: str, conversation: Conversation) -> dict[str, Any]:
    """One item of a Groma-Instruct file; see `groma.data.sources.groma_instruct`."""
    return format_item(talk_to_sample(file_name, conversation))


def to_talk(picture: Path, conversation: Conversation) -> dict[str, Any]:
    """A talk with its picture, which `read_talk` reads."""
    return {
        "groma_talk": 1,
        "file_name": picture.name,
        "picture": base64.b64encode(picture.read_bytes()).decode(),
        "conversation": conversation.to_dict(),
    }


def read_talk(file: Path) -> tuple[Path, Conversation]:
    """Read what `to_talk` made.

    Args:
        file: JSON.

    Returns:
        The picture in a new folder, and what was said about it.

    Raises:
        GromaError: if it is no such file.
    """
    try:
        data = load_json(file.read_bytes())
        content = base64.b64decode(data["picture"], validate=True)
        conversation = Conversation.from_dict(data["conversation"])
    except GromaError:
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise GromaError("This file is no talk that Groma saved.") from error
    image = load_image(content)
    if conversation.image_size != (image.height, image.width):
        raise GromaError("This file is no talk that Groma saved: its picture has another size.")
    # Written anew: nothing of a stranger's file but its pixels is kept.
    with _whole_folder() as folder:
        image.save(folder / "picture.png")
    return folder / "picture.png", conversation


def to_page(picture: Path, image: Image.Image, conversation: Conversation) -> str:
    """A web page in one file: the picture, the talk, and both lit by the other."""
    page = (HERE / "talk_page.html").read_text(encoding="utf-8")
    said = [region for turn in conversation.turns for region in turn.reply.regions]
    masks = {region_key(region): region.mask for region in said}
    parts = {
        "STYLE": read_styles(),
        "BOXES": "".join(
            _page_box(region, image, masks.get(region["key"]) or masks.get(region["twin"]))
            for region in shown_boxes(conversation)["regions"]
        ),
        "TALK": render_talk(conversation),
        "NAME": escape(picture.name),
        "RATIO": f"{image.width / image.height:.5f}",
        "PICTURE": _data_uri(image),
    }
    for name, content in parts.items():
        page = page.replace(f"@@{name}@@", content)
    return page


@contextmanager
def _whole_folder() -> Generator[Path]:
    """A new folder, of which nothing is left if it cannot be filled."""
    folder = add_folder()
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _page_box(region: dict[str, Any], image: Image.Image, mask: Mask | None) -> str:
    x1, y1, x2, y2 = region["box"]
    outline = ""
    if mask is not None:
        lines = (" ".join(f"{x:g},{y:g}" for x, y in polygon) for polygon in outlines(mask))
        outline = (
            f'<svg viewBox="{x1:g} {y1:g} {x2 - x1:g} {y2 - y1:g}" preserveAspectRatio="none">'
            f'<path d="{"".join(f"M{line}Z" for line in lines)}"/></svg>'
        )
    left, top = 100 * x1 / image.width, 100 * y1 / image.height
    width, height = 100 * (x2 - x1) / image.width, 100 * (y2 - y1) / image.height
    label = " · ".join(str(part) for part in (region["user"], region["label"]) if part)
    return (
        f'<div class="groma-box latest" tabindex="0" data-key="{region["key"]}" '
        f'data-twin="{region["twin"]}" '
        f'style="left:{left:.3f}%;top:{top:.3f}%;width:{width:.3f}%;height:{height:.3f}%;'
        f'--colour:{region["colour"]};--ink:{region["ink"]}">'
        f'{outline}<span class="groma-label">{escape(label)}</span></div>'
    )


def _data_uri(image: Image.Image) -> str:
    file = BytesIO()
    small = image.copy()
    small.thumbnail((2048, 2048))
    small.save(file, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _mentions(conversation: Conversation) -> list[tuple[RegionRef, str]]:
    """Every region the user drew or a reply means, with what it was called first."""
    found = {
        region_key(region): (region.ref(1.0), "")
        for region in conversation.regions
        if region.user is not None
    }
    for turn in conversation.turns:
        for span in turn.reply.spans:
            for region in span.regions:
                phrase = turn.reply.phrase(span)
                if not found.get(region_key(region), (None, ""))[1]:
                    found[region_key(region)] = (region, phrase)
    return list(found.values())


def _label(region: RegionRef, phrase: str, user: int | None) -> str:
    number = f"[{user}]" if user else ""
    return f"{number} {phrase} {region.score:.2f}".strip() if phrase else number


def _to_xywh(box: Sequence[float]) -> list[float]:
    x1, y1, x2, y2 = box
    return [x1, y1, x2 - x1, y2 - y1]


def _to_segmentation(mask: Mask) -> dict[str, Any]:
    polygons = [[at for place in polygon for at in place] for polygon in outlines(mask)]
    area = int(mask.mask(mask.size).sum())
    return {"segmentation": polygons, "area": area, "mask": mask.to_run_lengths()}


def _dump(data: Any) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False)
