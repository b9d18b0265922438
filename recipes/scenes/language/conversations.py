"""Conversations about illustrated scenes: which questions, how often, in what order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from groma.data.sample import QA, GroundedSample, Mention
from groma.dice import Dice, Split
from recipes.scenes.language.asked import Asked, Maker
from recipes.scenes.language.attributes import ATTRIBUTES
from recipes.scenes.language.describing import DESCRIPTIONS, describe_brief
from recipes.scenes.language.facts import Facts
from recipes.scenes.language.finding import FINDERS
from recipes.scenes.language.followups import FOLLOW_UPS
from recipes.scenes.language.region_questions import REGION_KINDS
from recipes.scenes.language.smalltalk import SMALL_TALK
from recipes.scenes.scene import Scene

OPENERS: dict[str, Maker] = FINDERS | ATTRIBUTES | REGION_KINDS | DESCRIPTIONS | SMALL_TALK
"""Every kind of question that can stand alone."""

KINDS: tuple[str, ...] = (*OPENERS, *FOLLOW_UPS)
"""Every kind that `ask_about` and `converse` know; with a box in hand, "colour", "size" and
"where" call themselves "region_colour", "region_size" and "region_where"."""

WEIGHTS: dict[str, float] = {
    "rec_name": 1.4,
    "rec_colour": 1.3,
    "rec_size": 1.3,
    "rec_position": 1.5,
    "rec_relation": 1.5,
    "rec_ordinal": 1.2,
    "rec_stuff": 0.5,
    "find_absent": 1.2,
    "find_all": 1.4,
    "exist": 1.0,
    "count": 1.4,
    "colour": 0.9,
    "size": 0.4,
    "where": 0.5,
    "what_related": 0.8,
    "what_from": 0.4,
    "nearest": 0.5,
    "check_relation": 0.6,
    "check_size": 0.5,
    "region_name": 1.6,
    "region_describe": 1.2,
    "region_names": 0.6,
    "compare_size": 0.6,
    "compare_place": 0.6,
    "compare_same": 0.6,
    "compare_colour": 0.4,
    "select": 0.6,
    "describe_brief": 1.0,
    "describe_long": 1.2,
    "background": 0.4,
    "chat_greeting": 0.08,
    "chat_thanks": 0.08,
    "chat_goodbye": 0.05,
    "chat_abilities": 0.12,
    "chat_identity": 0.1,
    "chat_outside": 0.3,
    "chat_unknowable": 0.15,
    "chat_complaint": 0.06,
    "chat_acknowledgement": 0.06,
}
"""How often each kind opens a topic in training."""

TWIN_WEIGHTS: dict[str, float] = WEIGHTS | {
    kind: 2.5 * WEIGHTS[kind]
    for kind in ("rec_colour", "rec_size", "rec_position", "rec_relation", "rec_ordinal")
}
"""The same for scenes in which one noun is there more than once: those are for telling apart."""


@dataclass(frozen=True)
class Repertoire:
    """Which questions there are about scenes of one kind.

    Attributes:
        openers: kind -> maker of questions that can stand alone.
        weigh: how often each of these opens a topic, given what is true of a scene.
        fallback: maker of a question that every scene allows.
    """

    openers: Mapping[str, Maker]
    weigh: Callable[[Facts], Mapping[str, float]]
    fallback: Callable[[Facts, Dice], Asked]


def _weigh(facts: Facts) -> Mapping[str, float]:
    return TWIN_WEIGHTS if facts.twins else WEIGHTS


ILLUSTRATED = Repertoire(OPENERS, _weigh, describe_brief)
"""Questions about illustrated scenes."""

_FOLLOW_SHARE = 0.4
_UNGROUNDED_SHARE = 0.05
_SPEAKS_WITHOUT_BOXES = ("exist", "count", "colour", "describe_brief", "describe_long", "where")
_ONCE = ("describe_brief", "describe_long", "background")
_COUNTED = ("count", "find_all", "follow_count")
_TRIES = 12


def converse(
    scene: Scene,
    dice: Dice,
    turns: tuple[int, int] = (3, 8),
    weights: Mapping[str, float] | None = None,
    repertoire: Repertoire = ILLUSTRATED,
) -> GroundedSample:
    """Talk about a scene.

    Args:
        scene: with or without pixels.
        dice: what is said.
        turns: fewest and most turns.
        weights: how often each kind of opener is chosen; None leaves it to the repertoire.
        repertoire: of the kind of scene.

    Returns:
        A sample whose boxes are the things, then the stuff; its turns follow one another
        sensibly: what "it" means was said before.

    Raises:
        ValueError: if an illustrated scene holds no thing.
    """
    if not scene.things and repertoire is ILLUSTRATED:
        raise ValueError(f"Scene {scene.key} is without things: there is nothing to talk about.")
    facts = Facts(scene)
    weights = weights or repertoire.weigh(facts)
    wanted = turns[0] + dice.below(turns[1] - turns[0] + 1)
    said: list[QA] = []
    focus: tuple[int, ...] = ()
    for _ in range(wanted):
        asked = _follow_up(facts, dice, focus, said) if dice.maybe(_FOLLOW_SHARE) else None
        asked = asked or _open_topic(facts, dice, weights, said, repertoire)
        focus = focus if asked.focus is None else asked.focus
        plain = asked.qa.kind in _SPEAKS_WITHOUT_BOXES and dice.maybe(_UNGROUNDED_SHARE)
        said.append(asked.qa.ungrounded() if plain else asked.qa)
    return make_sample(scene, tuple(said))


def ask_about(
    scene: Scene, kind: str, dice: Dice, repertoire: Repertoire = ILLUSTRATED
) -> GroundedSample | None:
    """One question of one kind, for evaluation; a follow-up comes after the turn it refers to.

    Args:
        scene: with or without pixels.
        kind: one of `KINDS`, or an opener of the repertoire.
        dice: what exactly is asked.
        repertoire: of the kind of scene.

    Returns:
        A sample whose last turn is of that kind, or None where the scene gives no clear question
        of it.
    """
    facts = Facts(scene)
    if kind in repertoire.openers:
        asked = repertoire.openers[kind](facts, dice)
        return make_sample(scene, (asked.qa,)) if asked else None
    for _ in range(_TRIES):
        first = _open_topic(facts, dice, repertoire.weigh(facts), (), repertoire)
        second = FOLLOW_UPS[kind](facts, dice, first.focus) if first.focus else None
        if second is not None:
            return make_sample(scene, (first.qa, second.qa))
    return None


def make_sample(scene: Scene, turns: tuple[QA, ...]) -> GroundedSample:
    """A scene's annotations and a conversation as one sample, its boxes in [0, 1]."""
    height, width = scene.size
    regions = [(thing.noun, thing.box) for thing in scene.things]
    regions += [(stuff.name, stuff.box) for stuff in scene.stuff]
    regions += [(" or ".join(doubt.nouns), doubt.box) for doubt in scene.doubts]
    return GroundedSample(
        picture=scene.key,
        size=scene.size,
        boxes=tuple(
            (x0 / width, y0 / height, x1 / width, y1 / height) for _, (x0, y0, x1, y1) in regions
        ),
        names=tuple(name for name, _ in regions),
        turns=turns,
    )


