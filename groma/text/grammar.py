"""English for things: articles, plurals, measure words, numbers."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from groma.foreign import load_json

_NOUNS = load_json(Path(__file__).with_name("nouns.json").read_bytes())
MEASURES: dict[str, str] = _NOUNS["measures"]
"""Nouns one cannot count as they are: "a pair of glasses", "two loaves of bread"."""
ALWAYS_PLURAL = frozenset(_NOUNS["always_plural"])
"""Nouns that take "are" when they stand alone: "the glasses are here"."""

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth")
_LIKE_CONSONANTS = ("uni", "one")
_IRREGULAR: dict[str, str] = _NOUNS["irregular"]


@dataclass(frozen=True, slots=True)
class Words:
    """A noun phrase and whether verbs after it are plural."""

    text: str
    plural: bool = False

    @property
    def agreement(self) -> dict[str, str]:
        """Fields for templates: {is}, {was}, {it}, {does}, {look}, and so on."""
        return _PLURAL if self.plural else _SINGULAR


_SINGULAR = {"is": "is", "it": "it", "does": "does", "look": "looks", "its": "its", "sit": "sits"}
_PLURAL = {"is": "are", "it": "they", "does": "do", "look": "look", "its": "their", "sit": "sit"}


def number_word(count: int) -> str:
    """The word for a small number ("no", "one" … "ten"), digits for a larger one."""
    return NUMBER_WORDS[count] if count < len(NUMBER_WORDS) else str(count)


@cache
def plural_of(word: str) -> str:
    """The plural of a noun or of one of its synonyms, measure words not considered."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    head, _, last = word.rpartition(" ")
    if head:
        return f"{head} {plural_of(last)}"
    if word.endswith(("s", "x", "ch", "sh")):
        return word + "es"
    if word.endswith("y") and word[-2] not in "aeiou":
        return word[:-1] + "ies"
    return word + "s"


def article(words: str) -> str:
    """The article, "a" or "an", whichever goes before these words."""
    starts_open = words[0].lower() in "aeiou" and not words.startswith(_LIKE_CONSONANTS)
    return "an" if starts_open else "a"


def with_adjectives(noun: str, size: str | None = None, colour: str | None = None) -> str:
    """One of a noun, without an article: "small pair of glasses", "small red car"."""
    colour = None if colour == noun else colour
    measure = MEASURES.get(noun)
    words = [size, measure and f"{measure} of", colour, noun]
    return " ".join(word for word in words if word)


def a(noun: str, size: str | None = None, colour: str | None = None) -> str:
    """As in "a dog", "an orange", "a small pair of glasses", "an ear of yellow corn"."""
    words = with_adjectives(noun, size, colour)
    return f"{article(words)} {words}"


def the(noun: str, colour: str | None = None) -> Words:
    """As in "the red car" (is), "the green grapes" (are)."""
    colour = None if colour == noun else colour
    words = " ".join(word for word in ("the", colour, noun) if word)
    return Words(words, noun in ALWAYS_PLURAL)


def several(noun: str, count: int | None = None, colour: str | None = None) -> str:
    """As in "three dogs", "two pairs of glasses", "no bread"; without a count "dogs"."""
    measure = MEASURES.get(noun)
    if count is not None and count == 1:
        return f"one {with_adjectives(noun, colour=colour)}"
    if measure and count != 0:
        words = f"{plural_of(measure)} of {f'{colour} ' if colour else ''}{noun}"
    else:
        words = f"{colour} {plural_of(noun)}" if colour else plural_of(noun)
    return words if count is None else f"{number_word(count)} {words}"


def capitalised(text: str) -> str:
    """The same text with a capital first letter."""
    return text[:1].upper() + text[1:]
