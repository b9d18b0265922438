"""What can be chosen about training an adapter, with defaults for a handful of examples."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from groma.checkpoint.adapters import WHOLE_PARTS
from groma.train.configuration import from_table
from groma.types import GromaError

WholePart = Literal["projector", "region_encoder"]

_READ_IN_ALL = 320
_FEWEST_EPOCHS, _MOST_EPOCHS = 3, 20
_RATE, _RATE_WIDTH, _HIGHEST_RATE = 2e-4, 4096, 1e-3
_LIMITS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "rank": (lambda value: 1 <= value <= 256, "from 1 to 256"),
    "alpha": (lambda value: 0 < value <= 1024, "above 0"),
    "dropout": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "lr": (lambda value: 0 < value <= 0.1, "above 0 and at most 0.1"),
    "epochs": (lambda value: 0 < value <= 1000, "above 0 and at most 1000"),
    "held_out": (lambda value: 0 <= value <= 0.9, "from 0 to 0.9"),
    "batch_size": (lambda value: 1 <= value <= 256, "from 1 to 256"),
    "accumulation": (lambda value: 1 <= value <= 1024, "from 1 to 1024"),
    "variation": (lambda value: 0 <= value <= 1, "from 0 to 1"),
    "limit": (lambda value: 32 <= value <= 32768, "from 32 to 32768"),
    "seed": (lambda value: value >= 0, "at least 0"),
}


@dataclass(frozen=True)
class LoraSettings:
    """Everything an adapter's training depends on besides the examples.

    Attributes:
        model: folder or Hugging Face id of the base.
        quantization: of the base; "4bit" is QLoRA. None keeps what the folder holds.
        device: as in `groma.load`.
        dtype: as in `groma.load`.
        rank: of the low-rank matrices.
        alpha: they are scaled by alpha / rank; None is twice the rank.
        dropout: of their input.
        whole: parts that are trained as a whole besides.
        lr: highest learning rate; None chooses by the width of the language model.
        epochs: how often each example is read; None chooses by how many there are.
        batch_size: examples at once on each device.
        accumulation: batches per step.
        held_out: share of the examples that is only measured on.
        limit: most tokens of a conversation, picture and regions not counted.
        variation: how often a picture is changed a little before it is shown, and seen anew; 0 sees
            each picture once, which is faster.
        rehearsal: whether what the base says of the pictures is learnt along, so that it forgets
            less.
        checkpointing: compute activations twice, which saves memory; None does so for wide models.
        seed: of everything random.
    """

    model: str
    quantization: Literal["none", "8bit", "4bit"] | None = None
    device: str = "auto"
    dtype: str = "auto"
    rank: int = 16
    alpha: float | None = None
    dropout: float = 0.05
    whole: tuple[WholePart, ...] = ()
    lr: float | None = None
    epochs: float | None = None
    batch_size: int = 1
    accumulation: int = 4
    held_out: float = 0.1
    limit: int = 1024
    variation: float = 0.8
    rehearsal: bool = True
    checkpointing: bool | None = None
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        return asdict(self) | {"whole": list(self.whole)}

    @classmethod
    def from_dict(cls, data: Any, where: str | Path = "The settings") -> "LoraSettings":
        """Read and check settings.

        Args:
            data: fields by name.
            where: what messages call the source.

        Raises:
            GromaError: if a field is unknown, missing, or not what it must be.
        """
        return from_table(cls, data, str(where)).checked()

    def checked(self) -> "LoraSettings":
        """These settings, if they can be.

        Raises:
            GromaError: naming the first that cannot.
        """
        for name, (is_possible, limits) in _LIMITS.items():
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and is_possible(value)):
                raise GromaError(f"{name} must be {limits}, not {value}.")
        unknown = set(self.whole) - set(WHOLE_PARTS)
        if unknown:
            raise GromaError(
                f"{sorted(unknown)[0]!r} cannot be trained as a whole; only "
                f"{' and '.join(WHOLE_PARTS)} can."
            )
        return self

    def complete(self, width: int, examples: int) -> "LoraSettings":
        """Choose what was left open.

        Args:
            width: of the language model.
            examples: how many are trained on.
        """
        epochs = min(_MOST_EPOCHS, max(_FEWEST_EPOCHS, _READ_IN_ALL / max(1, examples)))
        chosen = {
            "alpha": 2.0 * self.rank,
            "lr": min(_HIGHEST_RATE, _RATE * _RATE_WIDTH / width),
            "epochs": float(round(epochs)),
            "checkpointing": width > _RATE_WIDTH // 4,
        }
        open_ = {name: value for name, value in chosen.items() if getattr(self, name) is None}
        return replace(self, **open_)


def num_held_out(examples: int, share: float) -> int:
    """How many examples are only measured on: at least one of two, if any; never all."""
    if share == 0 or examples < 2:
        return 0
    return min(examples - 1, max(1, round(examples * share)))
