"""Questions about one thing: its colour, size and place, and what lies around it."""

from groma.data.sample import Expected, Pieces
from groma.dice import Dice
from groma.text.grammar import Words, a
from recipes.scenes.language.asked import Asked, Maker, agreement, ask, grouped_phrases, mention
from recipes.scenes.language.expressions import PLACES, RELATIONS
from recipes.scenes.language.facts import OPPOSITE, Facts, Relation
from recipes.scenes.language.finding import targets
from recipes.scenes.language.references import (
    Reference,
    by_colour,
    by_ordinal,
    by_position,
    refer,
    refer_to_pair,
)
from recipes.scenes.language.wording import Field, draw_wording, phrase
from recipes.scenes.scene import Thing

SIZE_ANSWERS: dict[str, str] = {"small": "small", "medium": "medium-sized", "large": "large"}
SIZE_CHECKS: dict[str, tuple[str, ...]] = {
    "small": ("small", "little", "tiny"),
    "medium": ("medium",),
    "large": ("large", "big", "huge"),
}
PLACE_CHECKS: dict[str, tuple[str, ...]] = {
    "left": ("left",),
    "right": ("right",),
    "top": ("top", "upper", "above"),
    "bottom": ("bottom", "lower", "below"),
    "middle": ("middle", "centre", "center"),
}
_CLEARLY_LOW, _CLEARLY_HIGH, _CLEARLY_MIDDLE = 0.29, 0.71, 0.07


def colour_known(thing: Thing) -> bool:
    """Whether one may ask for its colour: not of an orange."""
    return thing.colour is not None and thing.colour != thing.noun


def check_place(facts: Facts, index: int) -> tuple[tuple[str, ...], ...]:
    """Words an answer about a thing's place must hold, as far as its place is clear."""
    height, width = facts.scene.size
    x, y = facts.things[index].centre
    side, level = facts.place(index)
    groups = []
    if side != "middle" and not _CLEARLY_LOW < x / width < _CLEARLY_HIGH:
        groups.append(PLACE_CHECKS[side])
    if level != "middle" and not _CLEARLY_LOW < y / height < _CLEARLY_HIGH:
        groups.append(PLACE_CHECKS[level])
    central = max(abs(x / width - 0.5), abs(y / height - 0.5)) < _CLEARLY_MIDDLE
    return (PLACE_CHECKS["middle"],) if central else tuple(groups)


def _about(facts: Facts, dice: Dice, index: int) -> Reference | None:
    """A reference to a thing that gives away nothing that is asked."""
    if dice.maybe(0.3):
        return Reference(mention(index, dice), Words("it"), index)
    return refer(facts, dice, index, (by_position, by_ordinal))


def _ask_about(
    table: str, reference: Reference, fields: dict[str, Field], expected: Expected, dice: Dice
) -> Asked:
    """Ask about a thing named in words, or pointed at: then the kind begins with "region_"."""
    pointed = reference.words.text == "it"
    shown: Field = "it" if pointed else phrase(reference.words, reference.index)
    fields = {"x": reference.pieces, "t": shown, **reference.words.agreement} | fields
    regions = None if pointed else frozenset((reference.index,))
    expected = Expected(regions, words=expected.words, yes=expected.yes)
    kind = f"region_{table}" if pointed else table
    return ask(kind, draw_wording(table, dice), fields, expected, dice, (reference.index,))


def colour(facts: Facts, dice: Dice) -> Asked | None:
    """What colour a thing has, where that is beyond doubt."""
    for index in targets(facts, dice):
        name = facts.things[index].colour
        if name is None or not colour_known(facts.things[index]):
            continue
        reference = _about(facts, dice, index)
        if reference is not None:
            checks = (name, "gray") if name == "grey" else (name,)
            expected = Expected(words=(checks,))
            return _ask_about("colour", reference, {"colour": name}, expected, dice)
    return None


def size(facts: Facts, dice: Dice) -> Asked | None:
    """Whether a thing is small, medium-sized or large."""
    for index in targets(facts, dice):
        reference = _about(facts, dice, index)
        if reference is not None:
            name = facts.things[index].size
            expected = Expected(words=(SIZE_CHECKS[name],))
            return _ask_about("size", reference, {"size": SIZE_ANSWERS[name]}, expected, dice)
    return None


