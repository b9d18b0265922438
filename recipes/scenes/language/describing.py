"""Descriptions of a whole scene with every thing grounded (grounded chat, paper 4).

The reading order is fixed: things by the centre of their box from left to right, and from top to
bottom where two centres lie level. A brief description groups things of one noun where the first
of them stands; a long one names each thing by itself, then the background.
"""

from groma.data.sample import Expected, Pieces, listing
from groma.dice import Dice
from recipes.scenes.language.asked import Asked, Maker, ask, grouped_phrases
from recipes.scenes.language.expressions import PLACES
from recipes.scenes.language.facts import Facts
from recipes.scenes.language.region_questions import full_name
from recipes.scenes.language.wording import draw_wording, phrase


def describe_brief(facts: Facts, dice: Dice) -> Asked:
    """As in "The picture shows a dog, two cats and a red car."."""
    question, _ = draw_wording("describe_brief", dice)
    fields = {"list": grouped_phrases(facts, facts.order)}
    answer = "the picture shows {list}."
    expected = Expected(regions=frozenset(facts.order))
    return ask("describe_brief", (question, answer), fields, expected, dice, ())


def describe_long(facts: Facts, dice: Dice) -> Asked:
    """Each thing with size, colour and place, then the background."""
    question, _ = draw_wording("describe_long", dice)
    items: list[Pieces] = [
        (phrase(full_name(facts.things[i]), i), f" {PLACES[facts.place(i)]}") for i in facts.order
    ]
    fields = {"list": listing(items), "background": background_sentence(facts)}
    answer = "from left to right, there is {list}. {background}"
    if len(items) == 1:
        answer = "there is {list}. {background}"
    stuff = range(len(facts.scene.stuff))
    regions = frozenset(facts.order) | {facts.stuff_index(i) for i in stuff}
    return ask("describe_long", (question, answer), fields, Expected(regions=regions), dice, ())


def background_sentence(facts: Facts) -> Pieces:
    """Which stuff lies behind the things, or that there is nothing to name."""
    stuff = facts.scene.stuff
    if not stuff:
        return ("The background shows no place, only colours.",)
    names = [phrase(f"the {s.name}", facts.stuff_index(i)) for i, s in enumerate(stuff)]
    return ("The background shows ", *listing(names), ".")


def background(facts: Facts, dice: Dice) -> Asked:
    """Which stuff lies behind the things."""
    question, _ = draw_wording("background", dice)
    stuff = facts.scene.stuff
    expected = Expected(
        regions=frozenset(facts.stuff_index(i) for i in range(len(stuff))),
        words=tuple((s.name,) for s in stuff),
    )
    fields = {"background": background_sentence(facts)}
    return ask("background", (question, "{background}"), fields, expected, dice, ())


DESCRIPTIONS: dict[str, Maker] = {
    "describe_brief": describe_brief,
    "describe_long": describe_long,
    "background": background,
}
