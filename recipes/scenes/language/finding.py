"""Questions answered by pointing: find one, find all, find what is not there (paper 4, REC)."""

from functools import partial

from groma.data.sample import Expected
from groma.dice import Dice
from groma.text.grammar import (
    ALWAYS_PLURAL,
    Words,
    article,
    number_word,
    plural_of,
    several,
    the,
    with_adjectives,
)
from recipes.scenes.language.asked import (
    Asked,
    Maker,
    absent_noun,
    agreement,
    ask,
    in_all,
    word_for,
)
from recipes.scenes.language.facts import Facts
from recipes.scenes.language.references import REFERRERS, Referrer
from recipes.scenes.language.wording import Field, draw_wording, phrase
from recipes.scenes.nouns import STUFF_SYNONYMS


def find(kind: str, referrer: Referrer, facts: Facts, dice: Dice) -> Asked | None:
    """One thing, named so that nothing else can be meant."""
    for index in targets(facts, dice):
        reference = referrer(facts, dice, index)
        if reference is not None:
            fields: dict[str, Field] = {
                "x": reference.pieces,
                "t": phrase(reference.words, index),
                **reference.words.agreement,
            }
            expected = Expected(regions=frozenset((index,)))
            return ask(kind, draw_wording("find", dice), fields, expected, dice, (index,))
    return None


def targets(facts: Facts, dice: Dice) -> list[int]:
    """All things in random order, mostly those first that have twins."""
    indices = dice.shuffled(range(len(facts.things)))
    if dice.maybe(0.75):
        indices.sort(key=lambda i: facts.things[i].noun not in facts.twins)
    return indices


def find_stuff(facts: Facts, dice: Dice) -> Asked | None:
    """A stretch of background by its name."""
    if not facts.scene.stuff:
        return None
    position = dice.below(len(facts.scene.stuff))
    region = facts.stuff_index(position)
    name = facts.scene.stuff[position].name
    word = name
    if name in STUFF_SYNONYMS and dice.maybe(0.2):
        word = dice.choice(STUFF_SYNONYMS[name])
    words = Words(f"the {word}")
    fields: dict[str, Field] = {"x": words, "t": phrase(words, region), **words.agreement}
    expected = Expected(regions=frozenset((region,)))
    return ask("rec_stuff", draw_wording("find", dice), fields, expected, dice, ())


def find_absent(facts: Facts, dice: Dice) -> Asked | None:
    """Something that is not in the picture: the honest answer has no box."""
    words, missing = _draw_absent(facts, dice)
    question, answer = draw_wording("find", dice)
    denial = f"no, {missing}" if answer.startswith("Yes") else missing
    fields: dict[str, Field] = {"x": words, **words.agreement}
    return ask("find_absent", (question, denial), fields, Expected(regions=frozenset()), dice, ())


def _draw_absent(facts: Facts, dice: Dice) -> tuple[Words, str]:
    """What is not there, and the sentence that says so."""
    colour_gap = _absent_colour(facts, dice)
    if colour_gap and dice.maybe(0.3):
        noun, colour = colour_gap
        return the(noun, colour=colour), not_there(noun, colour)
    stuff = [
        name for name in facts.vocabulary.stuff if name not in {s.name for s in facts.scene.stuff}
    ]
    if stuff and dice.maybe(0.08):
        name = dice.choice(stuff)
        return Words(f"the {name}"), f"there is no {name} in the picture."
    noun = absent_noun(facts, dice)
    word = word_for(facts, noun, dice)
    words = the(noun) if word == noun else Words(f"the {word}")
    return words, not_there(noun, word=word)


def _absent_colour(facts: Facts, dice: Dice) -> tuple[str, str] | None:
    """A noun that is there and a colour that none of its things has."""
    nouns = [
        n for n in facts.by_noun if n in facts.vocabulary.colourable and facts.colours_known(n)
    ]
    if not nouns:
        return None
    noun = dice.choice(nouns)
    present = {facts.things[i].colour for i in facts.by_noun[noun]}
    missing = [colour for colour in facts.vocabulary.tints if colour not in present]
    return (noun, dice.choice(missing)) if missing else None


def not_there(noun: str, colour: str | None = None, word: str | None = None) -> str:
    """As in "there is no red car in the picture.", "there are no glasses in the picture."."""
    verb = "are" if noun in ALWAYS_PLURAL else "is"
    words = " ".join(part for part in (colour, word or noun) if part)
    return f"there {verb} no {words} in the picture."


class Many:
    """All things of one noun, colour or group, as questions and answers name them.

    Attributes:
        indices: of the things, left to right.
        one: "red car", "piece of food".
        plural: "red cars", "pieces of food".
        counted: "three red cars", "one red car", "no red cars".
    """

    def __init__(self, indices: list[int], one: str, plural: str, counted: str):
        self.indices, self.one, self.plural, self.counted = indices, one, plural, counted

    @property
    def name(self) -> str:
        """As in "red cars", "red car"; their number is for after they have been pointed at."""
        return self.one if len(self.indices) == 1 else self.plural

    @property
    def expected_regions(self) -> frozenset[int]:
        """What an answer must point at."""
        return frozenset(self.indices)


