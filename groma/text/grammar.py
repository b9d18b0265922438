"""English for things: articles, plurals, measure words, numbers, and the nouns of phrases."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
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
_SINGULAR_OF = {many: one for one, many in _IRREGULAR.items()} | _NOUNS["phrases"]["odd_plurals"]
_NO_PLURAL = ALWAYS_PLURAL | {*_NOUNS["phrases"]["no_plural"]}
_FIRST = frozenset((*NUMBER_WORDS, *_NOUNS["phrases"]["first"]))
"""Words that stand before a noun, or for it."""
_PREPOSITIONS = frozenset(_NOUNS["phrases"]["prepositions"])
_THEN = _PREPOSITIONS | {*_NOUNS["phrases"]["then"]}
"""Words with which a phrase goes on after its noun; a phrase may begin with "left" or "sitting"."""
_COUNTED_BY = frozenset(_NOUNS["phrases"]["counted_by"])
_ENDINGS = (
    *(("sses", "ss"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("zzes", "zz")),
    *(("ouses", "ouse"), ("uses", "us"), ("oes", "o"), ("ies", "y"), ("s", "")),
)
"""Of plurals, and what they are without."""
_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")


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


def noun_of(phrase: str, compounds: Collection[str] = ()) -> str:
    """The noun of a phrase, in small letters and the singular; "" if there is none.

    By rules, not by a dictionary of English: the last word before a phrase says more of its noun.

    Args:
        phrase: such as "two brown dogs on a sofa", of which "dog" is the noun.
        compounds: nouns of more words than one, such as "fire hydrant", that stay whole.
    """
    words = _WORD.findall(re.sub(r"['\u2019]s\b", "", phrase.lower()))
    for place in range(len(words) - 2):
        is_counted = _singular(words[place]) in _COUNTED_BY and words[place + 1] == "of"
        if is_counted and words[place + 2] not in _FIRST:
            words = words[place + 2 :]
            break
    while words and (words[0] in _FIRST or words[0].isdigit()):
        words = words[1:]
    if not words or words[0] in _PREPOSITIONS:
        return ""
    pairs = enumerate(pairwise([*words[1:], ""]), start=1)
    end = next((place for place, pair in pairs if _ends(*pair)), len(words))
    noun = _singular(words[end - 1])
    whole = f"{words[end - 2]} {noun}"
    return whole if end > 1 and whole in compounds else noun


def _ends(word: str, following: str) -> bool:
    """Whether a word ends what comes before; "a red and white bus" is one thing."""
    return word in _THEN | _FIRST or (word in ("and", "or") and following in _FIRST)


def _singular(word: str) -> str:
    """The singular of a word, which may be one already."""
    if word in _SINGULAR_OF:
        return _SINGULAR_OF[word]
    if word in _NO_PLURAL or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if len(word) < 5:  # ties, toes
        return word[:-1]
    return next(word.removesuffix(end) + one for end, one in _ENDINGS if word.endswith(end))
