"""How people ask: the phrasings of every task, in one place (paper 3.3).

A parser leaves in a question only what is asked about: words for REC, a region for captions,
nothing for a description. `pose` puts words around it. Conversations have their own questions.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from groma.data.sample import QA, GroundedSample, Pieces, join_pieces
from groma.dice import Dice
from groma.foreign import load_json

SUBJECT = "{}"  # where what is asked about stands in a phrasing

PHRASINGS: Mapping[str, tuple[str, ...]] = {
    kind: tuple(ways)
    for kind, ways in load_json(Path(__file__).with_name("phrasings.json").read_bytes()).items()
}
"""By kind of question."""


def pose(sample: GroundedSample, dice: Dice, turns: int | None = None) -> GroundedSample:
    """Word the questions of a sample, with phrasings that the dice pick.

    `turns` is how many questions stay at most, where they are ours; None keeps all.
    """
    kept = sample.turns
    if turns is not None and all(turn.kind in PHRASINGS for turn in kept):
        kept = tuple(dice.sample(kept, turns)) if len(kept) > turns else kept
    return replace(sample, turns=tuple(_ask(turn, dice) for turn in kept))


def _ask(turn: QA, dice: Dice) -> QA:
    if turn.kind not in PHRASINGS:
        return turn
    return replace(turn, question=_fill(dice.choice(PHRASINGS[turn.kind]), turn.question))


def _fill(phrasing: str, subject: Pieces) -> Pieces:
    """A phrasing with what is asked about; words end without the stop they may have had."""
    before, _, after = phrasing.partition(SUBJECT)
    inner = [piece.rstrip(" .") if isinstance(piece, str) else piece for piece in subject]
    return join_pieces([before, *inner, after])
