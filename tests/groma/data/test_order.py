from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groma.data.order import Order, hash_numbers, permute

LENGTHS, RATIOS = (40, 7, 100), (1.0, 2.0, 0.25)


def batches(order: Order, size: int) -> list[list]:
    places = [order[i] for i in range(len(order))]
    return [places[i : i + size] for i in range(0, len(places), size)]


@given(st.integers(1, 70), st.integers(0, 2**64 - 1))
@settings(max_examples=40)
def test_permute_is_a_permutation(length: int, key: int) -> None:
    assert sorted(permute(i, length, key) for i in range(length)) == list(range(length))


def test_permute_shuffles_and_keys_differ() -> None:
    found = [[permute(i, 1000, key) for i in range(1000)] for key in range(2)]
    assert found[0] != found[1]
    follows = [sum(b - a == 1 for a, b in pairwise(row)) for row in found]
    assert max(follows) < 20


def test_hash_spreads_neighbours() -> None:
    values = [hash_numbers(0, i) for i in range(1000)]
    ones = [sum(value >> bit & 1 for value in values) for bit in range(64)]
    assert min(ones) > 400
    assert max(ones) < 600


@pytest.mark.parametrize(("size", "ranks"), [(1, 1), (4, 1), (2, 3)])
def test_a_step_of_all_processes_comes_from_one_source(size: int, ranks: int) -> None:
    order = Order(LENGTHS, RATIOS, size, ranks, passes=2)
    assert len(order) % (size * ranks) == 0
    sources = [{place.source for place in step} for step in batches(order, size * ranks)]
    assert all(len(found) == 1 for found in sources)
    assert len(set.union(*sources)) == len(LENGTHS)


def test_a_pass_holds_what_the_ratios_say() -> None:
    order = Order(LENGTHS, RATIOS, 1)
    counts = Counter(order[i].source for i in range(len(order)))
    assert counts == {0: 40, 1: 14, 2: 25}
    first, second = order[0], order[1]
    mixed = [order[i].source for i in range(len(order))]
    assert mixed != sorted(mixed)
    assert first != second


def test_nothing_repeats_before_everything_was_seen() -> None:
    order = Order(LENGTHS, RATIOS, 1, passes=4)
    places = [order[i] for i in range(len(order))]
    items = {s: [p.item for p in places if p.source == s] for s in range(3)}
    assert sorted(items[2]) == list(range(100))
    assert Counter(items[1]) == dict.fromkeys(range(7), 8)
    laps = [items[0][i : i + 40] for i in range(0, 160, 40)]
    assert [sorted(lap) for lap in laps] == [list(range(40))] * 4
    assert laps[0] != laps[1]


def test_positions_do_not_depend_on_what_was_asked_before() -> None:
    order = Order(LENGTHS, RATIOS, 4, passes=3, seed=5)
    forwards = [order[i] for i in range(len(order))]
    fresh = Order(LENGTHS, RATIOS, 4, passes=3, seed=5)
    assert [fresh[i] for i in reversed(range(len(order)))] == forwards[::-1]
    other = Order(LENGTHS, RATIOS, 4, passes=3, seed=6)
    assert [other[i] for i in range(len(order))] != forwards


def test_a_small_source_still_gets_a_step() -> None:
    order = Order((3, 1000), (1.0, 1.0), 64)
    assert {order[i].source for i in range(len(order))} == {0, 1}


def test_there_is_an_end() -> None:
    order = Order((3,), (1.0,), 1)
    assert len(list(order)) == len(order) == 3
    with pytest.raises(IndexError):
        order[-1]
