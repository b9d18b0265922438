"""What an answer says: nouns, colours and sizes, however they are put.

Words are brought to one form first, and every synonym and plural of a noun to that noun. What a
question expects goes through the same, so that "two bikes" holds "bicycle".
"""

from collections.abc import Sequence
from functools import cache, lru_cache

from groma.eval.harness.answer_words import denies, holds, plain_words
from groma.text.grammar import MEASURES, plural_of
from recipes.scenes.language.attributes import SIZE_CHECKS
from recipes.scenes.nouns import COLOURS, NOUNS, STUFF, STUFF_SYNONYMS, SYNONYMS

Tokens = tuple[str, ...]

NAMES: frozenset[str] = frozenset((*NOUNS, *STUFF))
"""Whatever a region can be called."""
_SIZES = {word: size for size, words in SIZE_CHECKS.items() for word in words}


@lru_cache(maxsize=4096)
def read(text: str) -> Tokens:
    """The words of a text in their one form; marks such as "[1]" are left out."""
    words = plain_words(text)
    forms = _noun_forms()
    longest = max(map(len, forms))
    tokens: list[str] = []
    at = 0
    while at < len(words):
        for length in range(longest, 0, -1):
            form = words[at : at + length]
            if len(form) == length and form in forms:
                tokens.append(forms[form])
                at += length
                break
        else:
            tokens.append(words[at])
            at += 1
    return tuple(tokens)


@cache
def _noun_forms() -> dict[Tokens, str]:
    """Words -> noun or stuff: its own name, synonyms, plurals, and those counted by measures."""
    forms: dict[Tokens, str] = {}
    for noun in NOUNS:
        for word in (noun, *SYNONYMS.get(noun, ())):
            spoken = [word, plural_of(word)]
            if noun in MEASURES:
                measure = MEASURES[noun]
                spoken += [f"{measure} of {word}", f"{plural_of(measure)} of {word}"]
            forms |= {plain_words(form): noun for form in spoken}
    for name in STUFF:
        forms |= {(word,): name for word in (name, *STUFF_SYNONYMS.get(name, ()))}
    return forms


def says(tokens: Tokens, words: str) -> bool:
    """Whether these words stand next to one another in a text that `read` read."""
    return holds(tokens, read(words))


def number_said(words: Sequence[str]) -> int | None:
    """The number an answer gives: its first, 0 where it denies, 1 for "a" or "the only"."""
    for word in words:
        if word.isdecimal():
            return int(word)
    if denies(words):
        return 0
    return 1 if {"a", "an", "only"} & set(words) else None


def names_said(tokens: Tokens) -> list[str]:
    """Nouns and stuff in order; the "orange" of "an orange fish" is none."""
    following = (*tokens, "")[1:]
    return [
        token
        for token, after in zip(tokens, following, strict=True)
        if token in NAMES and not (token in COLOURS and after in NAMES)
    ]


def colours_said(tokens: Tokens) -> set[str]:
    """Names of colours; the fruit orange counts as none where a colour is named besides."""
    said = {token for token in tokens if token in COLOURS}
    return said - NAMES or said


def sizes_said(tokens: Tokens) -> set[str]:
    """Sizes as "small", "medium" or "large"."""
    return {_SIZES[token] for token in tokens if token in _SIZES}


def first_sentence(text: str) -> str:
    """A text up to its first full stop."""
    return text.partition(".")[0]


def contradicts(tokens: Tokens, groups: Sequence[Sequence[str]]) -> bool:
    """Whether a text names colours, sizes or things other than those it should.

    Args:
        tokens: of the text.
        groups: of each at least one word should be said.

    Returns:
        True if it names a further colour or size where one is asked for, or if the first thing it
        names is a wrong one where a name is asked for.
    """
    wanted = {token for group in groups for words in group for token in read(words)}
    colours = wanted & set(COLOURS)
    sizes = {_SIZES[token] for token in wanted if token in _SIZES}
    if (colours and colours_said(tokens) - colours) or (sizes and sizes_said(tokens) - sizes):
        return True
    names, first = wanted & NAMES, names_said(tokens)[:1]
    # "orange" alone may be meant as a colour.
    return bool(names - set(COLOURS)) and bool(first) and first[0] not in names
