import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groma.eval.statistics.intervals import (
    _NOTHING,
    estimate,
    proportion,
    ratio,
)
from recipes.scenes.evaluation.figures import f1

CASES = st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(CASES)
def test_wilsons_ends_are_shares_that_the_cases_just_allow(pair):
    right, cases = pair
    estimate = proportion(right, cases)
    assert estimate.value == right / cases
    assert estimate.cases == cases
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    for end in (estimate.low, estimate.high):
        off = 1.959964 * (end * (1 - end) / cases) ** 0.5
        assert abs(estimate.value - end) == pytest.approx(off, abs=1e-6)


def test_wilson_of_a_textbook():
    # Newcombe (1998), Statistics in Medicine 17: 81 of 263, score method without correction.
    estimate = proportion(81, 263)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (0.2553, 0.3662)


def test_no_cases_say_nothing():
    assert proportion(0, 0) == _NOTHING
    assert estimate(np.zeros((0, 2)), ratio, 0) == _NOTHING
    assert estimate(np.zeros((5, 2)), ratio, 0) == _NOTHING
    assert estimate(np.zeros((5, 3)), f1, 0, is_share=True) == _NOTHING


@pytest.mark.parametrize("pair", [(3, 2), (-1, 2)])
def test_impossible_shares_are_refused(pair):
    with pytest.raises(ValueError, match="cannot be right"):
        proportion(*pair)


def test_bootstrap_of_independent_cases_is_close_to_wilson():
    right = np.random.default_rng(1).random(1500) < 0.8
    counts = np.stack([right, np.ones(1500)], axis=1)
    drawn, exact = estimate(counts, ratio, 1500), proportion(int(right.sum()), 1500)
    assert drawn.value == exact.value
    assert (drawn.low, drawn.high) == pytest.approx((exact.low, exact.high), abs=0.004)


def test_bootstrap_knows_that_cases_of_one_picture_hang_together():
    pictures = np.repeat([[10.0, 10.0], [0.0, 10.0]], 20, axis=0)
    together = estimate(pictures, ratio, 400)
    apart = estimate(np.repeat([[1.0, 1.0], [0.0, 1.0]], 200, axis=0), ratio, 400)
    assert together.value == apart.value == 0.5
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_bootstrap_repeats_itself_and_works_in_blocks(monkeypatch):
    counts = np.random.default_rng(0).integers(1, 9, (50, 3))
    first = estimate(counts, f1, 50)
    assert estimate(counts, f1, 50) == first
    monkeypatch.setattr("groma.eval.statistics.intervals._ROWS_AT_ONCE", 350)
    assert estimate(counts, f1, 50) == first


@pytest.mark.parametrize(("hits", "value"), [(2, 1.0), (0, 0.0)])
def test_agreement_of_all_cases_leaves_doubt(hits, value):
    counts = np.array([[hits, 2, 2]] * 5)
    assert estimate(counts, ratio, 10).low == value
    found = estimate(counts, ratio, 10, is_share=True)
    assert found == proportion(5 * hits, 10)
    assert found.value == value
    assert 0.2 < found.high - found.low < 0.4


def test_bootstrap_share_is_the_bootstrap_otherwise():
    counts = np.array([[1, 2], [2, 2], [0, 1]])
    assert estimate(counts, ratio, 5, is_share=True) == estimate(counts, ratio, 5)


def test_ratio_and_f1():
    sums = np.array([[3.0, 4.0, 6.0], [0.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    assert ratio(sums).tolist() == pytest.approx([0.75, np.nan, np.nan], nan_ok=True)
    # Precision 3/4, recall 3/6.
    assert f1(sums).tolist() == pytest.approx([0.6, np.nan, 0.0], nan_ok=True)
