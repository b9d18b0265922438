"""Questions that only make sense after another: "What colour is it?", "And the other one?"."""

from groma.data.sample import Expected, listing
from groma.dice import Dice
from groma.text.grammar import ALWAYS_PLURAL, Words, a, several, with_adjectives
from recipes.scenes.language.asked import Asked, FollowUp, agreement, ask, in_all
from recipes.scenes.language.attributes import (
    SIZE_ANSWERS,
    SIZE_CHECKS,
    ask_related,
    check_place,
    colour_known,
    draw_side,
)
from recipes.scenes.language.expressions import BIGGEST, PLACES, SMALLEST
from recipes.scenes.language.facts import Facts
from recipes.scenes.language.references import Reference
from recipes.scenes.language.wording import Field, draw_question, draw_wording, phrase

Focus = tuple[int, ...]


def _one(focus: Focus) -> int | None:
    return focus[0] if len(focus) == 1 else None


def _pronouns(facts: Facts, index: int) -> dict[str, str]:
    return Words("", facts.things[index].noun in ALWAYS_PLURAL).agreement


def colour(facts: Facts, dice: Dice, focus: Focus) -> Asked | None:
    """The colour of the one thing in focus."""
    index = _one(focus)
    if index is None or not colour_known(facts.things[index]):
        return None
    name = facts.things[index].colour or ""
    fields: dict[str, Field] = {"colour": name, **_pronouns(facts, index)}
    checks = (name, "gray") if name == "grey" else (name,)
    expected = Expected(words=(checks,))
    return ask("follow_colour", draw_wording("follow_colour", dice), fields, expected, dice)


def size(facts: Facts, dice: Dice, focus: Focus) -> Asked | None:
    """The size of the one thing in focus."""
    index = _one(focus)
    if index is None:
        return None
    name = facts.things[index].size
    fields: dict[str, Field] = {"size": SIZE_ANSWERS[name], **_pronouns(facts, index)}
    expected = Expected(words=(SIZE_CHECKS[name],))
    return ask("follow_size", draw_wording("follow_size", dice), fields, expected, dice)


def place(facts: Facts, dice: Dice, focus: Focus) -> Asked | None:
    """The place of the one thing in focus, in words."""
    index = _one(focus)
    if index is None:
        return None
    fields: dict[str, Field] = {"place": PLACES[facts.place(index)], **_pronouns(facts, index)}
    expected = Expected(words=check_place(facts, index))
    return ask("follow_place", draw_wording("follow_place", dice), fields, expected, dice)


def name(facts: Facts, dice: Dice, focus: Focus) -> Asked | None:
    """What the one thing in focus is."""
    index = _one(focus)
    if index is None:
        return None
    noun = facts.things[index].noun
    expected = Expected(words=((noun,),))
    wording = draw_wording("follow_name", dice)
    return ask("follow_name", wording, {"a": a(noun)}, expected, dice)


def count(facts: Facts, dice: Dice, focus: Focus) -> Asked | None:
    """How many of its kind there are."""
    nouns = {facts.things[i].noun for i in focus}
    if len(nouns) != 1:
        return None
    noun = nouns.pop()
    indices = facts.by_noun[noun]
    fields: dict[str, Field] = {
        "t": phrase(
            f"the {with_adjectives(noun) if len(indices) == 1 else several(noun)}", *indices
        ),
        "n": in_all(len(indices)),
        **agreement(len(indices)),
    }
    expected = Expected(regions=frozenset(indices), count=len(indices))
    wording = draw_wording("follow_count", dice)
    return ask("follow_count", wording, fields, expected, dice, tuple(indices))


def other(facts: Facts, dice: Dice, focus: Focus) -> Asked | None:
    """The other things of its kind, or that there are none."""
    index = _one(focus)
    if index is None:
        return None
    noun = facts.things[index].noun
    rest = [i for i in facts.by_noun[noun] if i != index]
    expected = Expected(regions=frozenset(rest), yes=None)
    if not rest or dice.maybe(0.25):
        return _another(facts, dice, index, rest)
    if len(rest) == 1:
        fields: dict[str, Field] = {"t": phrase(f"the other {with_adjectives(noun)}", *rest)}
        wording = (draw_question("follow_other", "other", dice), "here is {t}.")
    else:
        fields = {"t": phrase(f"the other {several(noun)}", *rest)}
        wording = (draw_question("follow_other", "others", dice), "here are {t}.")
    return ask("follow_other", wording, fields, expected, dice, tuple(rest))


