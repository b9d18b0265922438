"""Expressions that fit exactly one thing of a scene (referring expressions, paper 5.1 REC)."""

from collections.abc import Callable
from dataclasses import dataclass

from groma.data.sample import Mention, Pieces
from groma.dice import Dice
from groma.text.grammar import MEASURES, ORDINALS, Words, the, with_adjectives
from recipes.scenes.language import expressions
from recipes.scenes.language.asked import word_for
from recipes.scenes.language.facts import OPPOSITE, Facts, Relation

_CORNER, _CORNER_CLEAR = 0.32, 0.48
_NEXT_GAP, _NEXT_CLEAR = 0.08, 0.15


@dataclass(frozen=True, slots=True)
class Reference:
    """Words for one thing.

    Attributes:
        pieces: as a question says it.
        words: as the answer says it.
        index: of the thing.
    """

    pieces: Pieces
    words: Words
    index: int


Referrer = Callable[[Facts, Dice, int], Reference | None]


def by_name(facts: Facts, dice: Dice, index: int) -> Reference | None:
    """As in "the dog", if there is only one."""
    noun = facts.things[index].noun
    if len(facts.by_noun[noun]) > 1:
        return None
    word = word_for(facts, noun, dice)
    words = the(noun) if word == noun else Words(f"the {word}")
    return Reference((words.text,), words, index)


def by_colour(facts: Facts, dice: Dice, index: int) -> Reference | None:
    """As in "the red car", if all cars have a clear colour and one is red."""
    thing = facts.things[index]
    rivals = [facts.things[i].colour for i in facts.by_noun[thing.noun]]
    if (
        thing.noun not in facts.vocabulary.colourable
        or None in rivals
        or rivals.count(thing.colour) > 1
    ):
        return None
    word = word_for(facts, thing.noun, dice)
    form = dice.choice(expressions.COLOUR_FORMS).format(c=thing.colour, n=word)
    return Reference((form,), Words(f"the {thing.colour} {word}"), index)


def by_size(facts: Facts, dice: Dice, index: int) -> Reference | None:
    """As in "the biggest dog", "the small dog", "the largest thing in the picture"."""
    if dice.maybe(0.2):
        return _by_size_of_all(facts, dice, index)
    thing = facts.things[index]
    twins = facts.by_noun[thing.noun]
    if len(twins) < 2:
        return None
    adjectives = size_adjectives(facts, index, twins)
    if not adjectives:
        return None
    return _reference(f"the {dice.choice(adjectives)} {_head(facts, thing.noun, dice)}", index)


def size_adjectives(facts: Facts, index: int, rivals: list[int]) -> tuple[str, ...]:
    """Words for the size of a thing that fit none of its rivals; empty if it is not clear."""
    if facts.biggest(rivals) == index:
        extremes, comparatives, label = expressions.BIGGEST, expressions.BIGGER, "large"
    elif facts.smallest(rivals) == index:
        extremes, comparatives, label = expressions.SMALLEST, expressions.SMALLER, "small"
    else:
        return ()
    adjectives = (*extremes, *(comparatives if len(rivals) == 2 else ()))
    if [facts.things[i].size for i in rivals].count(label) == 1:
        adjectives += expressions.SIZE_WORDS[label] * (facts.things[index].size == label)
    return adjectives


def _by_size_of_all(facts: Facts, dice: Dice, index: int) -> Reference | None:
    everything = list(range(len(facts.things)))
    if facts.biggest(everything) == index:
        adjective = dice.choice(expressions.BIGGEST)
    elif facts.smallest(everything) == index:
        adjective = dice.choice(expressions.SMALLEST)
    else:
        return None
    form = f"the {adjective} {dice.choice(expressions.ANYTHING)}"
    return Reference((form,), _revealed(facts, index), index)


def by_position(facts: Facts, dice: Dice, index: int) -> Reference | None:
    """As in "the dog on the left", "the middle dog", "the thing in the top left corner"."""
    if dice.maybe(0.25):
        return _by_corner(facts, dice, index)
    noun = facts.things[index].noun
    twins = facts.by_noun[noun]
    ends: tuple[Relation, Relation] = dice.choice([("left", "right"), ("above", "below")])
    ranked = facts.ranked(twins, 0 if ends[0] == "left" else 1)
    if len(twins) < 2 or ranked is None:
        return None
    if index == ranked[0]:
        forms = expressions.EXTREMES[ends[0]]
    elif index == ranked[-1]:
        forms = expressions.EXTREMES[ends[1]]
    elif len(ranked) == 3 and ends[0] == "left":
        forms = expressions.MIDDLES
    else:
        return None
    return _reference(dice.choice(forms).format(n=_head(facts, noun, dice)), index)