def draw_many(facts: Facts, dice: Dice, absent: float, everything: float = 0.06) -> Many:
    """Things to look for together.

    Args:
        facts: of the scene.
        dice: what to look for.
        absent: share of nouns that are not there.
        everything: share of questions about all things alike.
    """
    groups = clear_groups(facts)
    if groups and dice.maybe(0.12):
        return group(facts, dice.choice(groups))
    if dice.maybe(everything):
        count = len(facts.order)
        words = "thing" if count == 1 else "things"
        return Many(list(facts.order), "thing", "things", f"{number_word(count)} {words}")
    if dice.maybe(absent):
        return of_noun(facts, dice, absent_noun(facts, dice))
    twins = facts.twins
    noun = dice.choice(twins if twins and dice.maybe(0.65) else list(facts.by_noun))
    return of_noun(facts, dice, noun)


def of_noun(facts: Facts, dice: Dice, noun: str) -> Many:
    """All things of a noun, sometimes only those of one colour."""
    indices = facts.by_noun.get(noun, [])
    tints = facts.vocabulary.tints
    if (
        noun in facts.vocabulary.colourable
        and indices
        and facts.colours_known(noun)
        and dice.maybe(0.35)
    ):
        present = [facts.things[i].colour for i in indices]
        colour = dice.choice(present) if dice.maybe(0.75) else dice.choice(tints)
        chosen = [i for i in indices if facts.things[i].colour == colour]
        counted = several(noun, len(chosen), colour)
        return Many(chosen, f"{colour} {noun}", several(noun, colour=colour), counted)
    word = word_for(facts, noun, dice)
    if word != noun:
        counted = f"{number_word(len(indices))} {word if len(indices) == 1 else plural_of(word)}"
        return Many(indices, word, plural_of(word), counted)
    plural = several(noun) if dice.maybe(0.5) else plural_of(noun)
    return Many(indices, with_adjectives(noun), plural, several(noun, len(indices)))


def clear_groups(facts: Facts) -> list[str]:
    """Groups of nouns one can ask about without a quarrel over what belongs to them."""
    vocabulary, present = facts.vocabulary, facts.by_noun.keys()
    return [
        name
        for name in vocabulary.group_words
        if not vocabulary.group_rivals[name] & present
        and not facts.doubtful & set(vocabulary.groups[name])
    ]


def group(facts: Facts, name: str) -> Many:
    """All animals, vehicles or pieces of food."""
    one, plural = facts.vocabulary.group_words[name]
    members = facts.vocabulary.groups[name]
    indices = [i for i in facts.order if facts.things[i].noun in members]
    word = one if len(indices) == 1 else plural
    return Many(indices, one, plural, f"{number_word(len(indices))} {word}")


def find_all(facts: Facts, dice: Dice) -> Asked | None:
    """Every thing of a noun, colour or group; an honest "no" if there is none."""
    many = draw_many(facts, dice, absent=0.12)
    question, answer = draw_wording("find_all", dice)
    fields: dict[str, Field] = {
        "x": many.plural,
        "one": many.one,
        **agreement(len(many.indices)),
    }
    expected = Expected(regions=many.expected_regions)
    if not many.indices:
        denial = f"there are {many.counted} in the picture."
        wording = (question, f"no, {denial}" if answer.startswith("Yes") else denial)
        return ask("find_all", wording, fields, expected, dice, ())
    fields["t"] = phrase(f"the {many.name}", *many.indices)
    focus = tuple(many.indices)
    return ask("find_all", (question, answer), fields, expected, dice, focus)


def exist(facts: Facts, dice: Dice) -> Asked | None:
    """Whether there is such a thing; yes and no are equally frequent."""
    many = draw_many(facts, dice, absent=0.55, everything=0.0)
    question, answer = draw_wording("exist", dice)
    count = len(many.indices)
    one = f"{article(many.one)} {many.one}"
    fields: dict[str, Field] = {"a": one, "x": many.plural, **agreement(count)}
    expected = Expected(regions=many.expected_regions, yes=count > 0)
    if not count:
        denial = f"no, there is no {many.one} in the picture."
        return ask("exist", (question, denial), fields, expected, dice, ())
    fields["t"] = phrase(one if count == 1 else many.plural, *many.indices)
    return ask("exist", (question, answer), fields, expected, dice, tuple(many.indices))


def count(facts: Facts, dice: Dice) -> Asked | None:
    """How many there are."""
    many = draw_many(facts, dice, absent=0.15)
    total = len(many.indices)
    question, answer = draw_wording("count", dice)
    expected = Expected(regions=many.expected_regions, count=total)
    fields: dict[str, Field] = {"x": many.plural, **agreement(total)}
    if not total:
        wording = (question, f"there are {many.counted} in the picture.")
        return ask("count", wording, fields, expected, dice, ())
    fields |= {"t": phrase(f"the {many.name}", *many.indices), "n": in_all(total)}
    return ask("count", (question, answer), fields, expected, dice, tuple(many.indices))


FINDERS: dict[str, Maker] = {
    kind: partial(find, kind, referrer) for kind, referrer in REFERRERS.items()
}
FINDERS |= {
    "rec_stuff": find_stuff,
    "find_absent": find_absent,
    "find_all": find_all,
    "exist": exist,
    "count": count,
}
