"""Figures that others have published, to stand beside ours."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groma.foreign import load_json
from groma.types import GromaError

_NO_SET = "none"


@dataclass(frozen=True)
class Published:
    """What one model reaches on one set."""

    model: str  # its name
    source: str  # paper that says so
    figures: Mapping[str, float]  # by the key of our figure, in percent


@dataclass(frozen=True)
class _Set:
    """A set that figures are published of."""

    benchmark: str  # that measures it
    # Recognises `Benchmark.label`, in lower-case letters, digits and "+". Google's splits of
    # RefCOCO are other sets than those that carry its names.
    files: str
    results: tuple[Published, ...]  # of several models


def _read(results: Iterable[Mapping[str, Any]]) -> tuple[Published, ...]:
    return tuple(Published(**result) for result in results)


_FIGURES = load_json(Path(__file__).with_name("published_figures.json").read_bytes())
SETS: Mapping[str, _Set] = {
    name: _Set(each["benchmark"], each["files"], _read(each["results"]))
    for name, each in _FIGURES["sets"].items()
}
"""By name; where other models' figures come from the Groma paper, that is their source."""
REC_MEAN = _read(_FIGURES["rec_mean"])  # mean accuracy over all eight sets of REC


def find_set(benchmark: str, label: str, name: str | None) -> str | None:
    """Which set our figures are of, a key of `SETS`; None where it is none of them.

    The name is that of a set, or `_NO_SET`; None recognises the label, what results call the
    questions. Raises `GromaError` if the benchmark has no such set.
    """
    if name == _NO_SET:
        return None
    sets = {key: each for key, each in SETS.items() if each.benchmark == benchmark}
    if name is None:
        plain = re.sub(r"[^a-z0-9+]", "", label.lower())
        return next((key for key, each in sets.items() if re.match(each.files, plain)), None)
    if name not in sets:
        raise GromaError(
            f"No figures of {benchmark} on {name!r} are known; take {', '.join(sets)} or {_NO_SET}."
        )
    return name
