"""Reading a whole source, broken items included."""

from collections import Counter
from typing import Any

from groma.data.sources.items import BrokenItem, Samples


def read(source: Samples) -> tuple[list[Any], Counter[str]]:
    """Every sample that is left, and why the others are not."""
    samples, broken = [], Counter()
    for index in range(len(source)):
        try:
            samples.append(source[index])
        except BrokenItem as error:
            broken[str(error)] += 1
    return samples, broken
