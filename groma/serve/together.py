"""Calls of many threads become one: what waits while a call runs is taken along by the next."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Generic, TypeVar

Given = TypeVar("Given")
Result = TypeVar("Result")


class Together(Generic[Given, Result]):
    """A function of one value, computed by a function of several.

    Args:
        run: values to results, in the same order; called by one thread, one call at a time.
        most: values of one call.
        expected: how many threads are about to call; a call waits for them, but not for long.
        patience: seconds that it waits at most.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Given]], Sequence[Result]],
        most: int,
        expected: Callable[[], int] = lambda: 1,
        patience: float = 0.0,
    ) -> None:
        self._run = run
        self._most = most
        self._expected = expected
        self._patience = patience
        self._waiting: queue.SimpleQueue[tuple[Given, Future[Result]] | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    def __call__(self, value: Given) -> Result:
        """The result for one value; an error of the call that took it is raised here."""
        future: Future[Result] = Future()
        self._waiting.put((value, future))
        return future.result()

    def close(self) -> None:
        """End the thread after what waits now."""
        self._waiting.put(None)
        self._worker.join()

    def _work(self) -> None:
        while (first := self._waiting.get()) is not None:
            taken = [first]
            deadline = time.monotonic() + self._patience
            while len(taken) < self._most:
                lacking = len(taken) < self._expected()
                left = deadline - time.monotonic() if lacking else 0.0
                try:
                    another = self._waiting.get(block=left > 0, timeout=max(left, 0.0))
                except queue.Empty:
                    break
                if another is None:
                    self._waiting.put(None)
                    break
                taken.append(another)
            self._answer(taken)

    def _answer(self, taken: Sequence[tuple[Given, Future[Result]]]) -> None:
        try:
            results = self._run([value for value, _ in taken])
        except Exception as error:  # whoever waits for it raises it
            for _, future in taken:
                future.set_exception(error)
        else:
            for (_, future), result in zip(taken, results, strict=True):
                future.set_result(result)
