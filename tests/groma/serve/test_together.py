import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from groma.serve.together import Together


def test_everybody_gets_their_own_result_and_calls_are_shared() -> None:
    sizes: list[int] = []
    go_on = threading.Event()

    def double(values: Sequence[int]) -> list[int]:
        go_on.wait(10)
        sizes.append(len(values))
        return [2 * value for value in values]

    doubled = Together(double, most=8)
    with ThreadPoolExecutor(20) as pool:
        results = [pool.submit(doubled, value) for value in range(20)]
        while doubled._waiting.qsize() < 19:  # one value is being computed
            pass
        go_on.set()
        assert [result.result(10) for result in results] == [2 * value for value in range(20)]
    assert sizes[0] == 1
    assert sizes[1:] == [8, 8, 3]
    doubled.close()


def test_a_call_waits_for_those_that_are_expected() -> None:
    sizes: list[int] = []

    def run(values: Sequence[int]) -> Sequence[int]:
        sizes.append(len(values))
        return values

    shared = Together(run, most=8, expected=lambda: 3, patience=10)
    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(shared, range(3))) == [0, 1, 2]
    assert sizes == [3]
    shared.close()


def test_an_error_reaches_all_of_its_call_and_nobody_after_it() -> None:
    def invert(values: Sequence[float]) -> list[float]:
        return [1 / value for value in values]

    inverse = Together(invert, most=4)
    with pytest.raises(ZeroDivisionError):
        inverse(0)
    assert inverse(4) == 0.25
    inverse.close()
