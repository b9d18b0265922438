"""Figures of a benchmark as functions of how often each picture counts.

With every picture counted once they are the benchmark's figures; with pictures drawn again they
give the bootstrap interval; with the same draws for two models, the interval of their difference.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from groma.eval.statistics.intervals import NOTHING, Estimate, draw_weights, proportion

Floats = NDArray[np.float64]


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
        return np.concatenate([at(weights) for weights in draw_weights(self.units, self.draws)])


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


def _wilson(figure: Figure, value: float) -> Estimate | None:
    if not figure.is_share or value not in (0.0, 1.0):
        return None
    return proportion(figure.cases if value else 0, figure.cases)


def _estimate(value: float, drawn: Floats, cases: int) -> Estimate:
    if np.isnan(value):
        return NOTHING
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return Estimate(float(value), float(low), float(high), cases)
