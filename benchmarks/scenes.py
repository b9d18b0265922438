"""How many illustrated scenes, conversations and symbolic scenes one core makes per second.

Seconds are those the process really computed, so that other work on the machine does not count.

python -m benchmarks.scenes [--seconds 3]
"""

import argparse
import gc
import time
from collections.abc import Callable

import cv2

from groma.dice import Dice
from recipes.scenes.language.conversations import converse, language_dice
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.pictures.sprites import UNSEEN_STYLE
from recipes.scenes.symbols import SymbolicScenes, symbolic_regions


def rate(make: Callable[[int], object], seconds: float) -> float:
    """Calls per computed second, of growing indices, after a few to warm up."""
    for index in range(20):
        make(index)
    # Without this the collector walks all of torch's objects every few thousand scenes.
    gc.collect()
    gc.freeze()
    start, index = time.process_time(), 20
    while (elapsed := time.process_time() - start) < seconds:
        make(index)
        index += 1
    return (index - 20) / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="per row")
    seconds = parser.parse_args().seconds
    cv2.setNumThreads(1)
    symbolic = SymbolicScenes()
    dice = Dice.of("train", 0, 0, 9)
    rows: dict[str, Callable[[int], object]] = {
        f"pictures, {split}, {size} px": SceneGenerator(split, 0, size).__getitem__
        for split in ("train", "val")
        for size in (224, 336, 448)
    }
    rows["pictures, val, 224 px, unseen style"] = SceneGenerator(
        "val", 0, 224, UNSEEN_STYLE
    ).__getitem__
    rows["symbolic scenes"] = symbolic.__getitem__
    rows["symbolic scenes and conversations"] = lambda i: converse(
        symbolic[i], language_dice("train", 0, i)
    )
    rows["symbolic scenes and proposals"] = lambda i: symbolic_regions(symbolic[i], dice)
    print(f"{'one core':40}{'per second':>12}")
    for name, make in rows.items():
        print(f"{name:40}{rate(make, seconds):12,.0f}")


if __name__ == "__main__":
    main()