def language_dice(split: Split, seed: int, index: int) -> Dice:
    """The dice of a scene's conversation, independent of those that drew the scene."""
    return Dice.of(split, seed, index, stream=1)


def _open_topic(
    facts: Facts,
    dice: Dice,
    weights: Mapping[str, float],
    said: Sequence[QA] = (),
    repertoire: Repertoire = ILLUSTRATED,
) -> Asked:
    """A question that needs nothing before it, of a kind the scene has a clear case of."""
    used = {qa.kind for qa in said}
    for _ in range(_TRIES):
        kind = dice.pick(weights)
        stale = kind in _ONCE and kind in used
        asked = None if stale else repertoire.openers[kind](facts, dice)
        if asked is not None and all(asked.qa.question != qa.question for qa in said):
            return asked
    return repertoire.fallback(facts, dice)


def _follow_up(
    facts: Facts, dice: Dice, focus: tuple[int, ...], said: Sequence[QA]
) -> Asked | None:
    """A question about what was last talked about that has not just been answered."""
    if not focus:
        return None
    for kind in dice.sample(tuple(FOLLOW_UPS), 4):
        asked = (
            None if _is_stale(kind, facts, focus, said) else FOLLOW_UPS[kind](facts, dice, focus)
        )
        if asked is not None:
            return asked
    return None


def _is_stale(kind: str, facts: Facts, focus: tuple[int, ...], said: Sequence[QA]) -> bool:
    """Whether the talk has just given the answer."""
    recent = said[-2:]
    if any(qa.kind == kind for qa in recent):
        return True
    if kind == "follow_count":
        return any(qa.kind in _COUNTED for qa in recent)
    if kind != "follow_name":
        return False
    words = "".join(
        piece if isinstance(piece, str) else piece.text
        for qa in recent
        for piece in (*qa.question, *qa.answer)
        if not isinstance(piece, Mention)
    )
    return facts.things[focus[0]].noun in words
