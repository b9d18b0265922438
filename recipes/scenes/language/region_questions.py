"""Questions about regions the user points at (referring, paper 4): one, or several at once."""

from collections.abc import Callable

from groma.data.sample import Expected, Mention, Pieces, listing
from groma.dice import Dice
from groma.text.grammar import a, plural_of, several, the
from recipes.scenes.language.asked import Asked, Maker, ask, mention
from recipes.scenes.language.attributes import check_place, clear_pair, colour_known
from recipes.scenes.language.expressions import BIGGER, PLACES, RELATIONS, SMALLER
from recipes.scenes.language.facts import Facts
from recipes.scenes.language.references import by_colour, by_name, by_position, by_size, pair_names
from recipes.scenes.language.wording import Field, draw_wording, phrase, region_list
from recipes.scenes.scene import Thing


def region_name(facts: Facts, dice: Dice) -> Asked | None:
    """What a region is called; sometimes the region is a stretch of background."""
    stuff = facts.scene.stuff
    if stuff and dice.maybe(0.12):
        position = dice.below(len(stuff))
        name = stuff[position].name
        fields: dict[str, Field] = {
            "x": mention(facts.stuff_index(position), dice),
            "a": f"the {name}",
        }
        return ask(
            "region_name",
            draw_wording("region_name", dice),
            fields,
            Expected(words=((name,),)),
            dice,
            (),
        )
    index = dice.below(len(facts.things))
    noun = facts.things[index].noun
    fields = {"x": mention(index, dice), "a": a(noun)}
    expected = Expected(words=((noun,),))
    return ask("region_name", draw_wording("region_name", dice), fields, expected, dice, (index,))


def region_describe(facts: Facts, dice: Dice) -> Asked | None:
    """Name, size, colour and place of a region, and its neighbour."""
    index = dice.below(len(facts.things))
    thing = facts.things[index]
    known = (thing.colour,) if thing.colour and colour_known(thing) else ()
    checks = ((thing.noun,), *((colour,) for colour in known), *check_place(facts, index))
    fields: dict[str, Field] = {
        "x": mention(index, dice),
        "description": description(facts, index),
    }
    wording = draw_wording("region_describe", dice)
    return ask("region_describe", wording, fields, Expected(words=checks), dice, (index,))


def description(facts: Facts, index: int) -> Pieces:
    """As in "It is a small red car at the top left. The dog is to the right of it."."""
    thing = facts.things[index]
    pieces: Pieces = (f"It is {full_name(thing)} {PLACES[facts.place(index)]}.",)
    neighbour = min(
        (i for i in facts.unique if i != index and facts.direction(i, index)),
        key=lambda i: facts.gap(i, index),
        default=None,
    )
    if neighbour is None:
        return pieces
    relation = facts.direction(neighbour, index)
    if relation is None or not facts.holds(relation, neighbour, index):
        return pieces
    words = the(facts.things[neighbour].noun)
    verb = words.agreement["is"]
    named = phrase(f"The {facts.things[neighbour].noun}", neighbour)
    return (*pieces, " ", named, f" {verb} {RELATIONS[relation][0]} it.")


def full_name(thing: Thing) -> str:
    """As in "a small red car", "a large pair of glasses", "a dog": medium goes without saying."""
    return a(thing.noun, None if thing.size == "medium" else thing.size, thing.colour)


def region_names(facts: Facts, dice: Dice) -> Asked | None:
    """What two to four regions are."""
    regions = dice.sample(range(len(facts.things)), 2 + dice.below(3))
    if len(regions) < 2:
        return None
    names = listing([phrase(a(facts.things[i].noun), i) for i in regions])
    fields: dict[str, Field] = {"x": region_list(regions), "t": names}
    expected = Expected(
        regions=frozenset(regions), words=tuple((facts.things[i].noun,) for i in regions)
    )
    wording = draw_wording("region_list", dice)
    return ask("region_names", wording, fields, expected, dice, tuple(regions))


def compare_size(facts: Facts, dice: Dice) -> Asked | None:
    """Which of two regions is bigger, or smaller."""
    pair = clear_pair(facts, dice)
    if pair is None:
        return None
    big, small = pair
    bigger = dice.maybe(0.5)
    comparison = dice.choice(BIGGER if bigger else SMALLER)
    shown = pair if dice.maybe(0.5) else pair[::-1]
    names = dict(zip(shown, pair_names(facts, *shown), strict=True))
    right = big if bigger else small
    fields: dict[str, Field] = {
        "x": Mention(shown[0]),
        "y": Mention(shown[1]),
        "t": phrase(names[right], right),
        "comparison": comparison,
        **names[right].agreement,
    }
    question, answer = draw_wording("compare_size", dice)
    expected = Expected(regions=frozenset((right,)))
    return ask("compare_size", (question, answer), fields, expected, dice, (right,))


