"""Configurations of stages that learn from illustrated scenes; those shipped are in `configs`."""

from dataclasses import field
from pathlib import Path
from typing import ClassVar, Self

from pydantic import model_validator
from pydantic.dataclasses import dataclass

from groma.train.configuration import Configuration, Start
from groma.train.stages import TABLE

FOLDER = Path(__file__).parent / "configs"


@dataclass(frozen=True, config=TABLE)
class SceneStart(Start):
    """What a stage starts from.

    Attributes:
        words: folder of the language model whose words region tokens are to mean.
    """

    words: Path | None = None


@dataclass(frozen=True, config=TABLE)
class Scenes:
    """Illustrated scenes as training data.

    Attributes:
        seed: of scenes and conversations.
        evaluated: how many unseen scenes each evaluation asks about.
        easy: how many scenes hold few things at first, in language pretraining from nothing.
        pictures: how many go round in instruction finetuning where the language model alone learns:
            each is looked at once. 0 means a picture for every conversation.
    """

    seed: int = 0
    evaluated: int = 64
    easy: int = 0
    pictures: int = 0


@dataclass(frozen=True, config=TABLE, kw_only=True)
class SceneConfiguration(Configuration):
    """Everything about one run of a stage on scenes.

    Attributes:
        scenes: which ones.
    """

    others: ClassVar[frozenset[str]] = frozenset()

    scenes: Scenes
    model: SceneStart = field(default_factory=SceneStart)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.stage.epochs is not None:
            raise ValueError("scenes never end; give [stage] steps instead of epochs.")
        if self.scenes.pictures and self.stage.trains != ("language_model",):
            raise ValueError(
                "[scenes] pictures are looked at once, so [stage] trains language_model alone."
            )
        return self