def where(facts: Facts, dice: Dice) -> Asked | None:
    """In which part of the picture a thing is, in words."""
    for index in targets(facts, dice):
        reference = refer(facts, dice, index, (by_colour,))
        if dice.maybe(0.3):
            reference = Reference(mention(index, dice), Words("it"), index)
        if reference is not None:
            expected = Expected(words=check_place(facts, index))
            fields: dict[str, Field] = {"place": PLACES[facts.place(index)]}
            return _ask_about("where", reference, fields, expected, dice)
    return None


def things_related(facts: Facts, relation: Relation, anchor: int) -> list[int] | None:
    """All things clearly to one side of another in reading order; None if any is a doubt."""
    others = [i for i in facts.order if i != anchor]
    related = [i for i in others if facts.holds(relation, i, anchor)]
    doubtful = any(i not in related and not facts.fails(relation, i, anchor) for i in others)
    return None if doubtful or len(related) > 4 else related


def what_related(facts: Facts, dice: Dice) -> Asked | None:
    """What lies to one side of a thing."""
    for anchor in targets(facts, dice):
        side = draw_side(facts, dice, anchor)
        reference = _anchor(facts, dice, anchor)
        if side is not None and reference is not None:
            relation, related = side
            wording = draw_wording("what_related", dice)
            return ask_related("what_related", wording, facts, dice, related, relation, reference)
    return None


def draw_side(facts: Facts, dice: Dice, anchor: int) -> tuple[Relation, list[int]] | None:
    """A side of a thing of which it is clear what lies there, mostly one where something does."""
    clear = [
        (relation, related)
        for relation in dice.shuffled(tuple(OPPOSITE))
        if (related := things_related(facts, relation, anchor)) is not None
    ]
    if dice.maybe(0.75):
        clear.sort(key=lambda side: not side[1])
    return clear[0] if clear else None


def what_from(facts: Facts, dice: Dice) -> Asked | None:
    """What a thing lies to one side of: the same facts, asked from the other end."""
    for index in targets(facts, dice):
        reference = _anchor(facts, dice, index)
        side = draw_side(facts, dice, index)
        if reference is None or side is None or not side[1]:
            continue
        relation, related = OPPOSITE[side[0]], side[1]
        pointed = reference.words.text == "it"
        fields: dict[str, Field] = {
            "x": reference.pieces,
            "t": "it" if pointed else phrase(reference.words, index),
            "relation": RELATIONS[relation][0],
            "list": grouped_phrases(facts, related),
            **reference.words.agreement,
        }
        expected = Expected(regions=frozenset(related if pointed else (index, *related)))
        wording = draw_wording("what_from", dice)
        return ask("what_from", wording, fields, expected, dice, (index,))
    return None


def ask_related(
    kind: str,
    wording: tuple[str, str],
    facts: Facts,
    dice: Dice,
    related: list[int],
    relation: Relation,
    reference: Reference,
) -> Asked:
    """The question what lies to one side, for things already found.

    Args:
        kind: of the task.
        wording: templates of question and answer.
        facts: of the scene.
        dice: how it is put.
        related: the things that lie there, in reading order.
        relation: the side.
        reference: to the thing whose side is meant.
    """
    question = wording[0]
    said, plain = dice.choice(RELATIONS[relation][:2]), RELATIONS[relation][0]
    fields: dict[str, Field] = {"x": reference.pieces, "relation": said}
    fields |= agreement(max(1, len(related))) | {"it": reference.words.agreement["it"]}
    if fields["it"] == "they":
        fields["it"] = "them"
    back: Field = reference.words.text if reference.words.text != "it" else reference.pieces[-1:]
    if "{it}" in question or reference.words.text == "it":
        back = fields["it"]
    listed: Pieces = grouped_phrases(facts, related) if related else ("nothing",)
    yes_or_no = question.startswith("Is anything")
    start = ("yes, " if related else "no, ") if yes_or_no else ""
    template = f"{start}{{t}} {{is}} {plain} {{back}}."
    fields |= {"t": listed, "back": back}
    expected = Expected(regions=frozenset(related), yes=bool(related) if yes_or_no else None)
    focus = tuple(related) or (reference.index,)
    return ask(kind, (question, template), fields, expected, dice, focus)