def compare_place(facts: Facts, dice: Dice) -> Asked | None:
    """Where one region lies, seen from another."""
    for one in dice.shuffled(range(len(facts.things))):
        for other in dice.shuffled(range(len(facts.things))):
            relation = facts.direction(one, other) if one != other else None
            if relation is None or not facts.holds(relation, one, other):
                continue
            first, second = pair_names(facts, one, other)
            fields: dict[str, Field] = {
                "x": Mention(one),
                "y": Mention(other),
                "t": phrase(first, one),
                "u": phrase(second, other),
                "relation": RELATIONS[relation][0],
                **first.agreement,
            }
            expected = Expected(
                regions=frozenset((one, other)), words=((relation, RELATIONS[relation][0]),)
            )
            wording = draw_wording("compare_place", dice)
            return ask("compare_place", wording, fields, expected, dice, (one,))
    return None


def compare_same(facts: Facts, dice: Dice) -> Asked | None:
    """Whether two regions are the same kind of thing; twins are taken half the time."""
    twins = facts.twins
    if twins and dice.maybe(0.5):
        pair = dice.sample(facts.by_noun[dice.choice(twins)], 2)
    else:
        pair = dice.sample(range(len(facts.things)), 2)
    if len(pair) < 2:
        return None
    one, other = pair
    first, second = (facts.things[i].noun for i in pair)
    question, _ = draw_wording("compare_same", dice)
    fields: dict[str, Field] = {"x": Mention(one), "y": Mention(other)}
    if first == second:
        fields["both"] = phrase(several(first, 2), one, other)
        answer = "yes, they are {both}."
    else:
        fields |= {"t": phrase("the first", one), "u": phrase("the second", other)}
        answer = f"no, {{t}} is {a(first)} and {{u}} is {a(second)}."
    names = ((first, plural_of(first)),) if first == second else ((first,), (second,))
    expected = Expected(yes=first == second, words=names)
    return ask("compare_same", (question, answer), fields, expected, dice, tuple(pair))


def compare_colour(facts: Facts, dice: Dice) -> Asked | None:
    """Whether two regions have the same colour."""
    known = [i for i, thing in enumerate(facts.things) if thing.colour is not None]
    pairs = [(i, j) for i in known for j in known if i < j]
    same = [pair for pair in pairs if _colour(facts, pair[0]) == _colour(facts, pair[1])]
    if same and dice.maybe(0.5):
        pairs = same
    if not pairs:
        return None
    one, other = dice.choice(pairs)
    first, second = _colour(facts, one), _colour(facts, other)
    question, _ = draw_wording("compare_colour", dice)
    fields: dict[str, Field] = {"x": Mention(one), "y": Mention(other)}
    if first == second:
        fields["both"] = phrase("both", one, other)
        answer = f"yes, {{both}} are {first}."
    else:
        fields |= {"t": phrase("the first", one), "u": phrase("the second", other)}
        answer = f"no, {{t}} is {first} and {{u}} is {second}."
    expected = Expected(yes=first == second, words=((first,), (second,)))
    return ask("compare_colour", (question, answer), fields, expected, dice, (one, other))


def _colour(facts: Facts, index: int) -> str:
    return facts.things[index].colour or ""


def select(facts: Facts, dice: Dice) -> Asked | None:
    """Which of several regions fits a description."""
    for index in dice.shuffled(range(len(facts.things))):
        others = dice.sample([i for i in facts.order if i != index], 1 + dice.below(3))
        way: Callable = dice.choice((by_name, by_colour, by_size, by_position))
        reference = way(facts, dice, index)
        if reference is None or not others:
            continue
        shown = dice.shuffled([index, *others])
        fields: dict[str, Field] = {
            "x": region_list(shown),
            "y": reference.pieces,
            "t": phrase(reference.words, index),
        }
        expected = Expected(regions=frozenset((index,)))
        wording = draw_wording("select", dice)
        return ask("select", wording, fields, expected, dice, (index,))
    return None


REGION_KINDS: dict[str, Maker] = {
    "region_name": region_name,
    "region_describe": region_describe,
    "region_names": region_names,
    "compare_size": compare_size,
    "compare_place": compare_place,
    "compare_same": compare_same,
    "compare_colour": compare_colour,
    "select": select,
}
