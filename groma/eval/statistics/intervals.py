"""How sure measured figures are: their values with 95 % intervals.

A figure is a function of how often each picture counts. With every picture counted once that is its
value; with pictures drawn again, with replacement, it gives the bootstrap interval, because what is
seen in one picture hangs together; with the same draws for two models, the interval of their
difference.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_ROWS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured figure."""

    value: float | None  # None where there was no case to measure
    low: float | None  # lower end of the 95 % interval; None as `value`
    high: float | None  # upper end
    cases: int  # how many cases it rests on

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


_NOTHING = Estimate(None, None, None, 0)


def proportion(right: int, cases: int) -> Estimate:
    """The share of independent cases that are right, with its Wilson score interval.

    Raises `ValueError` if the numbers contradict each other.
    """
    if not 0 <= right <= cases:
        raise ValueError(f"{right} of {cases} cases cannot be right.")
    if not cases:
        return _NOTHING
    from scipy.stats import binomtest  # slow

    interval = binomtest(right, cases).proportion_ci(method="wilson")
    return Estimate(right / cases, float(interval.low), float(interval.high), cases)


@dataclass(frozen=True, slots=True)
class Figure:
    """What a figure is called."""

    key: str  # its name in JSON
    label: str  # its name for people
    cases: int  # how many cases it rests on
    scale: float = 100.0  # published figures are this many times ours: 100 for those in percent
    # Whether every case is right or wrong; where all are the same, drawing them again shows no
    # doubt, and the interval is Wilson's.
    is_share: bool = False


@dataclass(frozen=True)
class Measure:
    """Figures that are computed together."""

    figures: tuple[Figure, ...]  # K of them
    units: int  # N, how many pictures are drawn again
    at: Callable[[Floats], Floats]  # weights (R, N) -> figures (R, K); nan where they say nothing
    draws: int = 1000  # how many times N pictures are drawn

    def values(self) -> Floats:
        """(K,) the figures with every picture counted once; nan where there is no picture."""
        return self.at(np.ones((1, self.units)))[0] if self.units else self._nothing

    def estimates(self) -> dict[str, Estimate]:
        """Every figure with its interval, by key."""
        values = self.values()
        drawn = self._drawn(self.at)
        return {
            figure.key: _wilson(figure, value) or _estimate(value, column, figure.cases)
            for figure, value, column in zip(self.figures, values, drawn.T, strict=True)
        }

    def differences(self, other: "Measure") -> dict[str, Estimate]:
        """Every figure less that of another model on the same pictures, by key.

        Both models are drawn on the same pictures, so that how hard a picture is cancels out.
        """
        values = self.values() - other.values()
        drawn = self._drawn(lambda weights: self.at(weights) - other.at(weights))
        return {
            figure.key: _estimate(value, column, figure.cases)
            for figure, value, column in zip(self.figures, values, drawn.T, strict=True)
        }

    @property
    def _nothing(self) -> Floats:
        return np.full(len(self.figures), np.nan)

    def _drawn(self, at: Callable[[Floats], Floats]) -> Floats:
        """(draws, K)."""
        if not self.units:
            return self._nothing[None]
        return np.concatenate([at(weights) for weights in _draw_weights(self.units, self.draws)])


def sums(
    figures: tuple[Figure, ...], counts: Floats, statistic: Callable[[Floats], Floats]
) -> Measure:
    """K figures made of sums over pictures.

    `counts` (N, S) is what each picture adds to each sum; `statistic` turns sums (R, S) into
    figures (R, K).
    """
    return Measure(figures, len(counts), lambda weights: statistic(weights @ counts))


def mean(figure: Figure, values: Floats) -> Measure:
    """The mean of one value per picture, (N,)."""
    return Measure(
        (figure,), len(values), lambda weights: (weights @ values / weights.sum(axis=1))[:, None]
    )


def estimate(
    counts: Floats, statistic: Callable[[Floats], Floats], cases: int, is_share: bool = False
) -> Estimate:
    """One figure made of sums over pictures, of which each adds (N, S) `counts`.

    `statistic` turns sums (..., S) into the figure (...,), nan where they say nothing.
    """
    figure = Figure("", "", cases, is_share=is_share)
    return sums((figure,), counts, lambda x: statistic(x)[..., None]).estimates()[""]


def _draw_weights(number: int, draws: int) -> Iterator[Floats]:
    """How often each of N >= 1 pictures is drawn when as many are drawn with replacement.

    Yields blocks (R, N) of counts, `draws` rows in all, always the same ones.
    """
    rng = np.random.default_rng(0)
    block = max(1, _ROWS_AT_ONCE // number)
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        yield rng.multinomial(number, np.full(number, 1 / number), size=rows).astype(np.float64)


def ratio(sums: Floats) -> Floats:
    """First sum over second: a recall, a precision, a mean; nan where the second is 0."""
    return divide(sums[..., 0], sums[..., 1])


def divide(above: Floats, below: Floats) -> Floats:
    """Quotient; nan, without a warning, where the divisor is 0."""
    return np.divide(
        above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) != 0
    )


def _wilson(figure: Figure, value: float) -> Estimate | None:
    if not figure.is_share or value not in (0.0, 1.0):
        return None
    return proportion(figure.cases if value else 0, figure.cases)


def _estimate(value: float, drawn: Floats, cases: int) -> Estimate:
    if np.isnan(value):
        return _NOTHING
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return Estimate(float(value), float(low), float(high), cases)
