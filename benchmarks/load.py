"""Many clients of a running server, with Locust (the extra `load`): how fast, and is all as alone?

Before the load every question is asked alone; whatever is answered under load must be the same.

python -m groma serve &
locust -f benchmarks/load.py --headless -H http://127.0.0.1:8000 -u 16 -r 16 -t 60s Asker

The table has "first word" and "whole answer". Beside `Asker` there are `SlowReader` and `Leaver`,
which cuts the connection; name several to mix them. `--most 10000` ends after so many answers, and
memory is told at the start, in between and at the end. A key is taken from GROMA_SERVE_KEYS.
"""

import base64
import itertools
import json
import os
import re
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import gevent
from locust import HttpUser, between, events, task

PHOTOGRAPHS = sorted((Path(__file__).parents[1] / "assets" / "photographs").glob("*.webp"))
QUESTIONS = ("Describe the picture.", "What is on the left?", "How many people are there?")
ASKED = list(itertools.product(PHOTOGRAPHS, QUESTIONS))
KEY = os.environ.get("GROMA_SERVE_KEYS", "").split(",")[0]
HEADERS = {"Authorization": f"Bearer {KEY}"}
EVERY = 1000
"""Answers between two looks at the server's memory."""


class Truth:
    """What is answered alone, and how many answers there were."""

    model = ""
    most = 0
    count = 0
    alone: dict[int, str]


@events.init_command_line_parser.add_listener
def add_arguments(parser: Any) -> None:
    parser.add_argument("--most", type=int, default=0, help="end after so many answers")
    parser.add_argument("--max-tokens", type=int, default=64, help="of an answer")


class Client(HttpUser):
    """Asks one of the questions after another, in an order of its own."""

    abstract = True
    wait_time = between(0, 0.02)
    starts = itertools.count()

    def on_start(self) -> None:
        self.at = 7 * next(Client.starts)
        self.most_tokens = self.environment.parsed_options.max_tokens
        self.client.headers.update(HEADERS)
        if not Truth.model:
            Truth.model = "?"
            self.learn()
        while not hasattr(Truth, "alone"):
            time.sleep(0.1)

    def learn(self) -> None:
        Truth.most = self.environment.parsed_options.most
        Truth.model = self.client.get("/v1/models").json()["data"][0]["id"]
        alone = {at: "".join(self.words(at, "alone")) for at in range(len(ASKED))}
        Truth.alone = alone
        self.environment.runner.stats.reset_all()
        self.tell_memory()

    def words(self, at: int, name: str) -> Generator[str]:
        """The pieces of an answer as they come."""
        file, question = ASKED[at]
        url = f"data:image/webp;base64,{base64.b64encode(file.read_bytes()).decode()}"
        content = [
            {"type": "image_url", "image_url": {"url": url}},
            {"type": "text", "text": question},
        ]
        body = {
            "model": Truth.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.most_tokens,
            "stream": True,
        }
        answer = self.client.post("/v1/chat/completions", json=body, stream=True, name=name)
        with closing(answer):
            answer.raise_for_status()
            for line in answer.iter_lines():
                if not line.startswith(b"data: {"):
                    continue
                said = json.loads(line[6:])
                if "error" in said:
                    raise ValueError(said["error"]["message"])
                for choice in said["choices"]:
                    if words := choice["delta"].get("content"):
                        yield words

    def tell(self, name: str, start: float, error: Exception | None = None) -> None:
        """Add to the table."""
        self.environment.events.request.fire(
            request_type="SSE",
            name=name,
            response_time=1000 * (time.perf_counter() - start),
            response_length=0,
            exception=error,
            context={},
        )

    def tell_memory(self) -> None:
        figures = self.client.get("/metrics", name="metrics").text
        sizes = re.findall(r"^process_resident_memory_bytes\S* (\S+)", figures, re.MULTILINE)
        print(f"{Truth.count} answers, MB:", *(round(float(size) / 1e6) for size in sizes))

    def next(self) -> int:
        self.at += 1
        return self.at % len(ASKED)


class Asker(Client):
    @task
    def ask(self) -> None:
        at, start, text = self.next(), time.perf_counter(), ""
        try:
            for words in self.words(at, "request"):
                if not text:
                    self.tell("first word", start)
                text += words
            if text != Truth.alone[at]:
                raise ValueError(f"{text!r} instead of {Truth.alone[at]!r}")
        except (OSError, ValueError) as error:
            self.tell("whole answer", start, error)
            return
        self.tell("whole answer", start)
        Truth.count += 1
        if Truth.count % EVERY == 0:
            self.tell_memory()
        if 0 < Truth.most <= Truth.count:
            gevent.spawn(self.environment.runner.quit)  # not from a client that it ends


class SlowReader(Client):
    @task
    def read_slowly(self) -> None:
        at, start, text = self.next(), time.perf_counter(), ""
        for words in self.words(at, "request"):
            time.sleep(0.2)
            text += words
        wrong = None if text == Truth.alone[at] else ValueError(f"{text!r}")
        self.tell("read slowly", start, wrong)


class Leaver(Client):
    @task
    def leave(self) -> None:
        start, words = time.perf_counter(), self.words(self.next(), "request")
        next(words)
        words.close()  # and the connection with it
        self.tell("left", start)
