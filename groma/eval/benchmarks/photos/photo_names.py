"""Which thing do words name? Categories of an annotation file, in the words that people use."""

import re
from collections.abc import Iterable

from groma.ops.colours import NAMES as COLOURS
from groma.text.coco_names import SYNONYMS
from groma.text.grammar import plural_of


class Names:
    """The names of categories, in small letters, that words may mean.

    A word that is a category of its own means that one, and is no synonym.
    """

    def __init__(self, categories: Iterable[str]) -> None:
        words = {word: name for name, known in SYNONYMS.items() for word in (name, *known)}
        words |= {name: name for name in categories}
        self._names = {plural_of(word): name for word, name in words.items()} | words
        # The longest first: the "dog" of "hot dog" is none.
        longest = sorted(self._names, key=len, reverse=True)
        any_name = rf"(?:{'|'.join(map(re.escape, longest))})(?!\w)"
        # The "orange" of "an orange cat" is none.
        coloured = rf"(?!(?:{'|'.join(COLOURS)})\s+{any_name})"
        self._pattern = re.compile(rf"(?<!\w){coloured}({any_name})", re.IGNORECASE)

    def first(self, text: str) -> str | None:
        """The category that a text names first; None if it names nothing known."""
        match = self._pattern.search(text)
        return self._names[match[1].lower()] if match else None
