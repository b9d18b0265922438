"""What an adapter can do that its base cannot, and what it forgot: right answers, counted."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from groma.chat.chat import Groma
from groma.chat.conversation import GroundedReply
from groma.data.sample import QA, GroundedSample, Mention, Phrase, plain_text
from groma.image import load_image
from groma.ops.boxes import pairwise_iou
from groma.types import Box

_STANDARD = "right on standard pictures"
_What = Literal[
    "found", "all found", "named right", "not there, denied", "right on standard pictures"
]
_Replies = tuple[str, Sequence[Box], bool, GroundedReply, GroundedReply]
"""As `judge_answer` takes it: the wanted answer; then the replies of base and adapter."""

_FOUND = 0.5
"""IoU from which a box is the one that was meant."""
_LONGEST = 96
_DENIES = re.compile(r"\b(?:no|not|none|nothing|cannot|\w+n't)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Score:
    """How many answers of one kind are right.

    Attributes:
        what: was asked for.
        is_new: whether about what the base did not know, or about what it might forget; None where
            nobody asked it before.
        asked: how many questions.
        base: how many of the base's answers are right.
        adapter: how many of the adapter's.
    """

    what: _What
    is_new: bool | None
    asked: int
    base: int
    adapter: int

    def __str__(self) -> str:
        """As in "found (new): 3 of 4, the base 0"."""
        about = {True: " (new)", False: " (known before)", None: ""}[self.is_new]
        return f"{self.what}{about}: {self.adapter} of {self.asked}, the base {self.base}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def measure(
    groma: Groma,
    without_adapter: Callable[[], AbstractContextManager],
    samples: Sequence[GroundedSample],
    known: Collection[str],
) -> list[Score]:
    """Ask a model the same questions with its adapter and without, each by itself.

    Args:
        groma: the model.
        without_adapter: takes the adapter off meanwhile.
        samples: whose `picture` is a file; the questions are their turns.
        known: what the base finds already, by name.

    Raises:
        GromaError: if a picture cannot be read.
    """
    with without_adapter():
        base = _count_right(groma, samples, known)
    adapter = _count_right(groma, samples, known)
    return [Score(*kind, asked, base[kind][0], right) for kind, (right, asked) in adapter.items()]


def measure_standard(
    groma: Groma, without_adapter: Callable[[], AbstractContextManager], folder: Path
) -> Score:
    """Ask a model about pictures that no training has to do with: what was forgotten?

    Args:
        groma: the model.
        without_adapter: takes the adapter off meanwhile.
        folder: of pictures, with an `examples.json` that tells what is right.
    """
    rows = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
    with without_adapter():
        base = _standard_right(groma, folder, rows)
    return Score(_STANDARD, None, len(rows), base, _standard_right(groma, folder, rows))


def _standard_right(groma: Groma, folder: Path, rows: Sequence[dict[str, Any]]) -> int:
    """How many answers say and point at what they should."""
    images = {row["image"]: groma.encode_image(folder / row["image"]) for row in rows}
    right = 0
    for row in rows:
        chat = groma.chat(images[row["image"]], max_new_tokens=_LONGEST)
        reply = chat.ask(row["question"], row.get("boxes", ()))
        says = all(words in reply.text.lower() for words in row["says"])
        right += says and _matches(row["points_at"], [region.box for region in reply.regions])
    return right


def score_replies(replies: Iterable[_Replies]) -> list[Score]:
    """Count the right answers among replies that are there already."""
    counts: dict[_What, list[int]] = {}
    for wanted, boxes, shown, *both in replies:
        for place, judged in enumerate(_judge(wanted, boxes, shown, reply) for reply in both):
            if judged is not None:
                row = counts.setdefault(judged[0], [0, 0, 0])
                row[0] += place == 0
                row[1 + place] += judged[1]
    return [Score(what, None, *counts[what]) for what in sorted(counts)]


def is_worse(scores: Sequence[Score]) -> bool:
    """Whether the adapter answers less right than its base, all in all."""
    return sum(score.adapter - score.base for score in scores) < 0


def verdict(scores: Sequence[Score]) -> str:
    """All in all, in a sentence or two; empty where nothing could be asked."""
    standard = [score for score in scores if score.what == _STANDARD]
    held_out = [score for score in scores if score.what != _STANDARD]
    places = {"what was held out": held_out, "standard pictures": standard}
    return " ".join(_compare(where, some) for where, some in places.items() if some)


def _compare(where: str, scores: Sequence[Score]) -> str:
    asked, base, adapter = (
        sum(getattr(s, x) for s in scores) for x in ("asked", "base", "adapter")
    )
    how = "worse than" if adapter < base else "better than" if adapter > base else "as good as"
    said = f"{adapter} of {asked} answers are right, the base's {base}"
    return f"On {where} the adapter is {how} its base: {said}."


def _count_right(
    groma: Groma, samples: Sequence[GroundedSample], known: Collection[str]
) -> dict[tuple[_What, bool], tuple[int, int]]:
    """Right answers and questions, by what is asked for and whether it is new."""
    counts: dict[tuple[_What, bool], tuple[int, int]] = {}
    for sample in samples:
        image = groma.encode_image(load_image(sample.picture))
        for turn in sample.turns:
            judged = judge_answer(sample, turn, ask_alone(groma, image, sample, turn))
            if judged is None:
                continue
            what, is_right = judged
            kind = what, not _is_about(turn, sample, known)
            right, asked = counts.get(kind, (0, 0))
            counts[kind] = right + is_right, asked + 1
    return dict(sorted(counts.items()))


def ask_alone(groma: Groma, image: Any, sample: GroundedSample, turn: QA) -> GroundedReply:
    """The answer to a question asked on its own, its regions drawn with it.

    Args:
        groma: the model.
        image: the picture in any form.
        sample: whose boxes are meant.
        turn: what is asked.
    """
    users = tuple(dict.fromkeys(p.region for p in turn.question if isinstance(p, Mention)))
    chat = groma.chat(image, max_new_tokens=_LONGEST)
    boxes = _in_pixels(sample, users)
    return chat.ask(plain_text(turn.question, users), boxes, grounding=turn.grounding)


def judge_answer(
    sample: GroundedSample, turn: QA, reply: GroundedReply
) -> tuple[_What, bool] | None:
    """_What an example's question is about, and whether an answer points and names as it does."""
    regions = dict.fromkeys(
        region for piece in turn.answer if isinstance(piece, Phrase) for region in piece.regions
    )
    shown = any(isinstance(piece, Mention) for piece in turn.question)
    return _judge(plain_text(turn.answer), _in_pixels(sample, regions), shown, reply)


