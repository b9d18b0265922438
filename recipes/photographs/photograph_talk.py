"""Conversations about photographs: what illustrated scenes never raise, doubt and ignorance.

Everything else is asked and answered as about illustrated scenes.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from groma.data.sample import Expected, GroundedSample, Mention, Pieces, listing
from groma.dice import Dice
from groma.text.grammar import a, article, number_word, plural_of, several, the
from recipes.photographs.vocabulary import NOUNS, UNKNOWN
from recipes.scenes.language.asked import (
    Asked,
    Maker,
    agreement,
    ask,
    in_all,
    mention,
    word_for,
)
from recipes.scenes.language.attributes import colour_known
from recipes.scenes.language.conversations import (
    OPENERS,
    TWIN_WEIGHTS,
    WEIGHTS,
    Repertoire,
    converse,
)
from recipes.scenes.language.expressions import PLACES
from recipes.scenes.language.facts import Facts
from recipes.scenes.language.finding import not_there, targets
from recipes.scenes.language.followups import FOLLOW_UPS
from recipes.scenes.language.region_questions import full_name
from recipes.scenes.language.smalltalk import Topic, talk_about
from recipes.scenes.language.wording import Field, draw_wording, phrase
from recipes.scenes.scene import Scene

PEOPLE: tuple[str, ...] = ("man", "woman", "boy", "girl", "child", "kid", "lady", "guy", "baby")
"""Words for a person that say more than the model can see."""
_MOST_SINGLE = 8
"""Things that a long description names one by one; of more it names the groups."""

READING = Topic(
    (
        "What does the sign say?",
        "What is written here?",
        "Read the text.",
        "Can you read that?",
        "What does it say on the bus?",
        "Which letters do you see?",
        "What is the number on the shirt?",
        "Please read the label.",
        "What does the text in the picture say?",
        "What is the licence plate?",
        "What is written there?",
        "What brand is it?",
    ),
    ("I cannot read text.",),
    ("cannot", "can't"),
)
WHO = Topic(
    (
        "Who is this?",
        "Who is that person?",
        "What is the name of the person?",
        "Do you know who this is?",
        "Is this somebody famous?",
        "Who are these people?",
        "Tell me who is in the picture.",
        "What is his name?",
        "What is her name?",
        "Is that the president?",
        "Which actor is this?",
        "Who is on the left?",
    ),
    ("I do not know who anybody is.",),
    ("not know", "cannot", "can't"),
)
FEELINGS = Topic(
    (
        "How old is the person?",
        "How old is she?",
        "How old is he?",
        "Is he happy?",
        "Is she sad?",
        "What mood are they in?",
        "How do they feel?",
        "Does the person look angry?",
        "Is the dog friendly?",
        "What is she thinking?",
        "Are they married?",
        "Guess the age of the person.",
        "Is it a man or a woman?",
        "Is the person beautiful?",
    ),
    ("I do not guess ages, feelings or anything of the kind.",),
    ("do not", "don't", "cannot"),
)
PLACE = Topic(
    (
        "What is in the background?",
        "Describe the background.",
        "What is the weather like?",
        "Is it day or night?",
        "Is it sunny?",
        "Where is this?",
        "What kind of place is this?",
        "Which city is this?",
        "Is this indoors or outdoors?",
        "What season is it?",
        "Which room is this?",
        "What is the setting of the picture?",
        "Is it raining in the picture?",
    ),
    ("I cannot tell: I see things, not places or weather.",),
    ("cannot", "can't"),
)
DOING = Topic(
    (
        "What is the person doing?",
        "What are they doing?",
        "What is he doing?",
        "What is she doing?",
        "What is the dog doing?",
        "What is happening here?",
        "Is the person running?",
        "Are they playing?",
        "What sport is this?",
        "What is going to happen?",
        "Who is winning?",
        "Why is the person there?",
    ),
    ("I cannot tell what anybody is doing: I only see which things are where.",),
    ("cannot", "can't"),
)
REFUSALS: Mapping[str, Topic] = {
    "refuse_reading": READING,
    "refuse_who": WHO,
    "refuse_feelings": FEELINGS,
    "refuse_place": PLACE,
    "refuse_doing": DOING,
}


def _named_doubts(facts: Facts) -> dict[str, list[int]]:
    """Nouns of which something may be there and nothing is for sure -> region indices."""
    found: dict[str, list[int]] = {}
    for position, doubt in enumerate(facts.scene.doubts):
        for noun in doubt.nouns:
            if noun not in facts.by_noun:
                found.setdefault(noun, []).append(facts.doubt_index(position))
    return found


def _left_to_right(facts: Facts, regions: list[int]) -> list[int]:
    first = facts.doubt_index(0)

    def centre(region: int) -> float:
        box = facts.scene.doubts[region - first].box
        return box[0] + box[2]

    return sorted(regions, key=centre)


def _ask_doubt(kind: str, table: str, facts: Facts, dice: Dice) -> Asked | None:
    """Something is asked for that may be there, or may not."""
    found = _named_doubts(facts)
    if not found:
        return None
    noun = dice.choice(sorted(found))
    regions = _left_to_right(facts, found[noun])
    one, word = len(regions) == 1, word_for(facts, noun, dice)
    asked = the(noun) if word == noun else replace(the(noun), text=f"the {word}")
    fields: dict[str, Field] = {
        "x": plural_of(word) if table == "exist" else asked,
        "a": f"{article(word)} {word}",
        "t": phrase(a(noun) if one else plural_of(noun), *regions),
        **asked.agreement,
    }
    question, _ = draw_wording(table, dice)
    answer = "there may be {t}, but I am not sure."
    expected = Expected(regions=frozenset(regions))
    return ask(kind, (question, answer), fields, expected, dice, ())


def region_doubt(facts: Facts, dice: Dice) -> Asked | None:
    """What a region is that nobody can tell for sure."""
    doubts = facts.scene.doubts
    if not doubts:
        return None
    position = dice.below(len(doubts))
    nouns = doubts[position].nouns
    table = "region_name" if dice.maybe(0.6) else "region_describe"
    fields: dict[str, Field] = {"x": mention(facts.doubt_index(position), dice)}
    answer = "I cannot tell what it is."
    if nouns:
        answer = f"it may be {' or '.join(a(noun) for noun in nouns)}, but I am not sure."
    expected = Expected(words=((nouns[0],),) if nouns else (("cannot",),))
    question, _ = draw_wording(table, dice)
    return ask("region_doubt", (question, answer), fields, expected, dice, ())


def find_unknown(facts: Facts, dice: Dice) -> Asked | None:
    """Something that the model cannot see even where it is."""
    del facts
    word = dice.choice(UNKNOWN)
    table = dice.choice(("find", "exist", "count"))
    many = plural_of(word)
    fields: dict[str, Field] = {
        "x": f"the {word}" if table == "find" else many,
        "a": f"{article(word)} {word}",
        "many": many,
        **agreement(1 if table == "find" else 2),
    }
    question, _ = draw_wording(table, dice)
    answer = "I have not learnt what {many} look like."
    return ask("find_unknown", (question, answer), fields, Expected(regions=frozenset()), dice, ())


def find_several(facts: Facts, dice: Dice) -> Asked | None:
    """One is asked for and there are more: all are shown."""
    twins = facts.twins
    if not twins:
        return None
    noun = dice.choice(twins)
    members = facts.by_noun[noun]
    asked = the(noun)
    fields: dict[str, Field] = {
        "x": asked,
        "t": phrase(f"the {several(noun)}", *members),
        "n": in_all(len(members)),
        **asked.agreement,
    }
    question, _ = draw_wording("find", dice)
    wording = (question, "here are {t}: {n}.")
    expected = Expected(regions=frozenset(members))
    return ask("find_several", wording, fields, expected, dice, tuple(members))


def find_people(facts: Facts, dice: Dice) -> Asked | None:
    """A man, woman or child is asked for: persons are shown, without a guess."""
    word, people = dice.choice(PEOPLE), facts.by_noun.get("person", [])
    if not people and "person" in facts.doubtful:
        return None
    table = dice.choice(("find", "find", "exist"))
    fields: dict[str, Field] = {
        "x": f"the {word}" if table == "find" else plural_of(word),
        "a": f"{article(word)} {word}",
        **agreement(1),
    }
    answer = not_there("person")
    if people:
        one = len(people) == 1
        fields["t"] = phrase("the person" if one else "the people", *people)
        answer = (
            f"here {'is' if one else 'are'} {{t}}; I do not tell men, women and children apart."
        )
    question, _ = draw_wording(table, dice)
    expected = Expected(regions=frozenset(people))
    return ask("find_people", (question, answer), fields, expected, dice, tuple(people))


def colour_unknown(facts: Facts, dice: Dice) -> Asked | None:
    """The colour of a thing that has none that one could name."""
    for index in targets(facts, dice):
        if facts.things[index].colour is None and not colour_known(facts.things[index]):
            fields: dict[str, Field] = {"x": (Mention(index),), **agreement(1)}
            question, _ = draw_wording("colour", dice)
            wording = (question, "I cannot tell its colour.")
            expected = Expected(words=(("cannot",),))
            return ask("region_colour_unknown", wording, fields, expected, dice, (index,))
    return None


def describe(facts: Facts, dice: Dice) -> Asked:
    """All things in short; where nothing is sure, what may be there."""
    question, _ = draw_wording("describe_brief", dice)
    if not facts.things:
        return _describe_nothing("describe_brief", question, facts, dice)
    wording = (question, "the picture shows {list}.")
    expected = Expected(regions=frozenset(facts.order))
    return ask("describe_brief", wording, {"list": _groups(facts)}, expected, dice, ())


def describe_long(facts: Facts, dice: Dice) -> Asked:
    """Each thing with size, colour and place from left to right; of many, the groups."""
    question, _ = draw_wording("describe_long", dice)
    order = facts.order
    if not order:
        return _describe_nothing("describe_long", question, facts, dice)
    regions = Expected(regions=frozenset(order))
    if len(order) > _MOST_SINGLE:
        fields: dict[str, Field] = {"list": _groups(facts)}
        answer = "there are many things: {list}."
    else:
        items = _placed_phrases(facts)
        fields = {"list": listing(items)}
        answer = "from left to right, there is {list}." if len(items) > 1 else "there is {list}."
    return ask("describe_long", (question, answer), fields, regions, dice, ())


def _placed_phrases(facts: Facts) -> list[Pieces]:
    """As in "a large red car on the left", "dogs at the top (two)": nothing is said twice."""
    alike: dict[tuple[str, str], list[int]] = {}
    for index in facts.order:
        key = full_name(facts.things[index]), PLACES[facts.place(index)]
        alike.setdefault(key, []).append(index)
    items: list[Pieces] = []
    for (name, place), members in alike.items():
        thing = facts.things[members[0]]
        if len(members) > 1:
            name = several(thing.noun, colour=thing.colour)
        items.append((phrase(name, *members), f" {place}{_number(members)}"))
    return items


def _groups(facts: Facts) -> Pieces:
    """As in "a red car, dogs (three) and an egg": by noun, in the order of each noun's first.

    How many there are comes after they have been pointed at: a small model cannot count ahead.
    """
    members: dict[str, list[int]] = {}
    for index in facts.order:
        members.setdefault(facts.things[index].noun, []).append(index)
    items: list[Pieces] = []
    for noun, group in members.items():
        colour = facts.things[group[0]].colour
        one = a(noun, colour=None if colour == noun else colour)
        name = one if len(group) == 1 else several(noun)
        items.append((phrase(name, *group), _number(group)))
    return listing(items)


def _number(members: list[int]) -> str:
    """As in " (two)"; nothing for one."""
    return f" ({number_word(len(members))})" if len(members) > 1 else ""


def _describe_nothing(kind: str, question: str, facts: Facts, dice: Dice) -> Asked:
    doubts = _left_to_right(
        facts,
        [facts.doubt_index(i) for i, doubt in enumerate(facts.scene.doubts) if doubt.nouns],
    )
    if not doubts:
        answer, fields = "I see nothing that I know.", {}
    else:
        first = facts.doubt_index(0)
        names = [phrase(a(facts.scene.doubts[i - first].nouns[0]), i) for i in doubts]
        answer = "I am not sure what this is; there may be {list}."
        fields: dict[str, Field] = {"list": listing(names)}
    expected = Expected(regions=frozenset(doubts))
    return ask(kind, (question, answer), fields, expected, dice, ())


_NEW: Mapping[str, Maker] = {
    "exist_doubt": partial(_ask_doubt, "exist_doubt", "exist"),
    "find_doubt": partial(_ask_doubt, "find_doubt", "find"),
    "region_doubt": region_doubt,
    "find_unknown": find_unknown,
    "find_several": find_several,
    "find_people": find_people,
    "region_colour_unknown": colour_unknown,
    "describe_brief": describe,
    "describe_long": describe_long,
    **{kind: partial(talk_about, kind, topic) for kind, topic in REFUSALS.items()},
}
_LEFT_OUT = ("rec_stuff", "background")
_NEW_WEIGHTS: Mapping[str, float] = {
    "count": 2.0,
    "find_all": 2.0,
    "find_absent": 1.6,
    "exist": 1.8,
    "nearest": 1.0,
    "check_relation": 0.8,
    "describe_brief": 2.0,
    "describe_long": 2.0,
    "exist_doubt": 0.8,
    "find_doubt": 0.7,
    "region_doubt": 1.2,
    "find_unknown": 0.7,
    "find_several": 0.8,
    "find_people": 0.4,
    "region_colour_unknown": 0.25,
    **dict.fromkeys(REFUSALS, 0.12),
}
_WITHOUT_THINGS = (
    *("find_absent", "exist_doubt", "find_doubt", "region_doubt", "find_unknown", "find_people"),
    *("describe_brief", "describe_long", *REFUSALS),
    *(kind for kind in WEIGHTS if kind.startswith("chat_")),
)
"""Kinds of questions that need nothing to be there for sure."""


def _weigh(facts: Facts) -> Mapping[str, float]:
    weights = _PLAIN if not facts.twins else _TWINS
    if facts.things:
        return weights
    return {kind: weights[kind] for kind in _WITHOUT_THINGS}


def _with_new(weights: Mapping[str, float]) -> Mapping[str, float]:
    kept = {kind: weight for kind, weight in weights.items() if kind not in _LEFT_OUT}
    return {**kept, **_NEW_WEIGHTS}


_PLAIN, _TWINS = _with_new(WEIGHTS), _with_new(TWIN_WEIGHTS)

PHOTOGRAPHED = Repertoire(
    openers={k: m for k, m in OPENERS.items() if k not in _LEFT_OUT} | _NEW,
    weigh=_weigh,
    fallback=describe,
)
"""Questions about photographs."""

KINDS: tuple[str, ...] = (
    *PHOTOGRAPHED.openers,
    *FOLLOW_UPS,
    *("region_colour", "region_size", "region_where"),
)
"""Every kind of question that `talk` asks."""

_ASK_FOR_ABSENT = ("find_absent", "exist", "find_all", "count", "find_people")


def talk(scene: Scene, dice: Dice, turns: tuple[int, int]) -> GroundedSample:
    """A conversation about a photograph."""
    return converse(scene, dice, turns, repertoire=PHOTOGRAPHED)


def tempting_nouns(sample: GroundedSample) -> tuple[str, ...]:
    """Nouns that a conversation asks for in vain."""
    texts = [
        " ".join(piece for piece in qa.question if isinstance(piece, str))
        for qa in sample.turns
        if qa.kind in _ASK_FOR_ABSENT and not qa.expected.regions
    ]
    return tuple(
        noun
        for noun in NOUNS
        if noun not in sample.names and any(noun in text.lower() for text in texts)
    )
