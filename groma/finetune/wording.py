"""How a model is asked and how it answers, so that labels can be taught as talk in its own manner.

A model may bring its wording with it, in a file beside its weights; the released one is asked as in
`groma.data.questions`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from groma.checkpoint import load as loading
from groma.data.questions import PHRASINGS
from groma.data.sample import QA, Phrase, Piece, Pieces, join_pieces
from groma.dice import Dice
from groma.text.grammar import capitalised
from groma.types import GromaError

Fields = Mapping[str, Piece | Pieces]
_Table = dict[str, tuple[str, ...]]
"""Answer -> questions that call for it; `{x}` is what is asked about, `{t}` the grounded phrase."""
_FILE_NAME = "wording.json"
_FIELD = re.compile(r"\{(\w+)\}")


def _asked(kind: str, subject: str) -> tuple[str, ...]:
    return tuple(phrasing.replace("{}", subject) for phrasing in PHRASINGS[kind])


@dataclass(frozen=True)
class Wording:
    """Templates of questions, under those of the answers they call for.

    Attributes:
        find: for one thing that is there once.
        find_all: for all things of a kind.
        exist: whether there is such a thing.
        count: how many there are.
        name: what is in a box of the user.
        describe: questions for what is in the picture; the answer is the base's own.
        denial: the answer where there is no such thing.
    """

    find: _Table = field(default_factory=lambda: {"Here {is} {t}.": _asked("rec", "{x}")})
    find_all: _Table = field(default_factory=lambda: {"Here {is} {t}.": _asked("find", "{one}")})
    exist: _Table = field(
        default_factory=lambda: {
            "Yes, there {is} {t}.": (
                "Is there {a} in the picture?",
                "Do you see {a}?",
                "Does the image show {a}?",
                "Are there any {x} here?",
            )
        }
    )
    count: _Table = field(
        default_factory=lambda: {
            "Here {is} {t}: {n}.": (
                "How many {x} are there?",
                "Count the {x} in the picture.",
                "How many {x} can you see?",
            )
        }
    )
    name: _Table = field(default_factory=lambda: {"It is {a}.": _asked("region_caption", "{x}")})
    describe: tuple[str, ...] = PHRASINGS["grounded_caption"]
    denial: str = "there {nothing} in the picture."

    @classmethod
    def of(cls, model: str | Path) -> "Wording":
        """The wording of a model.

        Args:
            model: folder or Hugging Face id.

        Raises:
            GromaError: if the file that it brings cannot be read.
        """
        file = loading.resolve(str(model)) / _FILE_NAME
        if not file.is_file():
            return cls()
        try:
            return TypeAdapter(cls).validate_json(file.read_bytes())
        except ValidationError as error:
            raise GromaError(f"{file} is damaged: {error.errors()[0]['msg']}.") from error

    def ask(self, kind: str, fields: Fields, dice: Dice) -> QA:
        """A question about what is there, and its answer.

        Args:
            kind: name of a table.
            fields: what stands for each `{field}`.
            dice: chooses among the wordings, each as likely.
        """
        question, answer = self._draw(kind, dice)
        return QA(_fill(question, fields), _fill(answer, fields), kind)

    def deny(self, kind: str, fields: Fields, dice: Dice) -> QA:
        """A question about what is not there, and the answer that says so."""
        question, answer = self._draw(kind, dice)
        denial = f"no, {self.denial}" if answer.startswith("Yes") else self.denial
        return QA(_fill(question, fields), _fill(denial, fields), kind)

    def _draw(self, kind: str, dice: Dice) -> tuple[str, str]:
        table: _Table = getattr(self, kind)
        return dice.choice([(asked, said) for said, several in table.items() for asked in several])


def _fill(template: str, fields: Fields) -> Pieces:
    """A template with its fields, beginning with a capital letter; `{A}` is `{a}` there."""
    pieces: list[Piece] = []
    for place, part in enumerate(_FIELD.split(template)):
        value = part if place % 2 == 0 else fields[part.lower()]
        pieces += value if isinstance(value, tuple) else (value,)
    first, *rest = join_pieces(pieces)
    if isinstance(first, str):
        return (capitalised(first), *rest)
    if isinstance(first, Phrase):
        return (Phrase(capitalised(first.text), first.regions), *rest)
    return (first, *rest)
