"""Asking a language model elsewhere: any server that speaks OpenAI's chat completions.

Every answer is kept on disk under the hash of its request, so that nothing is asked twice: not
after a crash, not by another run. A request that was on its way when its run was killed may have
been answered and paid for; it is sent again only if the caller says so.
"""

import hashlib
import json
import logging
import math
import os
import random
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from groma.foreign import decode_text, load_json
from groma.types import GromaError

Message = dict[str, Any]

_LONGEST_PAUSE = 300.0  # between two attempts, in seconds, whatever the server asks for

_MOST_BYTES = 16_000_000
_MAY_PASS = frozenset({408, 409, 425, 429})
_UNUSABLE = frozenset({401, 402, 404, 405})
"""Statuses that mean that no request will succeed: key, money, address or name of the model."""
_SHORTEST_SECRET = 12  # A shorter key, such as EMPTY, is a word that an answer may well say
_LATE = "it did not answer in time"
_TABLE = b"SQLite format 3\0"
"""How a file of answers begins."""

_logger = logging.getLogger(__name__)


class EndpointError(GromaError):
    """One request got no answer; the message says why."""


class UnusableEndpointError(EndpointError):
    """No request will get an answer: the server, the key or the model is not there."""


class ChatEndpoint:
    """A chat model behind an OpenAI-compatible address; may be used from several threads.

    Raises `GromaError` if the address is none, a number makes no sense, or the key is none.
    """

    def __init__(
        self,
        url: str,  # such as "http://localhost:8000/v1"; with or without "/chat/completions"
        model: str,  # its name there
        folder: Path,  # where answers are kept; made where there is none
        *,
        settings: Mapping[str, Any] | None = None,  # further fields of a request: temperature, …
        key_variable: str = "GROMA_API_KEY",  # of the environment; none is sent where it is not set
        requests_per_minute: float = 60.0,  # most requests sent, retries included
        timeout: float = 120.0,  # seconds for one attempt, from its first byte to its last
        attempts: int = 6,  # most for one request
        patience: float = 1.0,  # seconds before the second attempt; doubles with each
        resend: bool = False,  # send requests again that an earlier run was killed over
    ) -> None:
        if min(requests_per_minute, timeout, attempts) <= 0:
            raise GromaError("Rate, timeout and attempts of an endpoint must be above zero.")
        self.model = model
        self.url = _completions_url(url)
        self.settings = dict(settings or {})
        self._key, self._key_variable = _read_key(key_variable), key_variable
        self._timeout, self._attempts, self._patience = timeout, attempts, patience
        self._resend = resend
        self._stopped = threading.Event()
        self._pace = _Pace(requests_per_minute, sleep=self._stopped.wait)
        self._answers = _Answers(folder)
        self._locks: dict[str, threading.Lock] = {}
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx.Timeout(timeout, connect=min(timeout, 20.0))
        self._client = httpx.Client(timeout=limits, headers=headers)

    def complete(self, messages: Sequence[Message]) -> str:
        """The answer to a conversation, as OpenAI has them: the one on disk, or else the server's.

        Raises `UnusableEndpointError` if no request can succeed, and `EndpointError` if this one
        did not, after all attempts.
        """
        body = self._body(messages)
        request = self._hash(body)
        with self._locks.setdefault(request, threading.Lock()):
            return self._answers.read(request) or self._ask(request, body)

    def is_known(self, messages: Sequence[Message]) -> bool:
        """Whether the answer is on disk: `complete` will send nothing."""
        return self._answers.read(self._hash(self._body(messages))) is not None

    def stop(self) -> None:
        """Send nothing more: who waits for another attempt gets an `EndpointError`."""
        self._stopped.set()

    def _body(self, messages: Sequence[Message]) -> dict[str, Any]:
        return {"model": self.model, "messages": list(messages), **self.settings}

    def _hash(self, body: Mapping[str, Any]) -> str:
        """Equal for equal requests, whatever the order of their fields."""
        text = json.dumps([self.url, body], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _ask(self, request: str, body: Mapping[str, Any]) -> str:
        attempt = 0
        while True:
            attempt += 1
            self._pace.wait()
            if self._stopped.is_set():
                raise EndpointError("The run was ended before this request was sent.")
            if not self._answers.begin(request) and not self._resend:
                raise EndpointError(
                    "This request was on its way when an earlier run ended, or another run is "
                    "sending it; its answer is lost unless it is sent again."
                )
            result = self._send(body)
            if isinstance(result, str):
                self._answers.keep(request, result)
                return result
            self._answers.forget(request)
            if not result.may_pass or attempt == self._attempts:
                raise self._explain(result, attempt)
            # Spread out, so that threads that failed together do not return together.
            wait = self._patience * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
            self._pace.rest(max(wait, result.pause), everyone=result.status == 429)

    def _send(self, body: Mapping[str, Any]) -> "str | _Failure":
        """One attempt: the answer, or why there is none."""
        deadline = time.monotonic() + self._timeout
        data = bytearray()
        try:
            with self._client.stream("POST", self.url, json=body) as response:
                for chunk in response.iter_bytes():
                    data += chunk
                    # httpx bounds only each pause: a server that trickles is cut off here.
                    if time.monotonic() > deadline:
                        return _Failure(_LATE)
                    if len(data) > _MOST_BYTES:
                        return _Failure("its response is too long", may_pass=False)
        except httpx.TimeoutException:
            return _Failure(_LATE)
        except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
            return _Failure(f"it cannot be reached ({error})", is_unusable=True)
        except httpx.HTTPError as error:
            return _Failure(f"the connection broke ({error or type(error).__name__})")
        if response.status_code == 200:
            return self._read_answer(bytes(data))
        said = masked(self._key, data.decode("utf-8", "replace"))
        return _refusal(response, " ".join(said.split())[:200])

    def _read_answer(self, data: bytes) -> "str | _Failure":
        try:
            text = decode_text(data)
            if len(self._key) >= _SHORTEST_SECRET:
                text = masked(self._key, text)
            content = load_json(text)["choices"][0]["message"]["content"]
            if isinstance(content, list):
                content = "".join(part.get("text", "") for part in content)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return _Failure("its response is no chat completion")
        is_answer = isinstance(content, str) and content.strip()
        return content if is_answer else _Failure("it answered nothing")

    def _explain(self, failure: "_Failure", attempts: int) -> EndpointError:
        times = "" if attempts == 1 else f" {attempts} times"
        host = httpx.URL(self.url).host
        sentence = f"{self.model} at {host} failed{times}: {failure.reason}."
        sentence = masked(self._key, sentence)
        if failure.status == 401:
            held = "was not accepted" if self._key else "is not set"
            return UnusableEndpointError(f"{sentence} The key in ${self._key_variable} {held}.")
        return UnusableEndpointError(sentence) if failure.is_unusable else EndpointError(sentence)


def masked(key: str, text: str) -> str:
    r"""Text without a key, also where JSON or an address spelt it with `\/`, `\u002f` or `%2F`."""
    spelt = "".join(rf"(?:\\?{re.escape(c)}|\\u(?i:{ord(c):04x})|%(?i:{ord(c):02x}))" for c in key)
    return re.sub(spelt, "…", text) if key else text


class _Pace:
    """Spreads requests evenly, over all threads; the clock and sleep are in seconds."""

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._interval = 60.0 / per_minute
        self._clock, self._sleep = clock, sleep
        self._next = -math.inf
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Return when the next request may be sent."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next)
            self._next = turn + self._interval
        if turn > now:
            self._sleep(turn - now)

    def rest(self, seconds: float, everyone: bool) -> None:
        """Wait before another attempt, `_LONGEST_PAUSE` at most, perhaps with every thread."""
        seconds = min(seconds, _LONGEST_PAUSE)
        if everyone:
            with self._lock:
                self._next = max(self._next, self._clock() + seconds)
        self._sleep(seconds)


class _Answers:
    """Answers by the hash of their request, safe against any crash, also of several processes.

    A request whose answer is still to come has a row without one.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "answers.sqlite"
        try:
            self._table = _open_table(path)
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError) or not _was_table(path):
                raise GromaError(f"{path} cannot be used: {error}.") from error
            _logger.warning("%s is damaged; its answers are asked for again.", path)
            path.replace(path.with_suffix(".damaged"))
            self._table = _open_table(path)

    def read(self, request: str) -> str | None:
        find = "SELECT answer FROM answers WHERE request = ?"
        row = self._table.execute(find, (request,)).fetchone()
        return row[0] if row else None

    def begin(self, request: str) -> bool:
        """Note that a request is about to be sent; False where there is such a note."""
        note = "INSERT OR IGNORE INTO answers (request) VALUES (?)"
        return bool(self._table.execute(note, (request,)).rowcount)

    def forget(self, request: str) -> None:
        self._table.execute("DELETE FROM answers WHERE request = ?", (request,))

    def keep(self, request: str, answer: str) -> None:
        """When this returns no crash can lose the answer."""
        self._table.execute("UPDATE answers SET answer = ? WHERE request = ?", (answer, request))


def _open_table(path: Path) -> sqlite3.Connection:
    """The table of a file, made where there is none; raises `DatabaseError` if it is damaged."""
    table = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
    table.execute("CREATE TABLE IF NOT EXISTS answers (request TEXT PRIMARY KEY, answer TEXT)")
    ((check,), (pages,), (size,)) = (
        table.execute(f"PRAGMA {name}").fetchone()
        for name in ("quick_check", "page_count", "page_size")
    )
    if check != "ok" or path.stat().st_size < pages * size:
        raise sqlite3.DatabaseError
    return table


def _was_table(path: Path) -> bool:
    """Whether a damaged file was a table, and is nothing else of somebody's."""
    with path.open("rb") as file:
        return _TABLE.startswith(file.read(len(_TABLE)))


@dataclass(frozen=True)
class _Failure:
    """Why an attempt brought no answer."""

    reason: str  # half a sentence about the server
    may_pass: bool = True  # whether another attempt could succeed
    is_unusable: bool = False  # whether other requests would fail as well
    status: int | None = None  # of the response, if there was one
    pause: float = 0.0  # seconds the server wants to be left alone


def _refusal(response: httpx.Response, said: str) -> _Failure:
    status = response.status_code
    return _Failure(
        f"status {status}" + (f", {said}" if said and status < 500 else ""),
        may_pass=status in _MAY_PASS or status >= 500,
        is_unusable=status in _UNUSABLE,
        status=status,
        pause=_read_pause(response.headers.get("Retry-After", "")),
    )


def _read_pause(header: str) -> float:
    """Seconds that a `Retry-After` header asks to wait; 0 where it says nothing usable."""
    try:
        seconds = float(header)
    except ValueError:
        try:
            when = parsedate_to_datetime(header)
        except ValueError:
            return 0.0
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), _LONGEST_PAUSE) if math.isfinite(seconds) else 0.0


def _read_key(variable: str) -> str:
    """The key in an environment variable, or "" where it is not set; no sentence repeats it."""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise GromaError(f"What ${variable} holds is no key: it has letters that no key has.")
    return key


def _completions_url(url: str) -> str:
    try:
        address = httpx.URL(url)
        is_address = address.scheme in ("http", "https") and bool(address.host)
    except httpx.InvalidURL:
        is_address = False
    if not is_address:
        raise GromaError(f"{url!r} is no address of an endpoint, such as http://localhost:8000/v1.")
    if address.userinfo:
        raise GromaError(
            "The address of an endpoint must hold no password; keys are for $VARIABLES."
        )
    path = address.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path = f"{path or '/v1'}/chat/completions"
    return str(address.copy_with(path=path, fragment=None))
