"""Figures that others have published, to stand beside ours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from groma.foreign import load_json
from groma.types import GromaError

NO_SET = "none"


@dataclass(frozen=True)
class Published:
    """What one model reaches on one set.

    Attributes:
        model: its name.
        source: paper that says so.
        figures: by the key of our figure, in percent.
    """

    model: str
    source: str
    figures: Mapping[str, float]


@dataclass(frozen=True)
class _PublishedSet:
    """A set that figures are published of.

    Attributes:
        benchmark: that measures it.
        files: recognises `Benchmark.label`, in lower-case letters, digits and "+". Google's splits
            of RefCOCO are other sets than those that carry its names.
        results: of several models.
    """

    benchmark: str
    files: str
    results: tuple[Published, ...]


_FIGURES = load_json(Path(__file__).with_name("published_figures.json").read_bytes())
SETS = TypeAdapter(dict[str, _PublishedSet]).validate_python(_FIGURES["sets"])
"""By name; where other models' figures come from the Groma paper, that is their source."""
REC_MEAN = TypeAdapter(tuple[Published, ...]).validate_python(_FIGURES["rec_mean"])
"""Mean accuracy over all eight sets of REC."""


def find_set(benchmark: str, label: str, name: str | None) -> str | None:
    """Which set our figures are of, a key of `SETS`; None where it is none of them.

    Args:
        benchmark: that is measured.
        label: what results call the questions.
        name: of a set; `NO_SET` for none; None recognises the label.

    Raises:
        GromaError: if the benchmark has no such set.
    """
    if name == NO_SET:
        return None
    sets = {key: each for key, each in SETS.items() if each.benchmark == benchmark}
    if name is None:
        plain = re.sub(r"[^a-z0-9+]", "", label.lower())
        return next((key for key, each in sets.items() if re.match(each.files, plain)), None)
    if name not in sets:
        raise GromaError(
            f"No figures of {benchmark} on {name!r} are known; take {', '.join(sets)} or {NO_SET}."
        )
    return name
