"""How sure a measured figure is: its value with a 95 % interval."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Z = 1.959963984540054
"""Standard deviations on either side that hold 95 % of a normal distribution."""
_ROWS_AT_ONCE = 4_000_000

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Turns sums (..., K) into figures (...,); nan where they say nothing."""


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
    centre = (share + Z**2 / (2 * cases)) / (1 + Z**2 / cases)
    spread = share * (1 - share) / cases + Z**2 / (4 * cases**2)
    reach = Z * spread**0.5 / (1 + Z**2 / cases)
    low = 0.0 if right == 0 else centre - reach
    high = 1.0 if right == cases else centre + reach
    return Estimate(share, low, high, cases)


def bootstrap(
    counts: NDArray, statistic: Statistic, cases: int, draws: int = 1000, seed: int = 0
) -> Estimate:
    """A figure made of sums over pictures with its percentile bootstrap interval.

    Whole pictures are drawn again, with replacement, because what is seen in one hangs together.

    Args:
        counts: (N, K) what each picture adds to each sum.
        statistic: makes the figure of the sums.
        cases: how many cases the figure rests on, to be told with it.
        draws: how many times N pictures are drawn.
        seed: equal seeds give equal intervals.
    """
    counts = np.asarray(counts, np.float64)
    value = float(statistic(counts.sum(axis=0))) if len(counts) else np.nan
    if np.isnan(value):
        return NOTHING
    figures = [statistic(weights @ counts) for weights in draw_weights(len(counts), draws, seed)]
    low, high = np.nanpercentile(np.concatenate(figures), (2.5, 97.5))
    return Estimate(value, float(low), float(high), cases)


def draw_weights(number: int, draws: int, seed: int = 0) -> Iterator[NDArray[np.float64]]:
    """How often each of some pictures is drawn when as many are drawn with replacement.

    Args:
        number: N of the pictures, at least one.
        draws: how many times N pictures are drawn.
        seed: equal seeds give equal draws.

    Yields:
        Blocks (R, N) of counts, `draws` rows in all.
    """
    rng = np.random.default_rng(seed)
    block = max(1, _ROWS_AT_ONCE // number)
    for start in range(0, draws, block):
        rows = min(block, draws - start)
        yield rng.multinomial(number, np.full(number, 1 / number), size=rows).astype(np.float64)


def bootstrap_share(counts: NDArray, statistic: Statistic, cases: int) -> Estimate:
    """`bootstrap` of a figure in [0, 1].

    Where all cases are right, or all wrong, drawing them again shows no doubt; the interval is then
    Wilson's for as many cases.
    """
    estimate = bootstrap(counts, statistic, cases)
    if estimate.value not in (0.0, 1.0):
        return estimate
    return proportion(cases if estimate.value else 0, cases)


def ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """First sum over second: a recall, a precision, a mean; nan where the second is 0."""
    return divide(sums[..., 0], sums[..., 1])


def f1(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Harmonic mean of precision and recall from sums of hits, found and wanted."""
    return divide(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


def divide(above: NDArray[np.float64], below: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quotient; nan, without a warning, where the divisor is 0."""
    return np.divide(
        above, below, out=np.full(np.shape(above), np.nan), where=np.asarray(below) != 0
    )
