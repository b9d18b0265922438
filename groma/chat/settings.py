"""How an answer is made: settings that are checked once and passed on as one object."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from numbers import Integral, Real
from reprlib import repr as short
from typing import Any, Literal, Self, TypedDict, get_args, get_origin

from groma.config import NUM_REGION_TOKENS
from groma.limits import HIGHEST_TEMPERATURE, MOST_NEW_TOKENS
from groma.types import Detail, GromaError

_KINDS: dict[type, tuple[type, str]] = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
}
"""What is accepted for a declared type, and how people call it."""


@dataclass(frozen=True)
class GenerationSettings:
    """How an answer is made.

    Raises `GromaError`, naming the setting that is of another kind or out of range.
    """

    max_new_tokens: int = 512  # most tokens of the answer, `MOST_NEW_TOKENS` of them at most
    # 0 takes the likeliest token; from 0.01 to `HIGHEST_TEMPERATURE`, tokens are drawn at random.
    temperature: float = 0.0
    top_p: float = 1.0  # draw only from the likeliest tokens that make up this much probability
    seed: int | None = None  # makes random answers repeatable
    grounding: bool = True  # ask for boxes ("[grounding]" in front of the question)
    # Proposals at or below this objectness are not shown to the model; None is its own threshold.
    score_threshold: float | None = None
    max_regions: int | None = None  # most proposals shown to the model; None is its own limit
    # How closely a picture is looked at when it is encoded; one that is encoded already stays as it
    # is. 2 and 3 find small things in 4 and 9 tiles besides the whole picture and take 5 and 10
    # times as long; "auto" is as many as keep the picture's pixels.
    detail: Detail = 1

    def __post_init__(self) -> None:
        for item in fields(self):
            _check_kind(item.name, getattr(self, item.name), item.type)
        ranges = {
            "max_new_tokens": (
                1 <= self.max_new_tokens <= MOST_NEW_TOKENS,
                f"between 1 and {MOST_NEW_TOKENS}",
            ),
            "temperature": (
                self.temperature == 0 or 0.01 <= self.temperature <= HIGHEST_TEMPERATURE,
                f"0, or between 0.01 and {HIGHEST_TEMPERATURE:g}",
            ),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "seed": (self.seed is None or 0 <= self.seed < 2**63, "between 0 and 2**63"),
            "score_threshold": (
                self.score_threshold is None or 0 <= self.score_threshold <= 1,
                "between 0 and 1",
            ),
            "max_regions": (
                self.max_regions is None or 1 <= self.max_regions <= NUM_REGION_TOKENS,
                f"between 1 and {NUM_REGION_TOKENS}",
            ),
        }
        for name, (is_fine, wanted) in ranges.items():
            if not is_fine:
                raise GromaError(f"{name} must be {wanted}, not {short(getattr(self, name))}.")

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Settings as a program or a file gives them: values by name.

        Raises:
            GromaError: naming what is no setting, of another kind or out of range.
        """
        if not isinstance(data, Mapping):
            raise GromaError('The settings must be values by name, such as {"temperature": 0.5}.')
        known = [item.name for item in fields(cls)]
        for name in data:
            if name not in known:
                raise GromaError(
                    f"There is no setting {short(name)}; there are {', '.join(known)}."
                )
        return cls(**data)


class SettingValues(TypedDict, total=False):
    """Fields of `GenerationSettings` by name, as `Chat` takes them for convenience."""

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    grounding: bool
    score_threshold: float | None
    max_regions: int | None
    detail: Detail


def _check_kind(name: str, value: Any, declared: Any) -> None:
    """Refuse a value that is not of the declared type; True is no number."""
    kind, *others = get_args(declared) or (declared,)
    if get_origin(declared) is Literal:
        if (type(value), value) not in [(type(known), known) for known in (kind, *others)]:
            wanted = ", ".join(map(str, (kind, *others)))
            raise GromaError(f"{name} must be one of {wanted}, not {short(value)}.")
        return
    if value is None and others:
        return
    accepted, wanted = _KINDS[kind]
    if not isinstance(value, accepted) or isinstance(value, bool) != (kind is bool):
        raise GromaError(f"{name} must be {wanted}, not {short(value)}.")
