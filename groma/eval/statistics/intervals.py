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

_Z = 1.959963984540054
"""Standard deviations on either side that hold 95 % of a normal distribution."""
_ROWS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A measured figure.

    Attributes:
        value: None where there was no case to measure.
        low: lower end of the 95 % interval; None as `value`.
        high: upper end.
        cases: how many cases it rests on.
    """

    value: float | None
    low: float | None
    high: float | None
    cases: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


NOTHING = Estimate(None, None, None, 0)
"""The figure of no case at all."""


def proportion(right: int, cases: int) -> Estimate:
    """A share of independent cases with its Wilson score interval.

    Args:
        right: how many of the cases count, 0 <= right <= cases.
        cases: how many there are.

    Raises:
        ValueError: if the numbers contradict each other.
    """
    if not 0 <= right <= cases:
        raise ValueError(f"{right} of {cases} cases cannot be right.")
    if not cases:
        return NOTHING
    share = right / cases
    centre = (share + _Z**2 / (2 * cases)) / (1 + _Z**2 / cases)
    spread = share * (1 - share) / cases + _Z**2 / (4 * cases**2)
    reach = _Z * spread**0.5 / (1 + _Z**2 / cases)
    low = 0.0 if right == 0 else centre - reach
    high = 1.0 if right == cases else centre + reach
    return Estimate(share, low, high, cases)


@dataclass(frozen=True, slots=True)
class Figure:
    """What a figure is called.

    Attributes:
        key: its name in JSON.
        label: its name for people.
        cases: how many cases it rests on.
        scale: published figures are this many times ours: 100 for those in percent.
        is_share: whether every case is right or wrong; where all are the same, drawing them again
            shows no doubt, and the interval is Wilson's.
    """

    key: str
    label: str
    cases: int
    scale: float = 100.0
    is_share: bool = False


@dataclass(frozen=True)
class Measure:
    """Figures that are computed together.

    Attributes:
        figures: K of them.
        units: N, how many pictures are drawn again.
        at: weights (R, N) -> figures (R, K); nan where they say nothing.
        draws: how many times N pictures are drawn.
    """

    figures: tuple[Figure, ...]
    units: int
    at: Callable[[Floats], Floats]
    draws: int = 1000

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
    """Figures made of sums over pictures.

    Args:
        figures: K of them.
        counts: (N, S) what each picture adds to each sum.
        statistic: turns sums (R, S) into figures (R, K).
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
    """One figure made of sums over pictures.

    Args:
        counts: (N, S) what each picture adds to each sum.
        statistic: turns sums (..., S) into the figure (...,); nan where they say nothing.
        cases: how many cases the figure rests on, to be told with it.
        is_share: see `Figure`.
    """
    figure = Figure("", "", cases, is_share=is_share)
    return sums((figure,), counts, lambda x: statistic(x)[..., None]).estimates()[""]


def _draw_weights(number: int, draws: int) -> Iterator[Floats]:
    """How often each of some pictures is drawn when as many are drawn with replacement.

    Args:
        number: N of the pictures, at least one.
        draws: how many times N pictures are drawn; always the same ones.

    Yields:
        Blocks (R, N) of counts, `draws` rows in all.
    """
    rng = np.random.default_rng(0)
    block = max(1, _ROWS_AT_ONCE // number)
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        yield rng.multinomial(number, np.full(number, 1 / number), size=rows).astype(np.float64)


def ratio(sums: Floats) -> Floats:
    """First sum over second: a recall, a precision, a mean; nan where the second is 0."""
    return divide(sums[..., 0], sums[..., 1])


def f1(sums: Floats) -> Floats:
    """Harmonic mean of precision and recall from sums of hits, found and wanted."""
    return divide(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


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
        return NOTHING
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return Estimate(float(value), float(low), float(high), cases)
