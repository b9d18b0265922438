"""From wordings and fields to a question and its answer."""

import re
from collections.abc import Mapping
from functools import cache

from groma.data.sample import Mention, Phrase, Piece, Pieces, join_pieces, sentence
from groma.dice import Dice
from groma.text.grammar import Words
from recipes.scenes.language.phrasings import TABLES

Field = Piece | Pieces | Words
CASUAL_SHARE = 0.12
_OPENERS = (
    "Hi! ",
    "Hello! ",
    "Hey, ",
    "Okay, ",
    "Now, ",
    "Next question: ",
    "Hi Groma! ",
    "Well, ",
)


@cache
def _parse(template: str) -> tuple[str, ...]:
    """Text and field names in turn, text first."""
    return tuple(re.split(r"\{(\w+)\}", template))


def fill(template: str, fields: Mapping[str, Field]) -> Pieces:
    """Put fields into a template and give it a capital first letter.

    Args:
        template: text with `{field}`s; `{A}` is the field `a` with a capital letter.
        fields: strings, phrases, mentions, or words, whose agreement fields must be there too.

    Raises:
        KeyError: if a field is missing.
    """
    parts = _parse(template)
    pieces: list[Piece] = []
    for position, part in enumerate(parts):
        if position % 2 == 0:
            pieces.append(part)
        else:
            pieces += _lookup(part, fields)
    return sentence(pieces)


def _lookup(name: str, fields: Mapping[str, Field]) -> Pieces:
    if name not in fields and name[0].isupper():
        return sentence(_lookup(name[0].lower() + name[1:], fields))
    value = fields[name]
    if isinstance(value, Words):
        return (value.text,)
    return value if isinstance(value, tuple) else (value,)


def draw_wording(table: str, dice: Dice) -> tuple[str, str]:
    """A random (question, answer) pair of templates of one table, each question as likely."""
    return dice.choice(_pairs(table))


@cache
def _pairs(table: str) -> tuple[tuple[str, str], ...]:
    wordings = TABLES[table].items()
    return tuple((question, answer) for answer, questions in wordings for question in questions)


def draw_question(table: str, answer: str, dice: Dice) -> str:
    """A random question template of those that call for one answer."""
    return dice.choice(TABLES[table][answer])


def as_typed(question: Pieces, dice: Dice) -> Pieces:
    """The question as people type it: some greet, some drop capitals and full stops.

    American spelling is as frequent as British.
    """
    pieces = list(question)
    if dice.maybe(0.5):
        pieces = [_american(piece) if isinstance(piece, str) else piece for piece in pieces]
    if dice.maybe(0.15):
        pieces = [_contract(piece) if isinstance(piece, str) else piece for piece in pieces]
    if dice.maybe(0.04) and isinstance(pieces[0], str):
        opener = dice.choice(_OPENERS)
        first = pieces[0] if opener.endswith("! ") else _lowered(pieces[0])
        pieces[0] = opener + first
    if dice.maybe(CASUAL_SHARE):
        pieces = _casual(pieces)
    return join_pieces(pieces)


def _american(text: str) -> str:
    return text.replace("colour", "color").replace("Colour", "Color").replace("grey", "gray")


def _contract(text: str) -> str:
    text = re.sub(
        r"\b(Where|What|where|what) is (?=(?:the|a|an|in|next|closest)\b)", r"\1's ", text
    )
    return text.replace("I am ", "I'm ").replace("cannot", "can't")


def _casual(pieces: list[Piece]) -> list[Piece]:
    """No capital at the start, no mark at the end."""
    first, last = pieces[0], pieces[-1]
    if isinstance(first, str):
        pieces[0] = _lowered(first)
    if isinstance(last, str) and len(pieces) > 1:
        pieces[-1] = last.rstrip("?.")
    elif isinstance(last, str):
        pieces[-1] = _lowered(last.rstrip("?."))
    return pieces


def _lowered(text: str) -> str:
    """Without its capital first letter, unless that is a word by itself or an abbreviation."""
    if text[:2] in ("I ", "I'") or text[1:2].isupper():
        return text
    return text[:1].lower() + text[1:]


def region_list(regions: list[int] | tuple[int, ...], last: str = " and ") -> Pieces:
    """As in "[1], [2] and [3]" as mentions."""
    pieces: list[Piece] = []
    for position, region in enumerate(regions):
        if position:
            pieces.append(last if position == len(regions) - 1 else ", ")
        pieces.append(Mention(region))
    return tuple(pieces)


def phrase(words: Words | str, *regions: int) -> Phrase:
    """Words that mean these regions."""
    return Phrase(words.text if isinstance(words, Words) else words, regions)
