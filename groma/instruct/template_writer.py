"""A writer that needs no model: conversations made of region descriptions alone."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from groma.data.sample import QA, Mention, Phrase, Piece, Pieces, listing, sentence
from groma.instruct.described_pictures import Material
from groma.instruct.draft_faults import Complaint
from groma.instruct.draft_notation import write_draft
from groma.text.grammar import capitalised

_CLAUSE = re.compile(r"^(.{2,60}?) ((?:is|are|was|were|has|have) .+)$", re.I)
_NAME = re.compile(r"^[^\W_][\w' -]*$")
_TAIL = re.compile(r"\s*[,;:.!?()–—].*$", re.S)  # noqa: RUF001  (dashes as people write them)
_LONGEST_NAME = 8
_MARGIN = 0.02
"""How far apart two boxes must be, as a share of the picture, to say which is further left."""

_SUMS_UP = ("Describe the picture in one sentence.", "What is this a picture of?")
_LISTS = ("What can you see in the picture?", "What is there in the picture?", "What do you see?")
_LISTS_BEGIN = ("I can see ", "The picture shows ", "There are several things: ")
_NAMES = ("What is <K>?", "What do you see in <K>?", "Tell me what <K> shows.")
_NAMED = ("It shows ", "I see ", "There I see ")
_FINDS = ("Can you find {}?", "Show me {}.", "Point at {}.", "Please find {}.")
_FOUND = ("I found ", "Here I see ", "You can see ")


@dataclass(frozen=True, slots=True)
class _Thing:
    """A region whose description can be used."""

    region: int  # index into the boxes
    name: str  # what it is, a noun phrase
    rest: str | None  # the rest of its description where that is a sentence: "is riding a wave"

    @property
    def phrase(self) -> Phrase:
        return Phrase(self.name, (self.region,))


class TemplateWriter:
    """Makes conversations of descriptions, captions and questions by fixed wordings."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed

    def write(self, material: Material, rounds: int, complaints: Sequence[Complaint] = ()) -> str:
        """Write a conversation; it has fewer rounds where the material does not suffice.

        Each complaint leads to another choice of wordings. Returns JSON, see `read_draft`.
        """
        dice = Random(f"{self._seed}/{material.picture}/{len(complaints)}")
        things = [*_things(material)]
        first = [*_listing(things, dice)]
        others = [
            [*_naming(things, dice)],
            [*_finding(things, dice)],
            [*_sides(things, material, dice)],
        ]
        # One answer at most that means no region.
        if material.captions and dice.random() < 0.4:
            first.insert(0, _turn(dice.choice(_SUMS_UP), (dice.choice(material.captions),)))
        elif material.questions:
            question, answer = dice.choice(material.questions)
            others.append([_turn(question, (answer,))])
        for group in others:
            dice.shuffle(group)
        dice.shuffle(others)
        # One of each kind before a second of any.
        depth = max(map(len, others))
        mixed = [group[i] for i in range(depth) for group in others if i < len(group)]
        return write_draft([*first, *mixed][:rounds])

    def stop(self) -> None:
        """See `Writer`; nothing takes long here."""


def _things(material: Material) -> Iterator[_Thing]:
    """Regions with a usable description; of two with the same name neither."""
    found = [
        thing
        for region, texts in enumerate(material.descriptions)
        if (thing := next(filter(None, (_read(region, text) for text in texts)), None))
    ]
    names = [thing.name.casefold() for thing in found]
    return (thing for thing in found if names.count(thing.name.casefold()) == 1)


def _read(region: int, text: str) -> _Thing | None:
    text = _TAIL.sub("", " ".join(text.split()))
    clause = _CLAUSE.match(text)
    name, rest = (clause[1], clause[2]) if clause else (text, None)
    is_name = _NAME.match(name) and len(name.split()) <= _LONGEST_NAME
    if not is_name or not (rest is None or _NAME.match(rest)):
        return None
    is_capital = name[1:2].islower() or name[1:2] in ("", " ")
    return _Thing(region, name[0].lower() + name[1:] if is_capital else name, rest)


def _listing(things: Sequence[_Thing], dice: Random) -> Iterator[QA]:
    if len(things) > 1:
        some = dice.sample(list(things), min(len(things), 5))
        phrases = listing([thing.phrase for thing in some])
        yield _turn(dice.choice(_LISTS), (dice.choice(_LISTS_BEGIN), *phrases, "."))


def _naming(things: Sequence[_Thing], dice: Random) -> Iterator[QA]:
    for thing in things:
        before, after = dice.choice(_NAMES).split("<K>")
        said: Pieces = (dice.choice(_NAMED), thing.phrase, ".")
        if thing.rest:
            said = (Phrase(capitalised(thing.name), (thing.region,)), f" {thing.rest}.")
        yield _turn((before, Mention(thing.region), after), said)


def _finding(things: Sequence[_Thing], dice: Random) -> Iterator[QA]:
    for thing in things:
        question = dice.choice(_FINDS).format(thing.name)
        yield _turn(question, (dice.choice(_FOUND), thing.phrase, "."))


def _sides(things: Sequence[_Thing], material: Material, dice: Random) -> Iterator[QA]:
    """What lies wholly to one side of a thing."""
    boxes = material.boxes
    for thing in things:
        left, _, right, _ = boxes[thing.region]
        lefts = [other for other in things if boxes[other.region][2] < left - _MARGIN]
        rights = [other for other in things if boxes[other.region][0] > right + _MARGIN]
        for side, others in (("left", lefts), ("right", rights)):
            if not others:
                continue
            some = listing([other.phrase for other in others[:3]])
            question = (f"What is to the {side} of ", Mention(thing.region), "?")
            if dice.random() < 0.5:
                question = (f"Name something to the {side} of {thing.name}.",)
            yield _turn(question, (f"To the {side} of it, I can see ", *some, "."))


def _turn(question: str | tuple[Piece, ...], answer: tuple[Piece, ...]) -> QA:
    asked = (question,) if isinstance(question, str) else question
    return QA(sentence(asked), sentence(answer), kind="instruct")
