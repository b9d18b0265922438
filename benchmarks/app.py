"""How fast the application starts and answers, how it bears many people, and what memory it takes.

python -m benchmarks.app                       the embedded model
python -m benchmarks.app --model FOLDER        any checkpoint
"""

import argparse
import math
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
import numpy as np
from gradio_client import Client, handle_file
from PIL import Image

import groma
from app.canvas.region_canvas import Drawing
from app.chat.chat_tab import ChatTab, Settings, View
from app.shared.models_at_hand import Models, title_of
from app.shared.sessions import Sessions
from groma.embedded import DEFAULT_MODEL
from recipes.scenes.pictures.generator import SceneGenerator

QUESTIONS = ("Describe the picture.", "How many things are there?", "What is on the left?")
TURNS_OF_A_TALK = 4
BUDGET = 20_000_000
"""Bytes for talks: so little that most are freed while the benchmark runs."""


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
                time.sleep(0.2)
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
    """An illustrated scene that nothing was trained on, of a width that tells whose it is."""
    path = folder / f"{width}.png"
    if not path.exists():
        scene = SceneGenerator("val", size=(448, width))[width]
        Image.fromarray(np.asarray(scene.pixels, np.uint8)).save(path)
    return path


def ask(url: str, path: Path, question: str = QUESTIONS[0]) -> tuple[dict, float]:
    """The answer, and seconds it took."""
    client = Client(url, verbose=False, httpx_kwargs={"timeout": 600})
    start = time.perf_counter()
    settings = {"max_new_tokens": 64}
    answer = client.predict(handle_file(path), question, [], settings, api_name="/ask")
    return answer, time.perf_counter() - start


def time_answers(tab: ChatTab, path: Path) -> dict[str, str]:
    """Milliseconds to the first words, the first phrase with a box and the end of answers."""
    start = time.perf_counter()
    tab.open("me", Drawing(path), Settings())
    opened = time.perf_counter() - start
    firsts, phrases, wholes, lengths = [], [], [], []
    for question in QUESTIONS:
        start = time.perf_counter()
        stream = tab.ask("me", Drawing(path), question, Settings())
        known = count_phrases(next(stream))  # Of the talk so far.
        for length, view in enumerate(stream, start=1):
            elapsed = time.perf_counter() - start
            if length == 1:
                firsts.append(elapsed)
            if count_phrases(view) > known:
                phrases.append(elapsed)
                known = math.inf
        wholes.append(elapsed)
        lengths.append(length)
    return {
        "encode the picture": f"{1000 * opened:.0f} ms",
        "first words of an answer": f"{middle(firsts)} (target 0.5 s)",
        "first phrase with a box": f"{middle(phrases)}, in {len(phrases)} of {len(firsts)} answers",
        "whole answer": f"{middle(wholes)} (target 3 s), {lengths} updates",
    }


def count_phrases(view: View) -> int:
    return (view.talk or "").count('class="groma-phrase')


def middle(seconds: list[float]) -> str:
    return f"{statistics.median(seconds):.2f} s" if seconds else "never"


def words_and_boxes(answer: dict) -> tuple:
    """All of an answer but its scores, whose last digits depend on who shares a step."""
    spans = answer["spans"]
    meant = [[(each["id"], each["box"]) for each in span["regions"]] for span in spans]
    return answer["text"], [(span["start"], span["end"]) for span in spans], meant


def time_crowd(url: str, folder: Path, people: int) -> dict[str, str]:
    """Everybody asks about a picture of their own at the same time."""
    paths = [picture(folder, width) for width in range(300, 300 + people)]
    alone = [ask(url, path)[0] for path in paths]
    with ThreadPoolExecutor(people) as pool:
        together = list(pool.map(lambda path: ask(url, path), paths))
    right = sum(
        words_and_boxes(one) == words_and_boxes(answer)
        for one, (answer, _) in zip(alone, together, strict=True)
    )
    boxes = sum(bool(answer["spans"]) for answer, _ in together)
    slowest = max(seconds for _, seconds in together)
    return {
        f"{people} people at once": f"{right} got the words and boxes they get alone, "
        f"{boxes} of them with boxes",
        "the last of them waited": f"{slowest:.1f} s",
    }


def memory_of_requests(url: str, pid: int, path: Path, turns: int) -> dict[str, str]:
    """Memory of the application after few and after many questions of programs."""
    rows = {}
    for turn in range(turns + 1):
        if turn in (0, turns // 10, turns // 2, turns):
            rows[f"memory after {turn} requests"] = f"{resident_megabytes(pid):.0f} MB"
        if turn < turns:
            ask(url, path, QUESTIONS[turn % len(QUESTIONS)])
    return rows


def memory_of_talks(tab: ChatTab, folder: Path, turns: int) -> dict[str, str]:
    """Memory of this process after few and after many turns of talks of a few turns each."""
    rows = {}
    for turn in range(turns + 1):
        if turn in (0, turns // 10, turns // 2, turns):
            held = tab.sessions.num_bytes / 1e6
            now = resident_megabytes(os.getpid())
            rows[f"memory after {turn} turns"] = f"{now:.0f} MB, of which talks {held:.0f} MB"
        talk, is_first = str(turn // TURNS_OF_A_TALK), turn % TURNS_OF_A_TALK == 0
        drawing = Drawing(picture(folder, 300 + turn // TURNS_OF_A_TALK))
        if turn == turns:
            break
        if is_first:
            tab.open(talk, drawing, Settings())
        views = tab.ask(
            talk, drawing, QUESTIONS[turn % len(QUESTIONS)], Settings(max_new_tokens=64)
        )
        for view in views:
            if view.warning:
                sys.exit(view.warning)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--image", type=Path, help="a picture instead of an illustrated scene")
    parser.add_argument("--people", type=int, default=16)
    parser.add_argument("--turns", type=int, default=200)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with served(args.model) as (url, pid, seconds):
            rows = {"the application's start": f"{seconds:.1f} s (target 10 s)"}
            rows |= time_crowd(url, folder, args.people)
            rows |= memory_of_requests(url, pid, picture(folder, 448), args.turns)
        tab = ChatTab(Sessions(Models(title_of(args.model), groma.load(args.model)), BUDGET))
        rows |= time_answers(tab, args.image or picture(folder, 448))
        rows |= memory_of_talks(tab, folder, args.turns)
    print(f"{args.model}")
    for title, value in rows.items():
        print(f"{title:32}{value}", flush=True)


if __name__ == "__main__":
    main()
