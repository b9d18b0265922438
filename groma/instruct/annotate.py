"""Grounded captions and boxes for every picture of a folder, by a model of ours."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from groma.chat.chat import Groma
from groma.chat.conversation import GroundedReply
from groma.data.file_names import find_picture
from groma.data.sources.groma_instruct import format_item
from groma.image import ImageSource
from groma.instruct.journal import Journal
from groma.instruct.output import COCO, write_items, write_json
from groma.instruction_sets.talks import talk_to_sample
from groma.types import GromaError

QUESTION = "Describe the picture."

Entry = dict[str, Any]


def annotate(
    groma: Groma,
    folder: Path,
    keys: Sequence[str],
    journal: Journal,
    question: str = QUESTION,
    **settings: Any,
) -> None:
    """Ask one question about every picture; each is in the journal as soon as it is done.

    Args:
        groma: the model.
        folder: of the pictures.
        keys: names of all pictures; those in the journal are left out.
        journal: of what became of them.
        question: about every picture.
        settings: fields of `GenerationSettings`.
    """
    todo = [key for key in keys if key not in journal.entries]
    for key in tqdm(todo, initial=len(keys) - len(todo), total=len(keys), unit="picture"):
        try:
            journal.append(
                annotate_one(groma, key, find_picture(folder, key), question, **settings)
            )
        except GromaError as error:
            journal.append({"key": key, "status": "rejected", "reasons": [str(error)]})


def annotate_one(
    groma: Groma, name: str, picture: ImageSource, question: str = QUESTION, **settings: Any
) -> Entry:
    """Ask one question about one picture.

    Returns:
        An entry of the journal: the item in Groma-Instruct JSON, and the boxes, each with the
        phrase that means it and how sure the model is.

    Raises:
        GromaError: if there is no such picture, or the question cannot be asked.
    """
    chat = groma.chat(picture)
    reply = chat.ask(question, **settings)
    entry: Entry = {"key": name, "status": "accepted", "reasons": []}
    if not reply.text.strip():
        return entry | {"status": "rejected", "reasons": ["The model said nothing."]}
    sample = talk_to_sample(name, chat.conversation)
    return entry | {
        "item": format_item(sample),
        "size": list(reply.image_size),
        "caption": " ".join(reply.text.split()),
        "boxes": _boxes(reply),
    }


def write_annotations(folder: Path, keys: Iterable[str], entries: dict[str, Entry]) -> None:
    """Write what the journal holds as Groma-Instruct and as COCO annotations.

    Args:
        folder: of the run.
        keys: names of the pictures, in the order of the files.
        entries: what became of them.
    """
    keys = list(keys)
    write_items(folder, keys, entries)
    done = [entries[key] for key in keys if key in entries]
    write_json(folder / COCO, to_coco(entry for entry in done if entry["status"] == "accepted"))


def to_coco(entries: Iterable[Entry]) -> dict[str, Any]:
    """COCO annotations: phrases are the categories, boxes x, y, width, height in pixels.

    Args:
        entries: of the journal, accepted ones alone.
    """
    images, annotations = [], []
    categories: dict[str, int] = {}
    for image_id, entry in enumerate(entries, start=1):
        height, width = entry["size"]
        image = {"id": image_id, "file_name": entry["key"], "height": height, "width": width}
        images.append(image | {"caption": entry["caption"]})
        for box in entry["boxes"]:
            x1, y1, x2, y2 = box["box"]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": categories.setdefault(box["phrase"], len(categories) + 1),
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                    "score": box["score"],
                }
            )
    named = [{"id": number, "name": name} for name, number in categories.items()]
    return {"images": images, "annotations": annotations, "categories": named}


def _boxes(reply: GroundedReply) -> list[Entry]:
    """Every region with a phrase, once for each phrase that means it."""
    found = {
        (region.id, phrase): {"phrase": phrase, "box": list(region.box), "score": region.score}
        for span in reply.spans
        if (phrase := reply.phrase(span).strip())
        for region in span.regions
    }
    return list(found.values())
