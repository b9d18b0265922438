"""What can be chosen about training an adapter, with defaults for a handful of examples."""

import difflib
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, ValidationError
from pydantic.dataclasses import dataclass

from groma.types import GromaError

_READ_IN_ALL, _FEWEST_EPOCHS, _MOST_EPOCHS = 320, 3, 20
_TALKS_IN_ALL, _TALKS_PER_NAME, _MOST_TALKS = 140, 5, 20
"""About labelled pictures; of these each talk is another one."""
_RATE, _RATE_WIDTH, _HIGHEST_RATE = 2e-4, 4096, 1e-3
_LABELS_RATE = 1e-3
"""At most: how things look is not learnt step by step, only what is said of them."""
_STEPS = 80
"""A shorter training has a higher rate, at most twice as high."""
_WHOLE = Annotated[tuple[Literal["projector", "region_encoder"], ...], Field(strict=False)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True, allow_inf_nan=False))
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
        lr: highest learning rate; None chooses by the width of the language model, and how much
            there is to read.
        epochs: how often each example is read; None chooses by how many there are, and how many
            different labels.
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
    rank: Annotated[int, Field(ge=1, le=256)] = 16
    alpha: Annotated[float, Field(gt=0, le=1024)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    whole: _WHOLE = ()
    lr: Annotated[float, Field(gt=0, le=0.1)] | None = None
    epochs: Annotated[float, Field(gt=0, le=1000)] | None = None
    batch_size: Annotated[int, Field(ge=1, le=256)] = 1
    accumulation: Annotated[int, Field(ge=1, le=1024)] = 4
    held_out: Annotated[float, Field(ge=0, le=0.9)] = 0.1
    limit: Annotated[int, Field(ge=32, le=32768)] = 1024
    variation: Annotated[float, Field(ge=0, le=1)] = 0.8
    rehearsal: bool = True
    checkpointing: bool | None = None
    seed: Annotated[int, Field(ge=0)] = 0

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
        if not isinstance(data, dict):
            raise GromaError(f"{where} must be a table.")
        try:
            return cls(**data)
        except ValidationError as error:
            raise GromaError(_sentence(error.errors()[0], str(where))) from error

    def complete(self, width: int, examples: int, names: int = 0) -> "LoraSettings":
        """Choose what was left open.

        Args:
            width: of the language model.
            examples: how many are trained on.
            names: how many different labels there are, if the examples are labelled pictures.
        """
        most, wanted = _MOST_EPOCHS, _READ_IN_ALL
        if names:
            most, wanted = _MOST_TALKS, _TALKS_IN_ALL + _TALKS_PER_NAME * names
        epochs = float(round(min(most, max(_FEWEST_EPOCHS, wanted / max(1, examples)))))
        steps = (self.epochs or epochs) * examples / (self.batch_size * self.accumulation)
        haste = 1.0 if names else min(2.0, max(1.0, (_STEPS / max(1, steps)) ** 0.5))
        highest = _LABELS_RATE if names else _HIGHEST_RATE
        chosen = {
            "alpha": 2.0 * self.rank,
            "lr": haste * min(highest, _RATE * _RATE_WIDTH / width),
            "epochs": epochs,
            "checkpointing": width > _RATE_WIDTH // 4,
        }
        open_ = {name: value for name, value in chosen.items() if getattr(self, name) is None}
        return replace(self, **open_)


_LIMITS = {
    "rank": "from 1 to 256",
    "alpha": "above 0",
    "dropout": "at least 0 and below 1",
    "lr": "above 0 and at most 0.1",
    "epochs": "above 0 and at most 1000",
    "held_out": "from 0 to 0.9",
    "batch_size": "from 1 to 256",
    "accumulation": "from 1 to 1024",
    "variation": "from 0 to 1",
    "limit": "from 32 to 32768",
    "seed": "at least 0",
}
_KINDS = {"int": "whole number", "float": "number", "string": "text", "bool": "true or false"}


def _sentence(error: Any, where: str) -> str:
    """What is wrong with a setting, for people."""
    if not error["loc"]:
        return f"{where} holds no settings."
    name, value, kind = error["loc"][0], error["input"], error["type"]
    if kind.startswith("missing"):
        return f"{where} lacks {name}."
    if kind == "unexpected_keyword_argument":
        known = [field.name for field in fields(LoraSettings)]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}."
        return f"{where} has no setting {name}; {hint}"
    if kind == "literal_error":
        return f"{where} {name} is {value!r}, not one of {error['ctx']['expected']}."
    if kind.endswith("_type"):
        return f"{where} {name} is {value!r}, which is no {_KINDS.get(kind[:-5], 'list')}."
    return f"{name} must be {_LIMITS[name]}, not {value}."
