"""How people ask: the phrasings of every task, in one place (paper 3.3).

A parser leaves in a question only what is asked about: words for REC, a region for captions,
nothing for a description. `pose` puts words around it. Conversations have their own questions.
"""

from dataclasses import replace

from groma.data.sample import QA, GroundedSample, Pieces, join_pieces
from groma.dice import Dice

SUBJECT = "{}"
"""Where what is asked about stands in a phrasing."""

PHRASINGS = {
    "rec": (
        "Where is {}?",
        "Find {} in the picture.",
        "Which region matches the description: {}?",
        "Point to this: {}.",
        "Please locate {}.",
        'Show me the place that "{}" describes.',
        "Can you mark {} for me?",
        'Which part of the image is meant by "{}"?',
        "Look for {} and tell me where it is.",
        "I am looking for {}. Can you see it?",
        'Select what is called "{}" here.',
        "Localise the following: {}.",
    ),
    "find": (
        'Mark every object of the class "{}".',
        "Find all there is of this kind: {}.",
        'Locate each instance of "{}" in the picture.',
        "Detect this category wherever it appears: {}.",
        'Where do you see "{}"? Name all places.',
        'Point to everything that belongs to "{}".',
        "List all regions that show: {}.",
        'Which regions hold something of the kind "{}"?',
        'Search the whole picture for "{}".',
        'Show me all that you would label "{}".',
        'Please ground the category "{}", without leaving any out.',
    ),
    "region_caption": (
        "What is {}?",
        "Describe {} in a few words.",
        "What does the region {} show?",
        "Give a short caption for {}.",
        "Tell me what you see in {}.",
        "How would you describe {}?",
        "Please say briefly what {} is.",
        "Write a phrase that fits {}.",
        "What can be seen at {}?",
        "Name what is inside {}.",
        "Which words describe {} best?",
    ),
    "grounded_caption": (
        "Describe the picture in one sentence and show where things are.",
        "What is going on here? Point to what you mention.",
        "Write a short caption and ground its phrases.",
        "Tell me briefly what you see, and where.",
        "Give a one-sentence description with every object marked.",
        "Summarise the image and locate what you talk about.",
        "Caption this photo; link your words to regions.",
        "In one sentence: what does the image show, and where?",
        "Say what happens in the picture and mark who and what takes part.",
        "Please describe this scene briefly with grounded objects.",
        "What would a good caption be? Show the regions that belong to it.",
    ),
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
