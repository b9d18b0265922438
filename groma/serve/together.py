"""Calls of many threads become one: what waits while a call runs is taken along by the next."""

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Line:
    """What may be computed, and how many values of it at once.

    Attributes:
        run: values to results, in the same order.
        most: values of one call.
        expected: how many threads are about to call; a call waits for them, but not for long.
        patience: seconds that it waits at most.
    """

    run: Callable[[Sequence[Any]], Sequence[Any]]
    most: int
    expected: Callable[[], int] = lambda: 1
    patience: float = 0.0


class Together:
    """One thread that computes for many, a call at a time: they would only slow each other down.

    Lines take turns; in each turn one call computes the values of one line.

    Args:
        lines: by name; the first is served first.
    """

    def __init__(self, lines: Mapping[str, Line]) -> None:
        self._lines = dict(lines)
        self._waiting: dict[str, deque[tuple[Any, Future]]] = {name: deque() for name in lines}
        self._changed = threading.Condition()
        self._is_closed = False
        self._wanted = 1
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    def __call__(self, name: str, value: Any) -> Any:
        """The result for one value of a line; an error of the call that took it is raised here."""
        future: Future = Future()
        with self._changed:
            self._waiting[name].append((value, future))
            if self._has_enough():
                self._changed.notify()
        return future.result()

    def close(self) -> None:
        """End the thread after what waits now."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._worker.join()

    def _work(self) -> None:
        while self._wait(1):
            for name, line in self._lines.items():
                if self._waiting[name]:
                    self._wait(min(line.most, line.expected()), line.patience)
                    _answer(line, self._take(name, line.most))

    def _wait(self, wanted: int, patience: float | None = None) -> bool:
        """Until so many values wait, whatever their line; whether any does."""
        with self._changed:
            self._wanted = wanted
            self._changed.wait_for(lambda: self._is_closed or self._has_enough(), patience)
            return any(self._waiting.values())

    def _has_enough(self) -> bool:
        return sum(map(len, self._waiting.values())) >= self._wanted

    def _take(self, name: str, most: int) -> list[tuple[Any, Future]]:
        with self._changed:
            waiting = self._waiting[name]
            return [waiting.popleft() for _ in range(min(most, len(waiting)))]


def _answer(line: Line, taken: Sequence[tuple[Any, Future]]) -> None:
    try:
        results = line.run([value for value, _ in taken])
    except Exception as error:  # whoever waits for it raises it
        for _, future in taken:
            future.set_exception(error)
    else:
        for (_, future), result in zip(taken, results, strict=True):
            future.set_result(result)
