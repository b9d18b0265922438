"""An OpenAI-compatible server that behaves as it is told, in a thread."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, bytes, dict[str, str]]
Behaviour = Callable[[dict[str, Any], int], Reply]
"""Answers a request, given how often it came before."""

TRICKLE = "X-Trickle"
"""Header of a response that is to come byte by byte."""

GOOD = {
    "conversation": [
        {"question": "What is here?", "answer": "I see [one thing](1) and [another](2)."},
        {"question": "What is <3>?", "answer": "It is [a third thing](3)."},
        {"question": "Why is it there?", "answer": "Somebody put [it](3) there."},
    ]
}


class FakeServer:
    """What was asked, and where.

    Attributes:
        url: of the endpoint.
        bodies: of all requests, in order.
        headers: of all requests.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    @property
    def counts(self) -> Counter[str]:
        """How often every request came."""
        return Counter(json.dumps(body, sort_keys=True) for body in self.bodies)


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[FakeServer]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                before = fake.counts[json.dumps(body, sort_keys=True)]
                fake.bodies.append(body)
                fake.headers.append(dict(self.headers))
            status, data, headers = behaviour(body, before)
            # A client that was killed, or lost its patience, does not listen any more.
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                for part in [bytes([byte]) for byte in data] if TRICKLE in headers else [data]:
                    self.wfile.write(part)
                    time.sleep(0.02 if TRICKLE in headers else 0)
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            pass

    lock = threading.Lock()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    fake = FakeServer(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield fake
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def completion(content: Any) -> Reply:
    """A good response."""
    text = content if isinstance(content, str) else json.dumps(content)
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return 200, json.dumps({"choices": [choice], "usage": {"total_tokens": 7}}).encode(), {}


def status(code: int, **headers: str) -> Reply:
    data = b'{"error": {"message": "told to"}}'
    return code, data, {name.replace("_", "-"): value for name, value in headers.items()}


def slowly(seconds: float, reply: Reply) -> Reply:
    time.sleep(seconds)
    return reply