def _judge(
    wanted: str, boxes: Sequence[Box], shown: bool, reply: GroundedReply
) -> tuple[_What, bool] | None:
    """_What a question is about, and whether an answer points and names as it should.

    Args:
        wanted: the right answer in words.
        boxes: that it points at, xyxy in pixels.
        shown: whether the user points at something.
        reply: the answer, in whatever words.

    Returns:
        None where nothing can be judged.
    """
    found = [region.box for region in reply.regions]
    if boxes:
        what = "found" if len(boxes) == 1 else "all found"
        if what == "found":  # what is said besides does not count
            found = found[:1]
        return what, _matches(boxes, found)
    if shown:
        named = re.findall(r"\w+", wanted.lower())
        return "named right", bool(named) and _holds(reply.text, named[-1])
    if _DENIES.search(wanted):
        return "not there, denied", not found and _DENIES.search(reply.text) is not None
    return None


def _matches(wanted: Sequence[Box], found: Sequence[Box]) -> bool:
    """Whether every box, xyxy in pixels, is one of the others, and the other way round."""
    if not wanted or not found:
        return not wanted and not found
    overlaps = pairwise_iou(torch.tensor(wanted), torch.tensor(found)) >= _FOUND
    return bool(overlaps.any(dim=1).all() and overlaps.any(dim=0).all())


def _is_about(turn: QA, sample: GroundedSample, known: Collection[str]) -> bool:
    """Whether a question is about what the base knows."""
    regions = [p.region for p in turn.question if isinstance(p, Mention)]
    regions += [r for p in turn.answer if isinstance(p, Phrase) for r in p.regions]
    if regions:
        return {sample.names[region] for region in regions} <= set(known)
    return any(_holds(plain_text(turn.question), name) for name in known)


def _holds(text: str, name: str) -> bool:
    """Whether a text has a name, or its plural, in it."""
    return re.search(rf"\b{re.escape(name)}", text, re.IGNORECASE) is not None


def _in_pixels(sample: GroundedSample, regions: Collection[int]) -> list[Box]:
    height, width = sample.size
    boxes = [sample.boxes[region] for region in regions]
    return [(x1 * width, y1 * height, x2 * width, y2 * height) for x1, y1, x2, y2 in boxes]
