"""An independent reading of questions and answers: what must they point at?"""

import re

from groma.data.sample import Mention, Phrase
from groma.text.grammar import MEASURES, ORDINALS, plural_of
from recipes.scenes.nouns import COLOURS, NOUNS, SYNONYMS

_WORDS = {word: noun for noun, words in SYNONYMS.items() for word in words}
_WORDS |= {noun: noun for noun in NOUNS}
_WORDS |= {f"{measure} of {noun}": noun for noun, measure in MEASURES.items()}
HEADS = sorted(_WORDS, key=len, reverse=True)
_HEAD = "|".join(re.escape(head) for head in HEADS)
AXES = {"left": (0, 1), "right": (0, -1), "top": (1, 1), "bottom": (1, -1)}
ENDS = {
    r"leftmost|left|furthest left|farthest to the left|on the left|on the left side": "left",
    r"rightmost|right|furthest right|farthest to the right|on the right|on the right side": "right",
    r"topmost|uppermost|highest|top|at the top|farthest up": "top",
    r"bottommost|lowest|bottom|at the bottom|farthest down|nearest to the bottom": "bottom",
}


def noun_in(text):
    """The noun a phrase is about."""
    for head in HEADS:
        if re.search(rf"(?<![\w-]){re.escape(head)}(?![\w-])", text):
            return _WORDS[head]
    raise AssertionError(f"no noun in {text!r}")


def text_of(pieces):
    return "".join(
        piece if isinstance(piece, str) else getattr(piece, "text", "[]") for piece in pieces
    )


def phrases(pieces):
    return [piece for piece in pieces if isinstance(piece, Phrase)]


def mentions(pieces):
    return [piece.region for piece in pieces if isinstance(piece, Mention)]


def matching(scene, noun, colour=None):
    return [
        i
        for i, thing in enumerate(scene.things)
        if thing.noun == noun and colour in (None, thing.colour)
    ]


def colour_in(text):
    found = [colour for colour in COLOURS if re.search(rf"\b{colour}\b", text)]
    return found[0] if found else None


def meant_by_order(scene, text):
    """The thing of "the second dog from the left"."""
    ordinal, noun, end = re.fullmatch(
        rf"[Tt]he ({'|'.join(ORDINALS)}) ({_HEAD}) from the (left|right|top|bottom)", text
    ).groups()
    axis, sign = AXES[end]
    ranked = sorted(
        matching(scene, _WORDS[noun]), key=lambda i: sign * scene.things[i].centre[axis]
    )
    return ranked[ORDINALS.index(ordinal)]


def meant_by_end(scene, text):
    """The thing of "the leftmost dog", "the dog in the middle"."""
    twins = matching(scene, noun_in(text))
    bare = re.sub(rf"^[Tt]he |\b({_HEAD})\b", "", text).strip()
    bare = re.sub(r"\s+", " ", bare)
    if "middle" in bare or "between" in bare:
        assert len(twins) == 3
        return sorted(twins, key=lambda i: scene.things[i].centre[0])[1]
    for words, end in ENDS.items():
        if re.fullmatch(words, bare):
            axis, sign = AXES[end]
            return min(twins, key=lambda i: sign * scene.things[i].centre[axis])
    raise AssertionError(f"no end in {text!r}")


def meant_by_size(scene, text):
    """The thing of "the biggest dog", "the small dog"."""
    twins = matching(scene, noun_in(text))
    largest = bool(re.search(r"\b(big|bigger|biggest|large|larger|largest|huge)\b", text))
    smallest = bool(re.search(r"\b(small|smaller|smallest|little|tiny|tiniest)\b", text))
    assert largest != smallest
    return (max if largest else min)(twins, key=lambda i: scene.things[i].area)


def is_beyond(scene, relation, one, other):
    """Whether one thing's centre lies to a side of another's."""
    (ax, ay), (bx, by) = scene.things[one].centre, scene.things[other].centre
    return {"left": ax < bx, "right": ax > bx, "above": ay < by, "below": ay > by}[relation]


def relation_in(text):
    found = re.search(r"\b(left|right|above|higher|below|further down)\b", text)
    return {"higher": "above", "further down": "below"}.get(found[1], found[1]) if found else None


def is_plural_of(text, noun):
    words = [noun, *SYNONYMS.get(noun, ())]
    heads = [plural_of(word) for word in words]
    if noun in MEASURES:
        heads.append(f"{plural_of(MEASURES[noun])} of {noun}")
    return any(text.endswith(head) for head in heads)
