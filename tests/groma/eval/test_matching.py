from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groma.eval.statistics.matching import match_boxes, num_matched, overlaps

UNIT = (0.0, 0.0, 10.0, 10.0)
HALF = (0.0, 0.0, 10.0, 5.0)
FAR = (50.0, 50.0, 60.0, 60.0)
BOXES = st.lists(
    st.tuples(*[st.integers(0, 6)] * 2, *[st.integers(1, 6)] * 2).map(
        lambda b: (float(b[0]), float(b[1]), float(b[0] + b[2]), float(b[1] + b[3]))
    ),
    max_size=4,
)


def brute_force(found, truth, threshold):
    """Most pairs that any assignment makes."""
    if len(found) > len(truth):
        return brute_force(truth, found, threshold)
    iou = overlaps(found, truth) if found else np.zeros((0, len(truth)))
    return max(
        sum(iou[i, j] >= threshold for i, j in enumerate(order))
        for order in permutations(range(len(truth)), len(found))
    )


@given(BOXES, BOXES, st.sampled_from([0.25, 0.5, 0.75]))
def test_no_other_pairing_has_more_pairs(found, truth, threshold):
    pairs = match_boxes(found, truth, threshold)
    assert len(pairs) == brute_force(found, truth, threshold)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(overlaps(found, truth)[pair] >= threshold for pair in pairs)


def test_nothing_matches_nothing():
    assert match_boxes([], [UNIT]) == match_boxes([UNIT], []) == match_boxes([], []) == []
    assert overlaps([], [UNIT]).shape == (0, 1)


def test_the_threshold_is_included():
    assert overlaps([HALF], [UNIT])[0, 0] == 0.5
    assert match_boxes([HALF], [UNIT], 0.5) == [(0, 0)]
    assert match_boxes([HALF], [UNIT], 0.5001) == []


def test_each_box_counts_once():
    assert num_matched([UNIT, UNIT, UNIT], [UNIT]) == 1
    assert num_matched([UNIT], [UNIT, UNIT]) == 1
    assert num_matched([UNIT, FAR], [FAR, UNIT]) == 2


def test_two_pairs_beat_one_tight_one():
    left, right = (0.0, 0.0, 10.0, 5.5), (0.0, 4.5, 10.0, 10.0)
    # The whole one fits itself best; taking it would leave the left one without a partner.
    assert match_boxes([UNIT, left], [UNIT, right], 0.5) == [(0, 1), (1, 0)]
    left, right = (0.0, 0.0, 10.0, 3.0), (0.0, 7.0, 10.0, 10.0)
    assert match_boxes([UNIT, left], [UNIT, right], 0.25) == [(0, 1), (1, 0)]


def test_of_equal_pairings_the_tightest():
    near = (0.0, 0.0, 10.0, 9.0)
    assert match_boxes([HALF, near], [UNIT]) == [(1, 0)]


def test_only_what_is_allowed():
    allowed = np.array([[False], [True]])
    assert match_boxes([UNIT, HALF], [UNIT], allowed=allowed) == [(1, 0)]


@pytest.mark.parametrize("box", [(5.0, 5.0, 5.0, 9.0), (9.0, 9.0, 1.0, 1.0)])
def test_a_box_without_area_overlaps_nothing(box):
    assert match_boxes([box], [box, UNIT], 0.01) == []