def nearest(facts: Facts, dice: Dice) -> Asked | None:
    """What is closest to a thing."""
    for anchor in targets(facts, dice):
        near = facts.nearest(anchor)
        reference = _anchor(facts, dice, anchor)
        if near is not None and reference is not None:
            thing = facts.things[near]
            text = a(thing.noun, colour=thing.colour)
            back = reference.words.text
            fields: dict[str, Field] = {
                "x": reference.pieces,
                "t": phrase(text, near),
                "back": back,
                "is": "is",
            }
            question, _ = draw_wording("nearest", dice)
            expected = Expected(regions=frozenset((near,)))
            wording = (question, "{t} is closest to {back}.")
            return ask("nearest", wording, fields, expected, dice, (near,))
    return None


def _anchor(facts: Facts, dice: Dice, index: int) -> Reference | None:
    """A thing to start from: pointed at, or named."""
    if dice.maybe(0.3):
        return Reference(mention(index, dice), Words("it"), index)
    return refer(facts, dice, index)


def check_relation(facts: Facts, dice: Dice) -> Asked | None:
    """Whether one thing lies to a side of another; half of the truths are "no"."""
    for one in targets(facts, dice):
        for other in dice.sample([i for i in facts.order if i != one], 3):
            true = [relation for relation in OPPOSITE if facts.holds(relation, one, other)]
            if true:
                return _ask_check(facts, dice, one, other, dice.choice(true))
    return None


def _ask_check(facts: Facts, dice: Dice, one: int, other: int, relation: Relation) -> Asked | None:
    named = refer_to_pair(facts, dice, one, other)
    if named is None:
        return None
    first, second = named
    yes = dice.maybe(0.5)
    asked = relation if yes else OPPOSITE[relation]
    question, _ = draw_wording("check_relation", dice)
    fields: dict[str, Field] = {
        "x": first.pieces,
        "y": second.pieces,
        "t": phrase(first.words, one),
        "u": phrase(second.words, other),
        "relation": RELATIONS[asked][0],
        "true": RELATIONS[relation][0],
        **first.words.agreement,
    }
    answer = f"{'yes' if yes else 'no'}, {{t}} {{is}} {{true}} {{u}}."
    expected = Expected(regions=frozenset((one, other)), yes=yes)
    return ask("check_relation", (question, answer), fields, expected, dice, (one,))


def check_size(facts: Facts, dice: Dice) -> Asked | None:
    """Whether one thing is bigger or smaller than another."""
    pair = clear_pair(facts, dice)
    if pair is None:
        return None
    one, other = pair if dice.maybe(0.5) else pair[::-1]
    named = refer_to_pair(facts, dice, one, other)
    if named is None:
        return None
    first, second = named
    truth = "bigger" if facts.bigger(one, other) else "smaller"
    comparison = dice.choice(("bigger", "smaller"))
    yes = comparison == truth
    question, _ = draw_wording("check_size", dice)
    fields: dict[str, Field] = {
        "x": first.pieces,
        "y": second.pieces,
        "t": phrase(first.words, one),
        "u": phrase(second.words, other),
        "comparison": comparison,
        **first.words.agreement,
    }
    answer = f"{'yes' if yes else 'no'}, {{t}} {{is}} {truth} than {{u}}."
    expected = Expected(regions=frozenset((one, other)), yes=yes)
    return ask("check_size", (question, answer), fields, expected, dice, (one,))


def clear_pair(facts: Facts, dice: Dice) -> tuple[int, int] | None:
    """Two things of which the first is clearly bigger."""
    indices = dice.shuffled(range(len(facts.things)))
    for one in indices:
        for other in indices:
            if one != other and facts.bigger(one, other):
                return one, other
    return None


ATTRIBUTES: dict[str, Maker] = {
    "colour": colour,
    "size": size,
    "where": where,
    "what_related": what_related,
    "what_from": what_from,
    "nearest": nearest,
    "check_relation": check_relation,
    "check_size": check_size,
}
