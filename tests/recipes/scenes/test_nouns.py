import re

from groma.text.grammar import plural_of
from recipes.scenes.nouns import NOUNS, STUFF, STUFF_SYNONYMS, SYNONYMS


def test_a_synonym_means_one_noun():
    words = [word for group in (*SYNONYMS.values(), *STUFF_SYNONYMS.values()) for word in group]
    assert len(words) == len(set(words))
    assert not set(words) & {*NOUNS, *STUFF}
    assert set(SYNONYMS) <= set(NOUNS)
    assert set(STUFF_SYNONYMS) <= set(STUFF)
    assert all(re.fullmatch(r"[A-Za-z -]+", plural_of(word)) for word in words)
