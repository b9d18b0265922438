"""Where heads of a small language model are taught to look while it answers about regions.

A model of a few million parameters finds out by itself what a large one does, namely to look at a
region before it is named, but only after far more examples than two cores read in a night. Each
loss below is the cross-entropy of one head's attention at some positions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from groma.config import NUM_REGION_TOKENS
from groma.text.grammar import plural_of
from groma.tokens import PHRASE_CLOSE, PHRASE_OPEN, REGION, TokenIds
from groma.types import IGNORED
from recipes.scenes.nouns import COLOURS, SIZES, STUFF_SYNONYMS
from recipes.scenes.vocabulary import ILLUSTRATED, Vocabulary

SINK = 0
"""Position that a head looks at where there is nothing to be seen: the very first."""
_TINY = 1e-6


class Looking(nn.Module):
    """The losses of all heads that are taught."""

    def __init__(self, tokens: TokenIds, telling: Tensor) -> None:
        """Take what the positions are found by.

        Args:
            tokens: ids of the new tokens.
            telling: (V,) whether a token is part of a word that tells what is asked about.
        """
        super().__init__()
        self.tokens = tokens
        self.register_buffer("telling", telling, persistent=False)

    def forward(
        self, attentions: Sequence[Tensor], input_ids: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """Compare attention with where it should be.

        Args:
            attentions: of every layer (B, H, T, T).
            input_ids: (B, T), in which every region is listed once as `<rN>` and its token.
            labels: (B, T), -100 where nothing is supervised.

        Returns:
            `looking`, the weighted sum, and each loss by name; 0 where a batch has no such case.
        """
        assert isinstance(self.telling, Tensor)
        talk = Talk(input_ids, labels, self.telling, self.tokens)
        terms = {
            name: lesson.loss(attentions[lesson.layer][:, lesson.head].float(), talk)
            for name, lesson in LESSONS.items()
        }
        total = torch.stack([LESSONS[name].weight * term for name, term in terms.items()]).sum()
        return {"looking": total} | terms


def telling_tokens(
    tokenizer: PreTrainedTokenizerBase, size: int, vocabulary: Vocabulary = ILLUSTRATED
) -> Tensor:
    """(V,) whether a token is part of the name of a thing, of stuff, a colour or a size.

    Args:
        tokenizer: of the language model.
        size: V.
        vocabulary: of the scenes.
    """
    synonyms = vocabulary.synonyms
    nouns = [word for noun in vocabulary.nouns for word in (noun, *synonyms.get(noun, ()))]
    words = {*nouns, *map(plural_of, nouns), *vocabulary.stuff, *vocabulary.tints, *COLOURS, *SIZES}
    for name in vocabulary.stuff:
        words |= set(STUFF_SYNONYMS.get(name, ()))
    telling = torch.zeros(size, dtype=torch.bool)
    for word in sorted(words):
        for spelt in (f" {word}", word):
            telling[tokenizer.encode(spelt, add_special_tokens=False)] = True
    return telling


@dataclass(frozen=True)
class Talk:
    """A batch of conversations and what is where in them; see `Looking` for the arguments."""

    input_ids: Tensor
    labels: Tensor
    telling: Tensor
    tokens: TokenIds

    @cached_property
    def places(self) -> Tensor:
        """(B, T) where each token stands in its row."""
        length = self.input_ids.shape[1]
        return torch.arange(length, device=self.input_ids.device).expand_as(self.input_ids)

    @cached_property
    def number(self) -> Tensor:
        """(B, T) N where `<rN>` stands, else -1."""
        number = self.input_ids - self.tokens.region(0)
        return torch.where((number >= 0) & (number < NUM_REGION_TOKENS), number, -1)

    @cached_property
    def listed(self) -> Tensor:
        """(B, 100) place where each name comes first, which is in the list; T if it is not."""
        length = self.input_ids.shape[1]
        places = torch.where(self.number >= 0, self.places, length)
        listed = places.new_full((len(places), NUM_REGION_TOKENS), length)
        return listed.scatter_reduce_(1, self.number.clamp(min=0), places, "amin")

    @cached_property
    def said(self) -> Tensor:
        """(B, T) what an answer says."""
        return self.labels != IGNORED

    @cached_property
    def begins(self) -> Tensor:
        """(B, T) right before an answer."""
        begins = torch.zeros_like(self.said)
        begins[:, :-1] = self.said[:, 1:] & ~self.said[:, :-1]
        return begins

    @cached_property
    def turn(self) -> Tensor:
        """(B, T) 1, 2, … for each turn, which begins with its question."""
        ends = torch.zeros_like(self.said)
        ends[:, 1:] = self.said[:, :-1] & ~self.said[:, 1:]
        return ends.cumsum(dim=1) + 1

    @cached_property
    def phrase(self) -> Tensor:
        """(B, T) 1, 2, … from each `<p>` on, regions included; 0 before the first."""
        return (self.input_ids == self.tokens[PHRASE_OPEN]).cumsum(dim=1)

    @cached_property
    def in_phrase(self) -> Tensor:
        """(B, T) from `<p>` to the last word before `</p>`."""
        closed = (self.input_ids == self.tokens[PHRASE_CLOSE]).cumsum(dim=1)
        return (self.phrase > closed) & self.said

    @cached_property
    def repeated(self) -> Tensor:
        """(B, T) names of regions after the list."""
        known = self.number.clamp(min=0)
        return (self.number >= 0) & (self.places > self.listed.gather(1, known))

    def asked(self, row: Tensor, at: Tensor) -> Tensor:
        """(K, T) the telling words of the questions whose answers begin at these places."""
        listed = torch.where(self.input_ids == self.tokens[REGION], self.places, -1)
        after = self.places > listed.amax(dim=1, keepdim=True)
        words = self.telling[self.input_ids] & ~self.said & after
        return words[row] & (self.turn[row] == self.turn[row, at][:, None])

    def named(self, among: Tensor, group: Tensor) -> Tensor:
        """Which regions are named.

        Args:
            among: (B, T) which names count.
            group: (B, T) number of the group each position belongs to.

        Returns:
            (B, groups, 100).
        """
        row, at = among.nonzero(as_tuple=True)
        groups = int(group.max()) + 1
        named = torch.zeros(
            len(group), groups, NUM_REGION_TOKENS, dtype=torch.bool, device=group.device
        )
        named[row, group[row, at], self.number[row, at]] = True
        return named

    def on_regions(self, attention: Tensor, row: Tensor, at: Tensor) -> Tensor:
        """Attention (K, 100) of positions on each region, its name and its token together."""
        slots = self.listed[row].clamp(max=self.input_ids.shape[1] - 2)
        listed = self.listed[row] < self.input_ids.shape[1]
        seen = attention[row, at]
        return (seen.gather(1, slots) + seen.gather(1, slots + 1)) * listed


def bind(attention: Tensor, talk: Talk) -> Tensor:
    """From a region's token at its name, right before it.

    What is found by its looks can only then be said by its name.
    """
    row, number = (talk.listed < talk.input_ids.shape[1] - 1).nonzero(as_tuple=True)
    slot = talk.listed[row, number]
    return _surprise(attention[row, slot + 1, slot])


def echo(attention: Tensor, talk: Talk) -> Tensor:
    """From a name that comes again at its region: what "it" is, and which one comes next."""
    row, at = talk.repeated.nonzero(as_tuple=True)
    seen = talk.on_regions(attention, row, at)
    return _surprise(seen.gather(1, talk.number[row, at][:, None])[:, 0])


def heed(attention: Tensor, talk: Talk) -> Tensor:
    """From where an answer begins at the words that tell what is asked about."""
    row, at = talk.begins.nonzero(as_tuple=True)
    words = talk.asked(row, at)
    some = words.any(dim=1)
    return _surprise((attention[row, at] * words).sum(dim=1)[some])


def plan(attention: Tensor, talk: Talk) -> Tensor:
    """From where an answer begins at the regions it is going to name, or else has been shown.

    Where something is asked for and none is named, at the sink: it is not there.
    """
    row, at = talk.begins.nonzero(as_tuple=True)
    turn = talk.turn[row, at]
    answered = talk.named(talk.repeated & talk.said, talk.turn)[row, turn]
    shown = talk.named(talk.repeated & ~talk.said, talk.turn)[row, turn]
    wanted = torch.where(answered.any(dim=1, keepdim=True), answered, shown)
    mass = (talk.on_regions(attention, row, at) * wanted).sum(dim=1)
    found = wanted.any(dim=1)
    about = talk.asked(row, at).any(dim=1)
    mass = torch.where(found, mass, attention[row, at, SINK])
    return _surprise(mass[found | about])


def gather(attention: Tensor, talk: Talk) -> Tensor:
    """From where a region is about to be named at the words of its phrase.

    Without it the pointing head of a model from nothing stays at chance: it cannot compare words
    that never reach it.
    """
    row, at = _before_names(talk)
    words = talk.in_phrase[row] & (talk.phrase[row] == talk.phrase[row, at][:, None])
    words &= talk.input_ids[row] != talk.tokens[PHRASE_OPEN]
    return _surprise((attention[row, at] * words).sum(dim=1))


def phrase(attention: Tensor, talk: Talk) -> Tensor:
    """From every word of a phrase and its `<p>` at the regions that are named after it."""
    open_ = talk.in_phrase.clone()
    open_[:, :-1] &= talk.input_ids[:, 1:] != talk.tokens[PHRASE_CLOSE]
    row, at = open_.nonzero(as_tuple=True)
    wanted = talk.named(talk.repeated & talk.said, talk.phrase)[row, talk.phrase[row, at]]
    some = wanted.any(dim=1)
    return _surprise((talk.on_regions(attention, row, at) * wanted).sum(dim=1)[some])


def pointer(attention: Tensor, talk: Talk) -> Tensor:
    """From where a region is about to be named at that region."""
    row, at = _before_names(talk)
    seen = talk.on_regions(attention, row, at)
    return _surprise(seen.gather(1, talk.number[row, at + 1][:, None])[:, 0])


@dataclass(frozen=True)
class Lesson:
    """What one head is taught.

    Attributes:
        layer: index, from the end if negative.
        head: index.
        weight: of the loss.
        loss: (attention (B, T, T), talk) -> mean cross-entropy, 0 if there is no case.
    """

    layer: int
    head: int
    weight: float
    loss: Callable[[Tensor, Talk], Tensor]


LESSONS: Mapping[str, Lesson] = {
    "bind": Lesson(0, 0, 0.5, bind),
    "echo": Lesson(1, 0, 0.25, echo),
    "gather": Lesson(-4, 0, 0.5, gather),
    "heed": Lesson(-4, 1, 0.25, heed),
    "plan": Lesson(-3, 0, 0.5, plan),
    "phrase": Lesson(-2, 1, 0.5, phrase),
    "pointer": Lesson(-2, 0, 1.0, pointer),
}
"""From the first layer, where nothing else drowns a region's name yet, to the last but one."""


def _before_names(talk: Talk) -> tuple[Tensor, Tensor]:
    """Rows and places (K,) right before a region's name is said."""
    row, at = (talk.repeated & talk.said)[:, 1:].nonzero(as_tuple=True)
    return row, at


def _surprise(mass: Tensor) -> Tensor:
    return -(mass + _TINY).log().sum() / max(1, len(mass))
