"""What people take away from a talk, and bring back."""

import base64
import json
import shutil
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from groma.chat.conversation import Conversation, GroundedReply
from groma.data import found_things
from groma.data.found_things import FoundIn, FoundThing
from groma.data.sources.groma_instruct import format_item
from groma.drawing.boxes import draw_boxes, regions_to_detections
from groma.foreign import load_json
from groma.image import load_image
from groma.instruction_sets.talks import talk_to_sample
from groma.named_regions import RegionRef
from groma.types import GromaError

from ..canvas.shown_boxes import as_said, colour_id, doubts, find_twins, region_key, shown_boxes
from ..shared.picture_files import add_folder, read_picture
from .talk_page import to_page


def write_files(
    picture: Path, conversation: Conversation, certain: float = 0.0, least: float = 0.0
) -> list[Path]:
    """Write a talk in every form.

    Args:
        picture: the file it is about.
        conversation: what was said, at least one turn.
        certain: what has a lower score is marked as uncertain.
        least: what has a lower score is left out, but for the talk itself.

    Returns:
        In a new folder a zip with the picture and all that follows; the marked picture, COCO and
        Groma-Instruct annotations, a web page and the talk itself.
    """
    image = read_picture(picture)
    name, sure = picture.name, surer(conversation, least)
    texts = {
        "coco.json": _dump(to_coco(name, sure)),
        "groma_instruct.json": _dump([to_instruct(name, sure)]),
        "talk.html": to_page(picture, image, sure, certain),
        "talk.json": _dump(to_talk(picture, conversation)),
    }
    with _whole_folder() as folder:
        for file_name, text in texts.items():
            (folder / file_name).write_text(text, encoding="utf-8")
        mark(image, sure, certain).save(folder / "marked.png")
        files = [folder / file_name for file_name in ("marked.png", *texts)]
        whole = folder / f"{picture.stem}.zip"
        with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
            archive.write(picture, f"images/{name}")
            for file in files:
                archive.write(file, file.name)
    return [whole, *files]


def surer(conversation: Conversation, least: float) -> Conversation:
    """A talk without regions of a lower score or a "may be", if any; all its words stay."""

    def surer_reply(reply: GroundedReply) -> GroundedReply:
        kept = [(span, set(span.regions) - set(doubts(reply, span, least))) for span in reply.spans]
        spans = [
            replace(s, regions=tuple(filter(sure.__contains__, s.regions))) for s, sure in kept
        ]
        return replace(reply, spans=tuple(span for span in spans if span.regions))

    turns = [replace(turn, reply=surer_reply(turn.reply)) for turn in conversation.turns]
    return replace(conversation, turns=tuple(turns))


def mark(image: Image.Image, conversation: Conversation, certain: float = 0.0) -> Image.Image:
    """The picture with every region that was drawn or meant, each box once, as it was drawn.

    What has a lower score than `certain` gets a question mark.
    """
    shown = shown_boxes(conversation, certain=certain)["regions"]
    doubted = {region["key"] for region in shown if region["uncertain"]}
    mentions = _mentions(conversation)
    ids = {region.id for region, _ in mentions}
    twins = {number: twin for number, twin in find_twins(conversation).items() if twin in ids}
    numbers = {twin: number for number, twin in twins.items()}
    found = [mention for mention in mentions if mention[0].user not in twins]
    regions = [region for region, _ in found]
    detections = regions_to_detections(regions, [phrase for _, phrase in found])
    detections.class_id = np.array([colour_id(region) for region in regions])
    users = [region.user or numbers.get(region.id) for region in regions]
    labels = [
        _label(region, phrase + "?" * (region_key(region) in doubted), user)
        for (region, phrase), user in zip(found, users, strict=True)
    ]
    drawn = {region.user: region.shape for region in conversation.regions if region.user}
    return draw_boxes(image, detections, labels, [drawn.get(user) for user in users])


def to_coco(file_name: str, conversation: Conversation) -> dict[str, Any]:
    """Regions as COCO annotations; see `groma.data.found_things`."""
    things = [
        FoundThing(phrase, region.box, region.score, region.mask)
        for region, phrase in _mentions(conversation)
    ]
    picture = FoundIn(file_name, conversation.image_size, things)
    return found_things.to_coco([picture], "A talk with Groma")


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


@contextmanager
def _whole_folder() -> Generator[Path]:
    """A new folder, of which nothing is left if it cannot be filled."""
    folder = add_folder()
    try:
        yield folder
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _mentions(conversation: Conversation) -> list[tuple[RegionRef, str]]:
    """Every region the user drew or a reply means, with what it was called first."""
    found = {
        region_key(region): (region.ref(1.0), "")
        for region in conversation.regions
        if region.user is not None
    }
    for turn in conversation.turns:
        for span in as_said(turn.reply).spans:
            for region in span.regions:
                phrase = turn.reply.phrase(span)
                if not found.get(region_key(region), (None, ""))[1]:
                    found[region_key(region)] = (region, phrase)
    return list(found.values())


def _label(region: RegionRef, phrase: str, user: int | None) -> str:
    number = f"[{user}]" if user else ""
    return f"{number} {phrase} {region.score:.2f}".strip() if phrase else number


def _dump(data: Any) -> str:
    return json.dumps(data, indent=1, ensure_ascii=False)
