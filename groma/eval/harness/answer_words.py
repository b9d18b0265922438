"""What the words of an answer say: numbers, yes and no, however they are put.

Words are brought to one form first: small letters, British spelling, numbers as digits.
"""

import re
from collections.abc import Collection, Sequence

from groma.text.grammar import NUMBER_WORDS

_MENTION = re.compile(r"\[\d+\]")
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_ONE_FORM = {
    **{word: str(i) for i, word in enumerate((*NUMBER_WORDS, "eleven", "twelve")) if i},
    **{"zero": "0", "both": "2"},
    **{"gray": "grey", "center": "centre", "color": "colour"},
    **{"goodbye": "bye", "mistakes": "mistake", "mistaken": "mistake"},
}
_AGREES = frozenset(("yes", "yeah", "yep"))
_DENIES = frozenset(
    ("no", "not", "none", "nothing", "nope", "neither", "never", "without", "cannot", "0")
)


def plain_words(text: str) -> tuple[str, ...]:
    """The words of a text in their one form; marks such as "[1]" are left out."""
    words = _WORD.findall(_MENTION.sub(" ", text.replace("\u2019", "'")).lower())
    return tuple(_ONE_FORM.get(word, word) for word in words)


def holds(words: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether the wanted words stand next to one another in a text."""
    starts = range(len(words) - len(wanted) + 1)
    return any(tuple(words[i : i + len(wanted)]) == tuple(wanted) for i in starts)


def agrees(words: Sequence[str]) -> bool | None:
    """Whether an answer says yes or no, outright or by "there is …"; None if neither."""
    if words and words[0] in _AGREES:
        return True
    if denies(words):
        return False
    return True if any(holds(words, ("there", verb)) for verb in ("is", "are")) else None


def denies(words: Collection[str]) -> bool:
    """Whether anything in a text says no."""
    return any(word in _DENIES or word.endswith("n't") for word in words)
