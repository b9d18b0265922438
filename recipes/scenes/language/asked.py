"""What the makers of questions share: their result, and a way to name any one thing."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from groma.data.sample import QA, Expected, Mention, Pieces, listing
from groma.dice import Dice
from groma.text.grammar import Words, a, number_word, several
from recipes.scenes.language.facts import Facts
from recipes.scenes.language.wording import Field, as_typed, fill, phrase

SYNONYM_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Asked:
    """A turn, and the things that "it" or "they" mean after it.

    Attributes:
        qa: the turn.
        focus: indices of things; None leaves the focus where it was.
    """

    qa: QA
    focus: tuple[int, ...] | None = None


Maker = Callable[[Facts, Dice], Asked | None]
"""Makes a question about a scene, or None where the scene gives no clear one."""
FollowUp = Callable[[Facts, Dice, tuple[int, ...]], Asked | None]
"""Makes a question about the things last talked about."""


def ask(
    kind: str,
    wording: tuple[str, str],
    fields: Mapping[str, Field],
    expected: Expected,
    dice: Dice,
    focus: tuple[int, ...] | None = None,
) -> Asked:
    """Fill a question and its answer.

    Args:
        kind: of the task.
        wording: templates of question and answer.
        fields: for both.
        expected: the truth.
        dice: how the question is typed.
        focus: as in `Asked`.
    """
    question, answer = wording
    typed = as_typed(fill(question, fields), dice)
    return Asked(QA(typed, fill(answer, fields), kind, expected), focus)


def word_for(facts: Facts, noun: str, dice: Dice) -> str:
    """The noun, or now and then a synonym."""
    others = facts.vocabulary.synonyms.get(noun, ())
    return dice.choice(others) if others and dice.maybe(SYNONYM_SHARE) else noun


def mention(index: int, dice: Dice) -> Pieces:
    """A region the user points at: mostly "[1]" alone."""
    before = dice.pick({"": 8.0, "region ": 1.0, "box ": 0.5, "the object in ": 0.5})
    return (before, Mention(index))


def absent_noun(facts: Facts, dice: Dice) -> str:
    """A noun the scene does not hold, half the time of the same group as one it does."""
    vocabulary, present = facts.vocabulary, facts.by_noun.keys() | facts.doubtful
    pool = vocabulary.nouns
    if facts.things and dice.maybe(0.5):
        pool = vocabulary.group_with(dice.choice(facts.things).noun)
    candidates = [noun for noun in pool if noun not in present]
    return dice.choice(candidates or [n for n in vocabulary.nouns if n not in present])


def grouped_phrases(facts: Facts, indices: list[int]) -> Pieces:
    """As in "a dog, two red cars and an egg": things by noun, in the order of each noun's first.

    Args:
        facts: of the scene.
        indices: things, in reading order.
    """
    groups: dict[str, list[int]] = {}
    for index in indices:
        groups.setdefault(facts.things[index].noun, []).append(index)
    phrases = []
    for noun, members in groups.items():
        colours = {facts.things[i].colour for i in members}
        colour = colours.pop() if len(colours) == 1 else None
        colour = None if colour == noun else colour
        one = a(noun, colour=colour)
        text = one if len(members) == 1 else several(noun, len(members), colour)
        phrases.append(phrase(text, *members))
    return listing(phrases)


def agreement(count: int) -> dict[str, str]:
    """Agreement fields for this many things."""
    return Words("", plural=count != 1).agreement


def in_all(count: int) -> str:
    """As in "three in all", "just one"."""
    return "just one" if count == 1 else f"{number_word(count)} in all"
