"""A handful of conversations as training data: spelt once, read round after round."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from math import ceil
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from groma.data.batches import pad_conversations
from groma.data.sample import GroundedSample
from groma.data.tokenise import Written, write
from groma.dice import Dice
from groma.finetune.label_talks import LabelTalks, is_labelled
from groma.finetune.seen_pictures import Shown
from groma.text.template import Template
from groma.tokens import TokenIds
from groma.types import GromaError

_MEASURED_TALKS = 2
"""About each labelled picture that is held out."""


@dataclass(frozen=True)
class _Conversations:
    """Samples, spelt.

    Attributes:
        written: tokens and labels of each.
        shown: picture and boxes of each.
    """

    written: tuple[Written, ...]
    shown: tuple[Shown, ...]

    @property
    def longest(self) -> int:
        """Most tokens of one, before picture and regions are expanded."""
        return max(len(written.ids) for written in self.written)


def spell(samples: Sequence[GroundedSample], template: Template, limit: int) -> _Conversations:
    """Turn samples into tokens.

    Args:
        samples: whose `picture` is a file.
        template: of the language model.
        limit: most tokens of each, before picture and regions are expanded.

    Raises:
        GromaError: if there are none, one has no turn, or not even its first turn fits.
    """
    if not samples:
        raise GromaError("There are no examples to train on.")
    for number, sample in enumerate(samples, start=1):
        if not sample.turns:
            raise GromaError(f"Example {number} ({sample.picture}) has no question.")
    written = tuple(write(sample, template, limit) for sample in samples)
    for number, (sample, text) in enumerate(zip(samples, written, strict=True), start=1):
        if len(text.ids) > limit:
            raise GromaError(
                f"The first answer of example {number} ({sample.picture}) ends only after "
                f"{len(text.ids)} tokens; shorten it, or allow more than {limit}."
            )
    return _Conversations(written, tuple(map(_show, samples, written)))


def _show(sample: GroundedSample, written: Written) -> Shown:
    boxes = torch.tensor(sample.boxes, dtype=torch.float32).reshape(-1, 4)
    return Shown(Path(sample.picture), boxes[written.refer], boxes[written.ground])


def split(
    samples: Sequence[GroundedSample], share: float, seed: int
) -> tuple[list[int], list[int]]:
    """Choose what is trained on and what is held out.

    Whole pictures are held out, lest what was seen be measured on, unless a third of all examples
    would not do for that; then single examples are.

    Args:
        samples: all there are.
        share: to be held out, about.
        seed: of the choice.

    Returns:
        Indices of the ones and the others, each in ascending order.
    """
    wanted, everything = _num_held_out(len(samples), share), range(len(samples))
    pictures: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        pictures.setdefault(sample.picture, []).append(index)
    dice = np.random.default_rng((seed, len(samples)))
    held_out = _draw(list(pictures.values()), wanted, dice)
    if len(held_out) > max(wanted, len(samples) // 3):
        held_out = _draw([[index] for index in everything], wanted, dice)
    return sorted(set(everything) - set(held_out)), sorted(held_out)


def _num_held_out(examples: int, share: float) -> int:
    """How many are only measured on: at least one of two, if any; never all."""
    if share == 0 or examples < 2:
        return 0
    return min(examples - 1, max(1, round(examples * share)))


def _draw(groups: Sequence[list[int]], wanted: int, dice: np.random.Generator) -> list[int]:
    """The members of so many random groups that they are as many as wanted."""
    drawn: list[int] = []
    for place in dice.permutation(len(groups)):
        if len(drawn) < wanted:
            drawn += groups[place]
    return drawn


@dataclass(frozen=True)
class Lessons:
    """What is read, and when.

    Attributes:
        samples: conversations; a labelled picture is talked about anew in every round.
        rounds: those that are read in each, all equally many.
        measured: those that are only measured on.
        rehearsed: those that are the base's own.
    """

    samples: list[GroundedSample]
    rounds: list[list[int]]
    measured: list[int]
    rehearsed: frozenset[int]


def make_lessons(
    learnt: Sequence[GroundedSample],
    held_out: Sequence[GroundedSample],
    rehearsed: Sequence[GroundedSample],
    talks: LabelTalks,
    epochs: float,
    seed: int,
) -> Lessons:
    """Lay out a training.

    Args:
        learnt: examples to learn from.
        held_out: examples to measure on.
        rehearsed: talks of the base, read along.
        talks: makes talk of labels.
        epochs: rounds, the last of which need not be read to its end.
        seed: of the talks.
    """
    samples: list[GroundedSample] = []
    numbers = count()

    def add(sample: GroundedSample) -> int:
        if is_labelled(sample):
            sample = talks.talk(sample, Dice(np.random.SeedSequence((seed, next(numbers)))))
        samples.append(sample)
        return len(samples) - 1

    measured = [add(s) for s in held_out for _ in range(_MEASURED_TALKS if is_labelled(s) else 1)]
    fixed = [add(sample) for sample in learnt if not is_labelled(sample)]
    labelled = [sample for sample in learnt if is_labelled(sample)]
    again = [add(sample) for sample in rehearsed]
    # Talk of labels is about what is known too, so that half as much of the base's own will do.
    share = ceil(len(again) / 2) if labelled else len(again)
    rounds = []
    for number in range(ceil(epochs)):
        some = [again[(number * share + place) % len(again)] for place in range(share)]
        rounds.append([*fixed, *map(add, labelled), *some])
    return Lessons(samples, rounds, measured, frozenset(again))


@dataclass(frozen=True)
class Rounds(Dataset):
    """_Conversations in another order each round; an index always means the same one.

    Attributes:
        conversations: all there are.
        rounds: those that are read in each; after the last comes the first again.
        length: how many are read before the end, repetitions counted.
        seed: of the orders; None keeps them as they are.
    """

    conversations: _Conversations
    rounds: Sequence[Sequence[int]]
    length: int
    seed: int | None = None

    def __len__(self) -> int:
        """How many are read before the end."""
        return self.length

    def __getitem__(self, index: int) -> dict:
        """`number` of a conversation, its `ids` and `labels` (T,) with placeholders, `reading`.

        Raises:
            IndexError: beyond the end.
        """
        if index >= self.length:
            raise IndexError(index)
        round_, place = divmod(index, len(self.rounds[0]))
        members = self.rounds[round_ % len(self.rounds)]
        if self.seed is not None:
            place = np.random.default_rng((self.seed, round_)).permutation(len(members))[place]
        number = members[place]
        written = self.conversations.written[number]
        return {"number": number, "ids": written.ids, "labels": written.labels, "reading": index}


@dataclass(frozen=True)
class Collator:
    """Stacks conversations.

    Attributes:
        tokens: ids of the new tokens.
    """

    tokens: TokenIds

    def __call__(self, examples: Sequence[dict]) -> dict[str, Tensor]:
        """`indices` and `readings` (B,), `input_ids` and `labels` (B, T)."""
        ids, labels = ([example[part] for example in examples] for part in ("ids", "labels"))
        numbers = {
            name: torch.tensor([example[of] for example in examples])
            for name, of in (("indices", "number"), ("readings", "reading"))
        }
        return {**numbers, **pad_conversations(ids, labels, self.tokens)}
