"""What a base already says about the pictures of a training set, learnt along lest it be forgotten.

A handful of examples teaches a thing and unteaches others. So the base is asked, before it learns,
where the things are that it sees, and those of its answers that contradict no example are learnt as
well: as in learning without forgetting (arXiv 1606.09282), with answers in the place of
probabilities.
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
from groma.finetune.label_talks import Described, LabelTalks
from groma.finetune.scores import ask_alone, judge_answer
from groma.image import load_image
from groma.instruction_sets.talks import talk_to_sample
from groma.ops.boxes import pairwise_iou
from groma.types import GromaError

_MOST_PICTURES = 100
_QUESTIONS = 3
"""About each picture, at most."""
_LABELS = 6
"""About each labelled picture, at most."""
_LONGEST = 128
_SAME_THING = 0.5
_ARTICLE = re.compile(r"(?:an?|the)\s+(?=\w)", re.IGNORECASE)


@dataclass(frozen=True)
class Knowledge:
    """What a base knows of the pictures it is about to learn from.

    Attributes:
        talks: answers of its own that contradict no example.
        known: what it finds already of what is labelled, by name.
        described: what it says of labelled pictures, by their file.
    """

    talks: list[GroundedSample] = field(default_factory=list)
    known: tuple[str, ...] = ()
    described: dict[str, Described] = field(default_factory=dict)


def examine(
    groma: Groma,
    labelled: Sequence[GroundedSample],
    talks: LabelTalks,
    seed: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[tuple[str, ...], dict[str, Described]] | None:
    """Ask a base about what is labelled.

    Args:
        groma: the base, with no adapter.
        labelled: pictures, at most `_MOST_PICTURES` of which are asked about.
        talks: words the questions.
        seed: of what is asked.
        stop: asked now and then whether to give up.

    Returns:
        Names that it says of a box at least once or finds every other time, and what it says of
        each picture; None after `stop`. A guess may point at the right thing; it never says a new
        name.

    Raises:
        GromaError: if a picture cannot be read.
    """
    dice = Dice(np.random.SeedSequence((seed, len(labelled))))
    found: dict[str, list[bool]] = {}
    said, described = set(), {}
    for sample in tqdm(labelled[:_MOST_PICTURES], desc="what it knows", unit="picture"):
        if stop():
            return None
        image = groma.encode_image(load_image(sample.picture))
        described[sample.picture] = _describe(groma.chat(image, max_new_tokens=_LONGEST))
        for name in dice.sample(list(dict.fromkeys(sample.names)), _LABELS):
            for turn in (talks.ask_for(sample, name, dice), talks.ask_about(sample, name, dice)):
                judged = judge_answer(sample, turn, ask_alone(groma, image, sample, turn))
                is_right = judged is not None and judged[1]
                if judged is not None and judged[0] == "named right":
                    said |= {name} if is_right else set()
                else:
                    found.setdefault(name, []).append(is_right)
    often = {name for name, right in found.items() if 2 * sum(right) >= len(right)}
    return tuple(sorted(said | often)), described


def _describe(chat: Chat) -> Described:
    reply = chat.ask("Describe the picture.")
    height, width = reply.image_size
    spans = [span for span in reply.spans if reply.phrase(span) and span.regions]
    boxes = [
        tuple((x1 / width, y1 / height, x2 / width, y2 / height) for x1, y1, x2, y2 in several)
        for several in ([region.box for region in span.regions] for span in spans)
    ]
    return Described(tuple(reply.phrase(span) for span in spans), tuple(boxes))


def rehearse(
    groma: Groma,
    samples: Sequence[GroundedSample],
    seed: int = 0,
    stop: Callable[[], bool] = lambda: False,
) -> list[GroundedSample] | None:
    """Ask a base where the things are that it sees in the pictures of examples.

    Args:
        groma: the base, with no adapter.
        samples: the examples; what they say is not contradicted.
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
        talk = _talk_about(groma, picture, by_picture[picture], dice)
        if talk.turns:
            talks.append(talk)
    return talks


def _talk_about(
    groma: Groma, picture: str, samples: Sequence[GroundedSample], dice: np.random.Generator
) -> GroundedSample:
    chat = groma.chat(picture, max_new_tokens=_LONGEST)
    taught = _Taught(samples)
    described = chat.ask("Describe the picture.")
    chat.undo()
    named = dict.fromkeys(described.phrase(span) for span in described.spans)
    things = [_ARTICLE.sub("", phrase, count=1) for phrase in named if _ARTICLE.match(phrase)]
    for index in dice.permutation(len(things)):
        _ask(chat, things[index], taught)
        if len(chat.conversation.turns) == _QUESTIONS:
            break
    return talk_to_sample(picture, chat.conversation)


def _ask(chat: Chat, thing: str, taught: "_Taught") -> None:
    """Ask where a thing is, and keep an answer that is no other than what is taught."""
    try:
        reply = chat.ask(f"Where is the {thing}?")
    except GromaError:  # the talk is as long as it may be
        return
    if not reply.regions or reply.finish != "stop" or taught.contradicts(thing, reply):
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
