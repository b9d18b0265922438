"""Grounded captions and boxes for every picture of a folder, by a model of ours."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tqdm import tqdm

from groma.chat.chat import Groma
from groma.chat.conversation import GroundedReply
from groma.chat.settings import GenerationSettings
from groma.data.file_names import find_picture
from groma.data.sources.groma_instruct import format_item
from groma.instruct.made_folder import MadeFolder, Outcome
from groma.instruction_sets.talks import talk_to_sample
from groma.run_journal import Fields
from groma.types import GromaError


def annotate(
    groma: Groma,
    pictures: Path,
    keys: Sequence[str],
    folder: MadeFolder,
    question: str,
    settings: GenerationSettings,
) -> None:
    """Ask one question about every picture; each answer is on disk as soon as it is there.

    `keys` are the names of all pictures; those that are done are left out.
    """
    todo = folder.left(keys)
    for key in tqdm(todo, initial=len(keys) - len(todo), total=len(keys), unit="picture"):
        try:
            folder.add(_annotate_one(groma, key, find_picture(pictures, key), question, settings))
        except GromaError as error:
            folder.add(Outcome(key, "rejected", (str(error),)))


def _annotate_one(
    groma: Groma, key: str, picture: Path, question: str, settings: GenerationSettings
) -> Outcome:
    chat = groma.chat(picture)
    reply = chat.ask(question, **asdict(settings))
    if not reply.text.strip():
        return Outcome(key, "rejected", ("The model said nothing.",))
    annotation: Fields = {
        "size": list(reply.image_size),
        "caption": " ".join(reply.text.split()),
        "boxes": _boxes(reply),
    }
    item = format_item(talk_to_sample(key, chat.conversation))
    return Outcome(key, "accepted", item=item, annotation=annotation)


def _boxes(reply: GroundedReply) -> list[Fields]:
    """Every region with a phrase, once for each phrase that means it."""
    found = {
        (region.id, phrase): {"phrase": phrase, "box": list(region.box), "score": region.score}
        for span in reply.spans
        if (phrase := reply.phrase(span).strip())
        for region in span.regions
    }
    return list(found.values())
