"""Boxes with labels as talk: questions of every kind that the labels allow, in a model's own words.

A bare label is never an answer: who is taught to answer in one word forgets how to talk.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from groma.data.sample import QA, GroundedSample, Mention, Phrase, Piece, Pieces
from groma.dice import Dice
from groma.finetune.wording import Fields, Wording
from groma.instruction_sets.readers.set_items import GROMA, InstructionSet, to_samples
from groma.text.grammar import Words, a, number_word, plural_of, the
from groma.types import Box

_LABEL = "label"
"""Kind of a turn that is no talk but says what boxes are called."""
_CONVERSATIONS = (GROMA, "LLaVA", "Grounded LLaVA")
_ABSENT = 0.3
_NEW_FIRST = 0.75
_LONGEST_CLASS = 3
"""Words of a label that means a kind of thing; a longer one describes one thing."""
_ARTICLE = re.compile(r"(?:an?|the)\s", re.IGNORECASE)


def learnable(instructions: InstructionSet) -> list[GroundedSample]:
    """Every item of a set that can be used; where it has labels, one sample per picture.

    The turns of such a sample are of the kind "label"; `LabelTalks` makes talk of them.
    """
    samples = to_samples(instructions)
    if not holds_labels(instructions):
        return samples
    told = [s for s in samples if not any(map(_is_label, s.turns)) and _is_grounded(s)]
    by_picture: dict[str, list[GroundedSample]] = {}
    for sample in samples:
        if all(isinstance(turn.answer[0], Phrase) for turn in sample.turns if _is_label(turn)):
            by_picture.setdefault(sample.picture, []).append(sample)
    labelled = [sample for several in by_picture.values() if (sample := _join(several)).turns]
    return [*labelled, *told]


def holds_labels(instructions: InstructionSet) -> bool:
    """Whether a set is of boxes with labels, of which talk is made, rather than of talk."""
    return instructions.layout not in _CONVERSATIONS


def is_labelled(sample: GroundedSample) -> bool:
    """Whether a sample says what boxes are called, and is still to be made talk of."""
    return bool(sample.turns) and all(turn.kind == _LABEL for turn in sample.turns)


def _is_label(turn: QA) -> bool:
    """Whether the answer is a label, in words or as a phrase that means boxes."""
    return len(turn.answer) == 1 and (
        isinstance(turn.answer[0], Phrase) or any(isinstance(p, Mention) for p in turn.question)
    )


def _is_grounded(sample: GroundedSample) -> bool:
    return any(isinstance(piece, Phrase) for turn in sample.turns for piece in turn.answer)


def _join(samples: Sequence[GroundedSample]) -> GroundedSample:
    """All labels of one picture; a box that was asked about twice counts once."""
    boxes: dict[str, dict[Box, None]] = {}
    for sample in samples:
        for phrase in (p for t in sample.turns if _is_label(t) for p in t.answer):
            if isinstance(phrase, Phrase):
                found = boxes.setdefault(_spoken(phrase.text), {})
                found |= dict.fromkeys(sample.boxes[region] for region in phrase.regions)
    rows = [(name, box) for name, several in boxes.items() for box in several]
    places = {name: [i for i, row in enumerate(rows) if row[0] == name] for name in boxes}
    turns = [QA((name,), (Phrase(name, tuple(at)),), _LABEL) for name, at in places.items()]
    return replace(
        samples[0],
        boxes=tuple(box for _, box in rows),
        names=tuple(name for name, _ in rows),
        turns=tuple(turns),
    )


def _spoken(label: str) -> str:
    """A label as a word of a sentence: "Traffic_light" is a traffic light, "TV" stays."""
    words = " ".join(label.replace("_", " ").split()) or label
    return words.lower() if words[1:].islower() or " " in words else words


class LabelTalks:
    """Makes talk of labelled pictures.

    Args:
        wording: of the model.
        labelled: all of them, whose names are all there is.
        new: names that the model does not know yet, which are asked about more often.
    """

    def __init__(
        self,
        wording: Wording,
        labelled: Iterable[GroundedSample],
        new: Collection[str] = (),
    ) -> None:
        self._wording = wording
        self._classes = sorted({n for s in labelled for n in s.names if _is_class(n)})
        self._new = frozenset(new)

    def talk(self, sample: GroundedSample, dice: Dice, turns: int = 4) -> GroundedSample:
        """A conversation about a labelled picture; no thing is asked about twice.

        Args:
            sample: with turns of the kind "label".
            dice: what is asked, and how.
            turns: most of them.
        """
        names = dice.shuffled(list(dict.fromkeys(sample.names)))
        names.sort(key=lambda name: name not in self._new and dice.maybe(_NEW_FIRST))
        missing = dice.shuffled([name for name in self._classes if name not in sample.names])
        missing.sort(key=lambda name: name not in self._new)
        said: list[QA] = []
        while len(said) < turns and (names or missing):
            if missing and (not names or dice.maybe(_ABSENT)):
                said.append(self._deny(missing.pop(0), dice))
            else:
                said.append(self._ask(sample, names.pop(0), dice))
        return replace(sample, turns=tuple(said))

    def ask_for(self, sample: GroundedSample, name: str, dice: Dice) -> QA:
        """Where what has this name is."""
        is_one = len(_regions(sample, name)) == 1
        return self._ask(sample, name, dice, "find" if is_one else "find_all")

    def ask_about(self, sample: GroundedSample, name: str, dice: Dice) -> QA:
        """What a box is that has this name."""
        return self._ask(sample, name, dice, "name")

    def questions(self, sample: GroundedSample, dice: Dice) -> GroundedSample:
        """What is asked to measure: each name is looked for and shown, and two are denied."""
        said: list[QA] = []
        for name in dict.fromkeys(sample.names):
            said += [self.ask_for(sample, name, dice), self.ask_about(sample, name, dice)]
        missing = [name for name in self._classes if name not in sample.names]
        missing.sort(key=lambda name: name not in self._new)
        said += [self._deny(name, dice, "find") for name in missing[:2]]
        return replace(sample, turns=tuple(said))

    def _ask(self, sample: GroundedSample, name: str, dice: Dice, kind: str = "") -> QA:
        regions = _regions(sample, name)
        find = "find" if len(regions) == 1 else "find_all"
        if not kind:
            # What is known is named as often as what is new: it shows what is not the new thing.
            weights = {find: 3.0, "name": 4.0}
            kind = dice.pick(weights | ({"exist": 1.0, "count": 1.0} if _is_class(name) else {}))
        if kind == "name":
            shown: Fields = {"x": Mention(dice.choice(regions)), "a": _a(name)}
            return self._wording.ask(kind, shown, dice)
        one = len(regions) == 1
        words = _the(name) if one else Words(f"the {_many(name)}", plural=True)
        answered = words.text if kind != "exist" else _a(name) if one else _many(name)
        fields = _fields(name, kind) | words.agreement
        fields["t"] = Phrase(answered, regions)
        fields["n"] = "just one" if one else f"{number_word(len(regions))} in all"
        return self._wording.ask(kind, fields, dice)

    def _deny(self, name: str, dice: Dice, kind: str = "") -> QA:
        kind = kind or dice.pick({"find": 2.0, "exist": 1.0, "count": 0.5, "find_all": 0.5})
        many = kind in ("count", "find_all")
        words = Words("", plural=True) if many else the(name)
        nothing = f"{words.agreement['is']} no {_many(name) if many else name}"
        fields = _fields(name, kind) | words.agreement | {"nothing": nothing}
        return self._wording.deny(kind, fields, dice)


def _regions(sample: GroundedSample, name: str) -> tuple[int, ...]:
    """The boxes of a name, from left to right, as a model may have to name them."""
    regions = [i for i, known in enumerate(sample.names) if known == name]
    return _left_to_right(sample.boxes, regions)


def _left_to_right(boxes: Sequence[Box], regions: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(regions, key=lambda region: _centre(boxes[region])))


def _centre(box: Box) -> float:
    return box[0] + box[2]


def _fields(name: str, kind: str) -> dict[str, Piece | Pieces]:
    """What questions name: one thing, or all of its kind."""
    asked = _the(name).text if kind == "find" else _many(name)
    return {"x": asked, "one": name, "a": _a(name)}


def _is_class(name: str) -> bool:
    """Whether a label means a kind of thing, so that it can be counted and denied."""
    return len(name.split()) <= _LONGEST_CLASS and not _ARTICLE.match(name)


def _a(name: str) -> str:
    return name if _ARTICLE.match(name) else a(name)


def _the(name: str) -> Words:
    return Words(name) if _ARTICLE.match(name) else the(name)


def _many(name: str) -> str:
    return plural_of(name) if _is_class(name) else name