def _another(facts: Facts, dice: Dice, index: int, rest: list[int]) -> Asked:
    """Whether there is one more of its kind."""
    noun = facts.things[index].noun
    question = draw_question("follow_other", "another", dice)
    agrees = ("yes", "no") if "only" not in question else ("no", "yes")
    yes = (agrees[0] if rest else agrees[1]) == "yes"
    expected = Expected(regions=frozenset(rest) if rest else None, yes=yes)
    if not rest:
        answer = f"{agrees[1]}, there is only one {with_adjectives(noun)}."
        return ask("follow_other", (question, answer), {}, expected, dice)
    text = f"another {with_adjectives(noun)}" if len(rest) == 1 else f"other {several(noun)}"
    fields: dict[str, Field] = {"t": phrase(text, *rest), **agreement(len(rest))}
    answer = f"{agrees[0]}, there {{is}} {{t}}."
    return ask("follow_other", (question, answer), fields, expected, dice, tuple(rest))


def superlative(facts: Facts, dice: Dice, focus: Focus) -> Asked | None:
    """Which of the things in focus is biggest, smallest, or farthest to one side."""
    if len(focus) < 2:
        return None
    members = list(focus)
    choices = [(facts.biggest(members), word) for word in BIGGEST]
    choices += [(facts.smallest(members), word) for word in SMALLEST]
    for axis, low, high in ((0, "leftmost", "rightmost"), (1, "highest", "lowest")):
        ranked = facts.ranked(members, axis)
        if ranked is not None:
            choices += [(ranked[0], low), (ranked[-1], high)]
    clear = [(index, word) for index, word in choices if index is not None]
    if not clear:
        return None
    index, word = dice.choice(clear)
    noun = with_adjectives(facts.things[index].noun)
    fields: dict[str, Field] = {
        "t": phrase(f"this {noun}", index),
        "superlative": word,
        "is": "is",
    }
    expected = Expected(regions=frozenset((index,)))
    wording = draw_wording("follow_superlative", dice)
    return ask("follow_superlative", wording, fields, expected, dice, (index,))


def colours(facts: Facts, dice: Dice, focus: Focus) -> Asked | None:
    """The colours of several things in focus, from left to right."""
    members = [i for i in facts.order if i in focus]
    if not 2 <= len(members) <= 4 or not all(colour_known(facts.things[i]) for i in members):
        return None
    if facts.ranked(members, 0) is None:
        return None
    names = [facts.things[i].colour or "" for i in members]
    if len(set(names)) == 1:
        shown = ("both " if len(names) == 2 else "all ") + names[0]
        fields: dict[str, Field] = {"colours": shown}
        wording = (draw_wording("follow_colours", dice)[0], "they are {colours}.")
    else:
        fields = {"colours": listing([phrase(n, i) for n, i in zip(names, members, strict=True)])}
        wording = draw_wording("follow_colours", dice)
    expected = Expected(words=tuple((n,) for n in dict.fromkeys(names)))
    return ask("follow_colours", wording, fields, expected, dice)


def related(facts: Facts, dice: Dice, focus: Focus) -> Asked | None:
    """What lies to one side of the one thing in focus."""
    index = _one(focus)
    if index is None:
        return None
    side = draw_side(facts, dice, index)
    if side is None:
        return None
    relation, found = side
    reference = Reference((), Words("it", facts.things[index].noun in ALWAYS_PLURAL), index)
    wording = draw_wording("follow_related", dice)
    return ask_related("follow_related", wording, facts, dice, found, relation, reference)


def nearest(facts: Facts, dice: Dice, focus: Focus) -> Asked | None:
    """What is closest to the one thing in focus."""
    index = _one(focus)
    near = None if index is None else facts.nearest(index)
    if index is None or near is None:
        return None
    thing = facts.things[near]
    fields: dict[str, Field] = {
        "t": phrase(a(thing.noun, colour=thing.colour), near),
        "it": "them" if facts.things[index].noun in ALWAYS_PLURAL else "it",
        "is": "is",
    }
    expected = Expected(regions=frozenset((near,)))
    wording = draw_wording("follow_nearest", dice)
    return ask("follow_nearest", wording, fields, expected, dice, (near,))


FOLLOW_UPS: dict[str, FollowUp] = {
    "follow_colour": colour,
    "follow_size": size,
    "follow_place": place,
    "follow_name": name,
    "follow_count": count,
    "follow_other": other,
    "follow_superlative": superlative,
    "follow_colours": colours,
    "follow_related": related,
    "follow_nearest": nearest,
}
