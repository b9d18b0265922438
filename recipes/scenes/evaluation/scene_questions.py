"""Which questions a scene is asked: the same ones for every model.

What is asked depends on (split, seed, index) and the kind alone, not on how many scenes or which
other kinds there are; a denser run asks all that a thinner one asks, and more.
"""

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from groma.data.sample import GroundedSample
from groma.dice import Dice, Split
from groma.types import GromaError
from recipes.scenes.evaluation.scene_judging import is_judged
from recipes.scenes.language.conversations import KINDS, ask_about, converse
from recipes.scenes.scene import Scene

CONVERSATION = "conversation"
"""Pseudo-kind of several turns that follow one another."""
ALL_KINDS: tuple[str, ...] = (*KINDS, CONVERSATION)

USUAL_SHARE = 0.1
SHARES: dict[str, float] = {
    "rec_name": 0.35,
    "rec_colour": 0.6,
    "rec_size": 0.75,
    "rec_position": 0.85,
    "rec_relation": 0.35,
    "rec_ordinal": 1.0,
    "rec_stuff": 0.3,
    "find_absent": 0.3,
    "find_all": 0.3,
    "exist": 0.15,
    "count": 0.3,
    "colour": 0.15,
    "compare_colour": 0.15,
    "region_name": 0.4,
    "region_describe": 0.2,
    "describe_brief": 0.15,
    "describe_long": 0.15,
    "follow_colours": 0.3,
    CONVERSATION: 0.08,
} | {kind: 0.03 for kind in KINDS if kind.startswith("chat_")}
"""Chance that a scene is asked a kind of question it allows, `USUAL_SHARE` where none is given.

About 300 questions in 1,000 scenes for each kind that has a target: a kind that few scenes allow
(one that tells twins apart) is asked wherever it can be.
"""


@dataclass(frozen=True, slots=True)
class Talk:
    """What a scene is asked in one go.

    Attributes:
        sample: its boxes and turns.
        first: turn from which on answers are judged; those before only lead up to it.
    """

    sample: GroundedSample
    first: int = 0


@dataclass(frozen=True, slots=True)
class Questionnaire:
    """Which kinds of questions are asked, and how often.

    Attributes:
        kinds: of `ALL_KINDS`.
        density: factor of all `SHARES`; from 34 on every kind is asked of every scene.

    Raises:
        GromaError: if a kind is unknown or the density is not positive.
    """

    kinds: tuple[str, ...] = ALL_KINDS
    density: float = 1.0

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in ALL_KINDS]
        if unknown or not self.kinds:
            known = ", ".join(ALL_KINDS)
            raise GromaError(f"There is no kind of question {unknown}: take some of {known}.")
        if self.density <= 0:
            raise GromaError(f"The density must be above 0, not {self.density}.")

    def ask(self, scene: Scene, split: Split, seed: int, index: int) -> list[Talk]:
        """Everything one scene is asked.

        Args:
            scene: what is asked about.
            split: of the scene.
            seed: of the scene.
            index: of the scene.
        """
        talks = []
        for kind in self.kinds:
            dice = Dice.of(split, seed, index, stream=zlib.crc32(kind.encode()))
            share = SHARES.get(kind, USUAL_SHARE)
            talk = _ask(scene, kind, dice) if dice.maybe(share * self.density) else None
            if talk is not None:
                talks.append(talk)
        return talks


def _ask(scene: Scene, kind: str, dice: Dice) -> Talk | None:
    """A question of a kind, or None where the scene gives none that can be judged."""
    if kind == CONVERSATION:
        return Talk(converse(scene, dice))
    sample = ask_about(scene, kind, dice)
    if sample is None or not is_judged(sample.turns[-1].expected):
        return None
    return Talk(sample, first=len(sample.turns) - 1)


def chosen_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """Kinds by their names or the beginnings of names: "rec" is every kind "rec_…".

    Raises:
        GromaError: if a name fits no kind.
    """
    if not names:
        return ALL_KINDS
    chosen = [(name, [kind for kind in ALL_KINDS if _fits(kind, name)]) for name in names]
    for name, kinds in chosen:
        if not kinds:
            raise GromaError(
                f"There is no kind of question {name!r}; these exist: {', '.join(ALL_KINDS)}."
            )
    return tuple(_in_order(kind for _, kinds in chosen for kind in kinds))


def _fits(kind: str, name: str) -> bool:
    return kind == name or kind.startswith(f"{name}_")


def _in_order(kinds: Iterable[str]) -> list[str]:
    wanted = set(kinds)
    return [kind for kind in ALL_KINDS if kind in wanted]