def _by_corner(facts: Facts, dice: Dice, index: int) -> Reference | None:
    height, width = facts.scene.size
    side, level = facts.place(index)
    if "middle" in (side, level):
        return None
    corner = (0 if side == "left" else width, 0 if level == "top" else height)

    def reach(other: int) -> float:
        x, y = facts.things[other].centre
        return max(abs(x - corner[0]) / width, abs(y - corner[1]) / height)

    others = (i for i in range(len(facts.things)) if i != index)
    if reach(index) > _CORNER or any(reach(i) < _CORNER_CLEAR for i in others):
        return None
    form = dice.choice(expressions.CORNERS[side, level])
    return Reference((form,), _revealed(facts, index), index)


def by_ordinal(facts: Facts, dice: Dice, index: int) -> Reference | None:
    """As in "the second dog from the left"."""
    noun = facts.things[index].noun
    twins = facts.by_noun[noun]
    end = dice.choice(list(expressions.ORDINAL_ENDS))
    ranked = facts.ranked(twins, 0 if end in ("left", "right") else 1)
    if len(twins) < 2 or ranked is None:
        return None
    if end in ("right", "below"):
        ranked = ranked[::-1]
    rank = ranked.index(index)
    if rank >= len(ORDINALS):
        return None  # nobody counts so far
    ordinal, head = ORDINALS[rank], _head(facts, noun, dice)
    return _reference(f"the {ordinal} {head} {expressions.ORDINAL_ENDS[end]}", index)


def by_relation(facts: Facts, dice: Dice, index: int) -> Reference | None:
    """As in "the dog to the left of the car", "the thing above it", "the dog next to the car"."""
    noun = facts.things[index].noun
    anchors = [i for i in facts.unique if i != index]
    if not anchors:
        return None
    anchor = dice.choice(anchors)
    anything = dice.maybe(0.2)
    rivals = range(len(facts.things)) if anything else facts.by_noun[noun]
    others = [i for i in rivals if i not in (index, anchor)]
    relations = [
        relation
        for relation in OPPOSITE
        if facts.holds(relation, index, anchor)
        and all(facts.fails(relation, other, anchor) for other in others)
    ]
    near = facts.gap(index, anchor)
    beyond = near + _NEXT_CLEAR
    if near < _NEXT_GAP and all(facts.gap(other, anchor) > beyond for other in others):
        words = "next to" if dice.maybe(0.6) else "beside"
    elif relations:
        words = dice.choice(expressions.RELATIONS[dice.choice(relations)])
    else:
        return None
    head = "thing" if anything else _head(facts, noun, dice)
    place = (Mention(anchor),) if dice.maybe(0.12) else (the(facts.things[anchor].noun).text,)
    shown = _revealed(facts, index) if anything else Words(f"the {head}")
    return Reference((f"the {head} {words} ", *place), shown, index)


REFERRERS: dict[str, Referrer] = {
    "rec_name": by_name,
    "rec_colour": by_colour,
    "rec_size": by_size,
    "rec_position": by_position,
    "rec_relation": by_relation,
    "rec_ordinal": by_ordinal,
}


def refer(
    facts: Facts, dice: Dice, index: int, ways: tuple[Referrer, ...] = (by_colour, by_position)
) -> Reference | None:
    """Name one given thing: by its noun if that is enough, else in one of the given ways."""
    for way in (by_name, *dice.shuffled(ways)):
        reference = way(facts, dice, index)
        if reference is not None:
            return reference
    return None


def refer_to_pair(
    facts: Facts, dice: Dice, one: int, other: int
) -> tuple[Reference, Reference] | None:
    """Name two things, or point at both."""
    if dice.maybe(0.3):
        first, second = pair_names(facts, one, other)
        return Reference((Mention(one),), first, one), Reference((Mention(other),), second, other)
    named = refer(facts, dice, one), refer(facts, dice, other)
    return None if named[0] is None or named[1] is None else (named[0], named[1])


def pair_names(facts: Facts, one: int, other: int) -> tuple[Words, Words]:
    """How an answer tells two shown regions apart: by noun, or as the first and the second."""
    first, second = facts.things[one].noun, facts.things[other].noun
    if first != second:
        return the(first), the(second)
    head = with_adjectives(first)
    return Words(f"the first {head}"), Words(f"the second {head}")


def _head(facts: Facts, noun: str, dice: Dice) -> str:
    """One of a noun, countable: "dog", "pair of glasses"."""
    return with_adjectives(noun) if noun in MEASURES else word_for(facts, noun, dice)


def _revealed(facts: Facts, index: int) -> Words:
    """What an answer calls a thing that the question could not name."""
    return Words(f"the {with_adjectives(facts.things[index].noun)}")


def _reference(text: str, index: int) -> Reference:
    return Reference((text,), Words(text), index)
