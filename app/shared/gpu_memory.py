"""What is asked of a GPU: for how long, and what to do when its memory is full."""

import gc
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

import torch

from groma.limits import MOST_NEW_TOKENS
from groma.types import GromaError

SECONDS_TO_START = 15
SECONDS_PER_TOKEN = 0.08
_Result = TypeVar("_Result")


def seconds_to_answer(settings: Any) -> int:
    """Seconds of GPU that an answer may need.

    Args:
        settings: fields of `GenerationSettings`, not checked yet.
    """
    tokens = settings.get("max_new_tokens", 512) if isinstance(settings, Mapping) else 512
    known = min(max(tokens, 1), MOST_NEW_TOKENS) if isinstance(tokens, int) else 512
    return SECONDS_TO_START + round(SECONDS_PER_TOKEN * known)


def free_memory() -> None:
    """Give back what nothing holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def retrying(run: Callable[[], _Result], free: Callable[[], None] = free_memory) -> _Result:
    """Run something, and once more after freeing memory where it was too little.

    Args:
        run: what needs memory.
        free: lets go of what can be made again.

    Raises:
        GromaError: if the memory does not suffice the second time either.
    """
    try:
        return run()
    except torch.OutOfMemoryError:
        pass  # The error's frames hold tensors, which go with it.
    free()
    try:
        return run()
    except torch.OutOfMemoryError as error:
        raise too_little_memory() from error


def stream_retrying(
    run: Callable[[], Generator[_Result]], free: Callable[[], None] = free_memory
) -> Generator[_Result]:
    """The same for what comes in parts; the second time it begins anew.

    Args:
        run: begins it.
        free: lets go of what can be made again.

    Raises:
        GromaError: as `retrying`.
    """
    try:
        yield from run()
        return
    except torch.OutOfMemoryError:
        pass  # The error's frames hold tensors, which go with it.
    free()
    try:
        yield from run()
    except torch.OutOfMemoryError as error:
        raise too_little_memory() from error


def too_little_memory() -> GromaError:
    """What to say when freeing did not help."""
    return GromaError(
        "The GPU's memory is full, even with every cache freed; please try a shorter talk or "
        "fewer regions."
    )
