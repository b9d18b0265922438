"""How many answers a second, and how long each waits, one at a time and together.

Every answer is compared with the one that is given alone. A known picture is one that somebody has
asked about before. The last lines are what 16 at once gain: throughput, and the wait of the last.

python -m benchmarks.serve                       the embedded model
python -m benchmarks.serve --model FOLDER        any checkpoint
"""

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from PIL import Image

import groma
from groma.chat.chat import Groma
from groma.chat.settings import GenerationSettings
from groma.embedded import DEFAULT_MODEL
from groma.serve.engine import Engine

PHOTOGRAPHS = sorted((Path(__file__).parents[1] / "assets" / "photographs").glob("*.webp"))
QUESTIONS = ("Describe the picture.", "What is on the left?", "Describe the picture in detail.")


@dataclass(frozen=True)
class Timed:
    """One answer: seconds to its first word, seconds in all, and its words."""

    first: float
    whole: float
    text: str


def pictures(count: int) -> list[bytes]:
    """Files of photographs, no two alike: each is cut a little more."""
    made = []
    for at in range(count):
        with Image.open(PHOTOGRAPHS[at % len(PHOTOGRAPHS)]) as photograph:
            margin = at // len(PHOTOGRAPHS)
            cut = photograph.crop((margin, margin, photograph.width, photograph.height))
            kept = BytesIO()
            cut.convert("RGB").save(kept, "PNG")
            made.append(kept.getvalue())
    return made


def ask(engine: Engine, picture: bytes, question: str) -> Timed:
    start = time.perf_counter()
    first, text = 0.0, ""
    with engine.talk(picture, ()) as chat:
        for reply in engine.stream(chat, question, (), GenerationSettings(max_new_tokens=256)):
            first = first or time.perf_counter() - start
            text = reply.text
    return Timed(first, time.perf_counter() - start, text)


def run(engine: Engine, files: Sequence[bytes], clients: int) -> tuple[list[Timed], float]:
    asked = [(file, QUESTIONS[at % len(QUESTIONS)]) for at, file in enumerate(files)]
    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        timed = list(pool.map(lambda pair: ask(engine, *pair), asked))
    return timed, time.perf_counter() - start


def row(title: str, timed: Sequence[Timed], seconds: float) -> str:
    firsts, wholes = (sorted(getattr(each, of) for each in timed) for of in ("first", "whole"))

    def quantiles(values: list[float]) -> str:
        cuts = statistics.quantiles(values, n=100, method="inclusive")
        return " / ".join(f"{cuts[at - 1]:.2f}" for at in (50, 95, 99))

    rate = len(timed) / seconds
    return f"{title:34}{rate:6.2f}{quantiles(firsts):>24}{quantiles(wholes):>24}"


def compare(
    model: Groma, files: Sequence[bytes], clients: int, known: bool
) -> tuple[list[Timed], float]:
    """Answers of so many clients at once, and how long all took."""
    engine = Engine(model, clients)
    if known:
        for file in files:
            ask(engine, file, "What is in the middle?")
    timed, seconds = run(engine, files, clients)
    engine.close()
    return timed, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("-n", "--requests", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=1, help="the best of so many runs counts")
    args = parser.parse_args()
    model, files = groma.load(args.model), pictures(args.requests)
    print(f"{'clients':34}{'per s':>6}{'first p50 / 95 / 99':>24}{'whole p50 / 95 / 99':>24}")
    summary: list[str] = []
    for kind in ("new pictures", "known pictures"):
        alone: list[Timed] = []
        times: dict[int, float] = {}
        for clients in args.clients:
            runs = [compare(model, files, clients, kind[0] == "k") for _ in range(args.repeat)]
            timed, times[clients] = min(runs, key=lambda each: each[1])
            alone = alone or timed
            same = sum(a.text == b.text for a, b in zip(alone, timed, strict=True))
            title = f"{clients}, {kind}: {same} of {len(files)} alike"
            print(row(title, timed, times[clients]), flush=True)
        gain = times[args.clients[0]] / times[16] if 16 in times else 0.0
        timed, _ = compare(model, files[:16], 16, kind[0] == "k")
        last = max(each.first for each in timed)
        summary.append(f"16 at once, {kind}: {gain:.1f} x, first word of the last {last:.1f} s")
    print(*summary, f"load {os.getloadavg()[0]:.1f}", sep="\n")


if __name__ == "__main__":
    main()
