import numpy as np
import pytest

from groma.eval.statistics.intervals import (
    Figure,
    Measure,
    divide,
    mean,
    proportion,
    ratio,
    sums,
)

SHARE = Figure("share", "a share", 40, is_share=True)


def shares(right, draws=1000):
    counts = np.stack([right, np.ones(len(right))], axis=1)
    measure = sums((SHARE,), counts, lambda x: ratio(x)[..., None])
    return Measure(measure.figures, measure.units, measure.at, draws)


def test_draws_are_of_as_many_pictures():
    def drawn():
        blocks = []
        at = lambda weights: blocks.append(weights) or weights[:, :1]  # noqa: E731
        Measure((Figure("x", "x", 7),), 7, at).estimates()
        return np.concatenate(blocks[1:])

    weights = drawn()
    assert weights.shape == (1000, 7)
    assert (weights.sum(axis=1) == 7).all()
    assert weights.mean() == 1
    assert (weights == drawn()).all()


def test_a_mean_is_estimated_as_by_the_bootstrap_of_sums():
    values = np.random.default_rng(0).random(30)
    figure = Figure("x", "x", 30)
    found = mean(figure, values).estimates()["x"]
    counts = np.stack([values, np.ones(30)], axis=1)
    expected = sums((figure,), counts, lambda x: ratio(x)[..., None]).estimates()["x"]
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.value == pytest.approx(expected.value)
    assert found.value == pytest.approx(values.mean())


def test_where_all_are_right_there_is_still_doubt():
    assert shares(np.ones(40)).estimates()["share"] == proportion(40, 40)
    assert shares(np.zeros(40)).estimates()["share"] == proportion(0, 40)
    assert mean(Figure("x", "x", 3), np.ones(3)).estimates()["x"].low == 1


def test_differences_are_paired():
    """Two models that fail on the same hard pictures differ surely by what little they differ."""
    rng = np.random.default_rng(0)
    hard = rng.random(400)
    better, worse = mean(Figure("x", "x", 400), hard + 0.01), mean(Figure("x", "x", 400), hard)
    difference = better.differences(worse)["x"]
    assert difference.value == pytest.approx(0.01)
    assert (difference.low, difference.high) == pytest.approx((0.01, 0.01))
    own = better.estimates()["x"]
    assert own.high - own.low > 0.03


def test_an_interval_of_a_difference_covers_the_truth():
    """Of a hundred comparisons of equal models about ninety-five hold zero."""
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(100):
        first, second = (rng.random(60) < 0.5 for _ in range(2))
        found = shares(first.astype(float), 300).differences(shares(second.astype(float), 300))
        held += found["share"].low <= 0 <= found["share"].high
    assert 88 <= held <= 100


def test_nothing_says_nothing():
    empty = mean(Figure("x", "x", 0), np.empty(0))
    assert empty.estimates()["x"].value is None
    assert empty.differences(empty)["x"].value is None
    unknown = sums((SHARE,), np.zeros((4, 2)), lambda x: ratio(x)[..., None])
    assert unknown.estimates()["share"].value is None


def test_a_figure_may_be_unknown_in_some_draws():
    """A class that is rare is in no picture of some draws."""
    counts = np.zeros((10, 2))
    counts[0] = 1
    measure = sums((Figure("x", "x", 1),), counts, lambda x: divide(x[..., :1], x[..., 1:]))
    estimate = measure.estimates()["x"]
    assert (estimate.value, estimate.low, estimate.high) == (1, 1, 1)
