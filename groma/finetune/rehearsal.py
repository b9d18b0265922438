"""What a base already says about the pictures of a training set, learnt along lest it be forgotten.

A handful of examples teaches a thing and unteaches others. So the base is asked, before it learns,
what there is and where, and in its own talk the adapter is held to the probabilities of the base:
learning without forgetting (arXiv 1606.09282).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from tqdm import tqdm

from groma.chat.chat import Chat, Groma
from groma.chat.conversation import GroundedReply
from groma.data.sample import GroundedSample, plain_text
from groma.dice import Dice
from groma.finetune.label_talks import LabelTalks
from groma.finetune.scores import ask_alone, judge_answer
from groma.finetune.wording import Wording
from groma.image import load_image
from groma.instruction_sets.talks import talk_to_sample
from groma.ops.boxes import pairwise_iou
from groma.types import GromaError

_MOST_PICTURES = 100
_IN_DETAIL = "Describe the picture in detail."
_TURNS = 5
"""About each picture, at most: two descriptions, and where things are."""
_LABELS = 6
"""About each labelled picture, at most."""
_LONGEST = 128
_SAME_THING = 0.5
_ARTICLE = re.compile(r"(?:an?|the)\s+(?=\w)", re.IGNORECASE)


@dataclass(frozen=True)
class Knowledge:
    """What a base knows of the pictures it is about to learn from.

    Attributes:
        talks: of its own; where it points at things, no example is contradicted.
        known: what it finds already of what is labelled, by name.
    """

    talks: list[GroundedSample] = field(default_factory=list)
    known: tuple[str, ...] = ()


def examine(
    groma: Groma,
    labelled: Sequence[GroundedSample],
    wording: Wording,
    seed: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[str, ...] | None:
    """Ask a base about what is labelled.

    Args:
        groma: the base, with no adapter.
        labelled: pictures, at most `_MOST_PICTURES` of which are asked about.
        wording: of the questions.
        seed: of what is asked.
        stop: asked now and then whether to give up.

    Returns:
        Names that it says of a box at least once or finds every other time; None after `stop`. A
        guess may point at the right thing; it never says a new name.

    Raises:
        GromaError: if a picture cannot be read.
    """
    dice = Dice(np.random.SeedSequence((seed, len(labelled))))
    talks = LabelTalks(wording, labelled)
    found: dict[str, list[bool]] = {}
    said: set[str] = set()
    for sample in tqdm(labelled[:_MOST_PICTURES], desc="what it knows", unit="picture"):
        if stop():
            return None
        image = groma.encode_image(load_image(sample.picture))
        for name in dice.sample(list(dict.fromkeys(sample.names)), _LABELS):
            for turn in (talks.ask_for(sample, name, dice), talks.ask_about(sample, name, dice)):
                judged = judge_answer(sample, turn, ask_alone(groma, image, sample, turn))
                is_right = judged is not None and judged[1]
                if judged is not None and judged[0] == "named right":
                    said |= {name} if is_right else set()
                else:
                    found.setdefault(name, []).append(is_right)
    often = {name for name, right in found.items() if 2 * sum(right) >= len(right)}
    return tuple(sorted(said | often))


def rehearse(
    groma: Groma,
    samples: Sequence[GroundedSample],
    wording: Wording,
    seed: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> list[GroundedSample] | None:
    """Ask a base to describe the pictures of examples, and where the things are that it sees.

    Args:
        groma: the base, with no adapter.
        samples: the examples; where things are is not said in contradiction to them.
        wording: of the questions for descriptions.
        seed: of what is asked.
        stop: asked now and then whether to give up.

    Returns:
        A talk about each picture of which there is something to say, at most `_MOST_PICTURES`; None
        after `stop`.

    Raises:
        GromaError: if a picture cannot be read.
    """
    by_picture: dict[str, list[GroundedSample]] = {}
    for sample in samples:
        by_picture.setdefault(sample.picture, []).append(sample)
    dice = np.random.default_rng((seed, len(by_picture)))
    pictures = sorted(dice.permutation(sorted(by_picture))[:_MOST_PICTURES].tolist())
    talks = []
    for picture in tqdm(pictures, desc="what the base knows", unit="picture"):
        if stop():
            return None
        talk = _talk_about(groma, picture, by_picture[picture], wording, dice)
        if talk.turns:
            talks.append(talk)
    return talks


def _talk_about(
    groma: Groma,
    picture: str,
    samples: Sequence[GroundedSample],
    wording: Wording,
    dice: np.random.Generator,
) -> GroundedSample:
    chat = groma.chat(picture, max_new_tokens=_LONGEST)
    taught = _Taught(samples)
    briefly = str(dice.choice(wording.describe))
    described = [_keep(chat, question) for question in (briefly, _IN_DETAIL)]
    named = dict.fromkeys(reply.phrase(span) for reply in described for span in reply.spans)
    things = [_ARTICLE.sub("", phrase, count=1) for phrase in named if _ARTICLE.match(phrase)]
    for index in dice.permutation(len(things)):
        if len(chat.conversation.turns) == _TURNS:
            break
        _ask(chat, things[index], taught)
    return talk_to_sample(picture, chat.conversation)


def _keep(chat: Chat, question: str) -> GroundedReply:
    """Ask, and keep an answer that came to its end."""
    try:
        reply = chat.ask(question)
    except GromaError:  # the talk is as long as it may be
        return GroundedReply("", (), chat.image.original_size)
    if reply.finish != "stop":
        chat.undo()
    return reply


def _ask(chat: Chat, thing: str, taught: "_Taught") -> None:
    """Ask where a thing is, and keep an answer that is no other than what is taught."""
    before = len(chat.conversation.turns)
    reply = _keep(chat, f"Where is the {thing}?")
    is_kept = len(chat.conversation.turns) > before
    if is_kept and (not reply.regions or taught.contradicts(thing, reply)):
        chat.undo()


class _Taught:
    """What examples say about one picture.

    Args:
        samples: all about it.
    """

    def __init__(self, samples: Sequence[GroundedSample]) -> None:
        height, width = samples[0].size
        rows = [box for sample in samples for box in sample.boxes]
        size = torch.tensor([width, height, width, height], dtype=torch.float32)
        self._boxes_px = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4) * size
        self._names = [_noun(name) for sample in samples for name in sample.names]
        self._words = {
            word
            for sample in samples
            for turn in sample.turns
            for said in (turn.question, turn.answer)
            for word in _words(plain_text(said, sample.user_regions))
        }

    def contradicts(self, thing: str, reply: GroundedReply) -> bool:
        """Whether an answer calls what the examples show by another name, or its name another."""
        noun = _noun(thing)
        found = torch.tensor([[float(edge) for edge in region.box] for region in reply.regions])
        for overlaps in pairwise_iou(found, self._boxes_px):
            shown = {self._names[row] for row in (overlaps > _SAME_THING).nonzero()[:, 0].tolist()}
            if shown - {noun} or (not shown and noun in self._words):
                return True
        return False


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _noun(phrase: str) -> str:
    """What a phrase is about: its last word."""
    return (_words(phrase) or [""])[-1]
