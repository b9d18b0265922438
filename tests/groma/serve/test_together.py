import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from groma.serve.together import Line, Together


def test_everybody_gets_their_own_result_and_calls_are_shared() -> None:
    sizes: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def double(values: Sequence[int]) -> list[int]:
        started.set()
        go_on.wait(10)
        sizes.append(len(values))
        return [2 * value for value in values]

    together = Together({"double": Line(double, most=8)})
    with ThreadPoolExecutor(20) as pool:
        results = [pool.submit(together, "double", 0)]
        assert started.wait(10)
        results += [pool.submit(together, "double", value) for value in range(1, 20)]
        while len(together._waiting["double"]) < 19:
            pass
        go_on.set()
        assert [result.result(10) for result in results] == [2 * value for value in range(20)]
    assert sizes == [1, 8, 8, 3]
    together.close()


def test_a_call_waits_for_those_that_are_expected() -> None:
    sizes: list[int] = []

    def run(values: Sequence[int]) -> Sequence[int]:
        sizes.append(len(values))
        return values

    together = Together({"same": Line(run, most=8, expected=lambda: 3, patience=10)})
    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(lambda value: together("same", value), range(3))) == [0, 1, 2]
    assert sizes == [3]
    together.close()


def test_lines_take_turns() -> None:
    calls: list[str] = []
    started, go_on = threading.Event(), threading.Event()

    def line(name: str) -> Line:
        def run(values: Sequence[int]) -> Sequence[int]:
            started.set()
            go_on.wait(10)
            calls.append(name)
            return values

        return Line(run, most=1)

    together = Together({"first": line("first"), "second": line("second")})
    with ThreadPoolExecutor(6) as pool:
        pool.submit(together, "second", 0)
        assert started.wait(10)
        for name in ("second", "second", "first", "first", "first"):
            pool.submit(together, name, 0)
        while sum(map(len, together._waiting.values())) < 5:
            pass
        go_on.set()
    assert calls == ["second", "first", "second", "first", "second", "first"]
    together.close()


def test_an_error_reaches_all_of_its_call_and_nobody_after_it() -> None:
    def invert(values: Sequence[float]) -> list[float]:
        return [1 / value for value in values]

    inverse = Together({"invert": Line(invert, most=4)})
    with pytest.raises(ZeroDivisionError):
        inverse("invert", 0)
    assert inverse("invert", 4) == 0.25
    inverse.close()
