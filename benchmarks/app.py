"""How fast the application starts and answers, how it bears many people, and what memory it takes.

python -m benchmarks.app                       the embedded model
python -m benchmarks.app --model FOLDER        any checkpoint
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
from gradio_client import Client, handle_file
from PIL import Image

import groma
from app.canvas import Drawing
from app.chat_tab import ChatTab, Settings
from app.main import DEFAULT_MODEL
from app.state import Sessions

QUESTIONS = ("Describe the picture.", "How many things are there?", "What is on the left?")


@contextmanager
def served(model: str) -> Generator[tuple[str, int, float]]:
    """The application in a process of its own: address, process id, seconds until it answered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.perf_counter()
    command = [sys.executable, "app.py", "--model", model, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}/"
            while not answers(url):
                if process.poll() is not None:
                    sys.exit("The application did not start.")
                time.sleep(0.05)
            yield url, process.pid, time.perf_counter() - start
        finally:
            process.terminate()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False


def resident_megabytes(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def picture(folder: Path, width: int) -> Path:
    path = folder / f"{width}.png"
    Image.effect_noise((width, 448), 60).convert("RGB").save(path)
    return path


def ask(url: str, path: Path, question: str = QUESTIONS[0]) -> tuple[list[int], float]:
    """Size of the picture the answer speaks of, and seconds it took."""
    client = Client(url, verbose=False, httpx_kwargs={"timeout": 600})
    start = time.perf_counter()
    settings = {"max_new_tokens": 64}
    answer = client.predict(handle_file(path), question, [], settings, api_name="/ask")
    return answer["image_size"], time.perf_counter() - start


def time_answers(model: str, folder: Path, image: Path | None) -> dict[str, str]:
    """Milliseconds to the first words and to the end of answers, the picture being encoded."""
    tab = ChatTab(Sessions(groma.load(model), budget=10**9))
    drawing = Drawing(image or picture(folder, 448))
    start = time.perf_counter()
    tab.open("me", drawing, Settings())
    opened = time.perf_counter() - start
    firsts, wholes, lengths = [], [], []
    for question in QUESTIONS:
        start = time.perf_counter()
        stream = tab.ask("me", drawing, question, Settings())
        next(stream)  # The question itself.
        next(stream)
        firsts.append(time.perf_counter() - start)
        lengths.append(2 + sum(1 for _ in stream))
        wholes.append(time.perf_counter() - start)
    return {
        "encode the picture": f"{1000 * opened:.0f} ms",
        "first words of an answer": f"{1000 * statistics.median(firsts):.0f} ms",
        "whole answer": f"{statistics.median(wholes):.2f} s, {lengths} updates",
    }


def time_crowd(url: str, folder: Path, people: int) -> dict[str, str]:
    """Everybody asks about a picture of their own at the same time."""
    widths = range(300, 300 + people)
    paths = [picture(folder, width) for width in widths]
    with ThreadPoolExecutor(people) as pool:
        found = list(pool.map(lambda path: ask(url, path), paths))
    right = sum(size == [448, width] for (size, _), width in zip(found, widths, strict=True))
    slowest = max(seconds for _, seconds in found)
    return {
        f"{people} people at once": f"{right} answered about their own picture",
        "the last of them waited": f"{slowest:.1f} s",
    }


def measure_memory(url: str, pid: int, folder: Path, turns: int) -> dict[str, str]:
    """Memory of the process after few and after many questions."""
    path = picture(folder, 448)
    rows = {}
    for turn in range(turns + 1):
        if turn in (0, turns // 10, turns // 2, turns):
            rows[f"memory after {turn} questions"] = f"{resident_megabytes(pid):.0f} MB"
        ask(url, path, QUESTIONS[turn % len(QUESTIONS)])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=str(DEFAULT_MODEL))
    parser.add_argument("--image", type=Path, help="a picture instead of noise")
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--turns", type=int, default=200)
    args = parser.parse_args()
    if args.model == str(DEFAULT_MODEL) and not DEFAULT_MODEL.is_dir():
        print(f"There is no embedded model in {DEFAULT_MODEL}; name another one with --model.")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = time_answers(args.model, folder, args.image)
        with served(args.model) as (url, pid, seconds):
            rows = {"the application's start": f"{seconds:.1f} s"} | rows
            rows |= time_crowd(url, folder, args.people)
            rows |= measure_memory(url, pid, folder, args.turns)
    print(f"{args.model}")
    for title, value in rows.items():
        print(f"{title:32}{value}")


if __name__ == "__main__":
    main()
