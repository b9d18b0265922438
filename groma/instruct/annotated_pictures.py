"""Grounded captions and boxes for every picture of a folder, by a model of ours."""

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tqdm import tqdm

from groma.at_once import as_finished
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
    at_once: int = 1,
) -> None:
    """Ask one question about every picture; each answer is on disk as soon as it is there.

    `keys` are the names of all pictures; those that are done are left out. Where several are asked
    about at once, the model had better be one that threads share (`groma.serve.engine`).
    """
    todo = folder.left(keys)
    ask = partial(_annotate_one, groma, pictures, question, settings)
    outcomes = as_finished(ask, todo, at_once)
    done = len(keys) - len(todo)
    for outcome in tqdm(outcomes, initial=done, total=len(keys), unit="picture"):
        folder.add(outcome)


def _annotate_one(
    groma: Groma, pictures: Path, question: str, settings: GenerationSettings, key: str
) -> Outcome:
    try:
        chat = groma.chat(find_picture(pictures, key))
        reply = chat.ask(question, **asdict(settings))
    except GromaError as error:
        return Outcome(key, "rejected", (str(error),))
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
    """Every region with a phrase, by the first that means it."""
    found: dict[int, Fields] = {}
    for span in reply.spans:
        if phrase := reply.phrase(span).strip():
            for region in span.regions:
                thing = {"phrase": phrase, "box": list(region.box), "score": region.score}
                found.setdefault(region.id, thing)
    return list(found.values())
