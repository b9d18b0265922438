"""Work that is done several pieces at once."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def as_finished(
    work: Callable[[_Item], _Result], items: Iterable[_Item], at_once: int
) -> Iterator[_Result]:
    """Results in the order in which they are ready, from threads.

    No more items are taken than are worked on `at_once`.
    """
    rest = iter(items)
    with ThreadPoolExecutor(at_once) as pool:
        running: set[Future[_Result]] = set()
        while True:
            fresh = islice(rest, at_once - len(running))
            running |= {pool.submit(work, item) for item in fresh}
            if not running:
                return
            ready, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in ready)
