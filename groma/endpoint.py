"""Asking a language model elsewhere: any server that speaks OpenAI's chat completions.

Every answer is kept on disk under the hash of its request, so that nothing is asked twice: not
after a crash, not by another run. A request that was on its way when its run was killed may have
been answered and paid for; it is sent again only if the caller says so.
"""

import base64
import binascii
import hashlib
import json
import math
import os
import random
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from PIL import Image

from groma.reply_store import ReplyStore
from groma.types import GromaError

Message = dict[str, Any]

KEY_VARIABLE = "GROMA_API_KEY"
"""Environment variable of the key, unless the caller names another."""

MAX_WAIT = 300.0
"""Longest pause between two attempts in seconds, whatever the server asks for."""

MAX_BYTES = 16_000_000
"""Longest response that is read."""

BUSY = frozenset({408, 409, 425, 429})
"""Statuses besides 5xx after which the same request may succeed."""

UNUSABLE = frozenset({401, 402, 404, 405})
"""Statuses that mean that no request will succeed: key, money, address or name of the model."""

SHORTEST_SECRET = 12
"""A shorter key, such as EMPTY, is a word that an answer may well say."""

LOST = (
    "This request was on its way when an earlier run ended, or another run is sending it; its "
    "answer is lost unless it is sent again."
)


class EndpointError(GromaError):
    """One request got no answer; the message says why."""


class UnusableEndpointError(EndpointError):
    """No request will get an answer: the server, the key or the model is not there."""


@dataclass(frozen=True)
class Estimate:
    """What asking would take.

    Attributes:
        requests: how many requests are sent.
        input_tokens: of all of them, estimated.
        output_tokens: of all answers, at most.
    """

    requests: int
    input_tokens: int
    output_tokens: int

    def scaled(self, factor: float) -> "Estimate":
        """The same for so many times the requests."""
        return Estimate(
            round(self.requests * factor),
            round(self.input_tokens * factor),
            round(self.output_tokens * factor),
        )

    def cost(self, input_price: float, output_price: float) -> float:
        """In the currency of the prices, which are for a million tokens."""
        return (self.input_tokens * input_price + self.output_tokens * output_price) / 1e6


class ChatEndpoint:
    """A chat model behind an OpenAI-compatible address; may be used from several threads.

    Args:
        url: such as "http://localhost:8000/v1"; with or without "/chat/completions".
        model: its name there.
        store: folder of the answers; made where there is none.
        settings: further fields of a request, such as `temperature` and `max_tokens`.
        key_variable: environment variable that holds the key. No key is sent where it is not set.
        requests_per_minute: most requests sent, retries included.
        timeout: seconds for one attempt, from its first byte to its last.
        attempts: most attempts for one request.
        patience: seconds before the second attempt; doubles with each.
        resend: send requests again that an earlier run was killed over.

    Raises:
        GromaError: if the address is none, a number makes no sense, or the key is none.
    """

    def __init__(
        self,
        url: str,
        model: str,
        store: Path,
        *,
        settings: Mapping[str, Any] | None = None,
        key_variable: str = KEY_VARIABLE,
        requests_per_minute: float = 60.0,
        timeout: float = 120.0,
        attempts: int = 6,
        patience: float = 1.0,
        resend: bool = False,
    ) -> None:
        if min(requests_per_minute, timeout, attempts) <= 0:
            raise GromaError("Rate, timeout and attempts of an endpoint must be above zero.")
        self.model = model
        self._url = completions_url(url)
        self._settings = dict(settings or {})
        self._key = read_key(key_variable)
        self._key_variable = key_variable
        self._timeout = timeout
        self._attempts = attempts
        self._patience = patience
        self._stopped = threading.Event()
        self._pace = Pace(requests_per_minute, sleep=self._stopped.wait)
        self._store = ReplyStore(store)
        self._resend = resend
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        connect = min(timeout, 20.0)
        limits = httpx.Timeout(timeout, connect=connect)
        self._client = httpx.Client(timeout=limits, headers=headers)

    def complete(self, messages: Sequence[Message]) -> str:
        """The answer to a conversation: the one on disk, or else the server's.

        Args:
            messages: as OpenAI's chat completions take them; `image_message` makes one with a
                picture.

        Raises:
            UnusableEndpointError: if no request can succeed.
            EndpointError: if this one did not, after all attempts.
        """
        body = self._body(messages)
        key = request_key(self._url, body)
        with self._store.alone(key):
            reply = self._store.read(key)
            if reply is None:
                reply = self._ask(key, body)
        return reply["content"]

    def is_known(self, messages: Sequence[Message]) -> bool:
        """Whether the answer is on disk: `complete` will send nothing."""
        return self._store.read(request_key(self._url, self._body(messages))) is not None

    def estimate(self, conversations: Iterable[Sequence[Message]]) -> Estimate:
        """What asking all of these would take; what is on disk costs nothing."""
        new = [count_tokens(each) for each in conversations if not self.is_known(each)]
        longest = self._settings.get("max_tokens") or self._settings.get("max_completion_tokens")
        return Estimate(len(new), sum(new), len(new) * int(longest or 0))

    def stop(self) -> None:
        """Send nothing more: who waits for another attempt gets an `EndpointError`."""
        self._stopped.set()

    def _body(self, messages: Sequence[Message]) -> dict[str, Any]:
        return {"model": self.model, "messages": list(messages), **self._settings}

    def _ask(self, key: str, body: dict[str, Any]) -> dict[str, Any]:
        for attempt in count(1):
            self._pace.wait()
            if self._stopped.is_set():
                raise EndpointError("The run was ended before this request was sent.")
            if not self._store.begin(key) and not self._resend:
                raise EndpointError(LOST)
            try:
                reply = self._send(body)
                break
            except _AttemptError as failure:
                self._store.abandon(key)
                if not failure.may_pass or attempt == self._attempts:
                    raise self._explain(failure, attempt) from None
                # Spread out, so that threads that failed together do not return together.
                wait = self._patience * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)
                self._pace.rest(max(wait, failure.after), everyone=failure.status == 429)
        self._store.write(key, reply)
        return reply

    def _send(self, body: dict[str, Any]) -> dict[str, Any]:
        """One attempt."""
        try:
            with self._client.stream("POST", self._url, json=body) as response:
                is_answer = response.status_code == 200
                data = self._without_key(self._read(response), is_answer)
                if is_answer:
                    return read_completion(data)
                raise _refusal(response, data)
        except httpx.TimeoutException:
            raise _AttemptError("it did not answer in time", may_pass=True) from None
        except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
            reason = f"it cannot be reached ({error})"
            raise _AttemptError(reason, may_pass=True, unusable=True) from None
        except httpx.HTTPError as error:
            reason = f"the connection broke ({error or type(error).__name__})"
            raise _AttemptError(reason, may_pass=True) from None

    def _read(self, response: httpx.Response) -> bytes:
        """The whole body; a server that trickles is cut off, for httpx bounds only each pause."""
        deadline = time.monotonic() + self._timeout
        data = bytearray()
        for chunk in response.iter_bytes():
            data += chunk
            if time.monotonic() > deadline:
                raise _AttemptError("it did not answer in time", may_pass=True)
            if len(data) > MAX_BYTES:
                raise _AttemptError("its response is too long", may_pass=False)
        return bytes(data)

    def _without_key(self, data: bytes, is_answer: bool) -> bytes:
        """What a server said, before anybody reads it: nothing keeps or shows the key."""
        if is_answer and len(self._key) < SHORTEST_SECRET:
            return data
        text = data.decode("utf-8", "surrogateescape")
        return masked(self._key, text).encode("utf-8", "surrogateescape")

    def _explain(self, failure: "_AttemptError", attempts: int) -> EndpointError:
        host = urlsplit(self._url).hostname
        times = "" if attempts == 1 else f" {attempts} times"
        sentence = masked(self._key, f"{self.model} at {host} failed{times}: {failure}.")
        if failure.status == 401:
            held = "was not accepted" if self._key else "is not set"
            return UnusableEndpointError(f"{sentence} The key in ${self._key_variable} {held}.")
        is_unusable = failure.unusable or failure.status in UNUSABLE
        return UnusableEndpointError(sentence) if is_unusable else EndpointError(sentence)


def read_key(variable: str) -> str:
    """The key in an environment variable, or "" where it is not set.

    Raises:
        GromaError: if it holds what no key can be; the sentence does not repeat it.
    """
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise GromaError(f"What ${variable} holds is no key: it has letters that no key has.")
    return key


def masked(key: str, text: str) -> str:
    r"""Text without a key, also where JSON or an address spelt it with `\/`, `\u002f` or `%2F`."""
    spelt = "".join(rf"(?:\\?{re.escape(c)}|\\u(?i:{ord(c):04x})|%(?i:{ord(c):02x}))" for c in key)
    return re.sub(spelt, "…", text) if key else text


class Pace:
    """Spreads requests evenly, over all threads.

    Args:
        per_minute: most requests.
        clock: seconds.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._interval = 60.0 / per_minute
        self._clock = clock
        self._sleep = sleep
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
        """Wait before another attempt.

        Args:
            seconds: how long; `MAX_WAIT` at most.
            everyone: let no other thread send meanwhile.
        """
        seconds = min(seconds, MAX_WAIT)
        if everyone:
            with self._lock:
                self._next = max(self._next, self._clock() + seconds)
        self._sleep(seconds)


def completions_url(url: str) -> str:
    """The address that takes requests.

    Raises:
        GromaError: if `url` is no http address.
    """
    parts = urlsplit(url)
    try:
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise GromaError(f"{url!r} is no address of an endpoint, such as http://localhost:8000/v1.")
    if parts.username or parts.password:
        raise GromaError(
            "The address of an endpoint must hold no password; keys are for $VARIABLES."
        )
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path = f"{path or '/v1'}/chat/completions"
    return parts._replace(path=path, fragment="").geturl()


def request_key(url: str, body: Mapping[str, Any]) -> str:
    """Hash of a request: equal for equal requests, whatever the order of their fields."""
    text = json.dumps([url, body], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def image_message(text: str, images: Sequence[Image.Image], role: str = "user") -> Message:
    """A message with pictures.

    Args:
        text: what is said.
        images: RGB pictures; they come first.
        role: who speaks.
    """
    content: list[dict[str, Any]] = [
        {"type": "image_url", "image_url": {"url": data_url(image)}} for image in images
    ]
    return {"role": role, "content": [*content, {"type": "text", "text": text}]}


def data_url(image: Image.Image) -> str:
    """A picture as a JPEG in a URL."""
    file = BytesIO()
    image.save(file, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def count_tokens(messages: Sequence[Message]) -> int:
    """About how many tokens a request has.

    Four letters make one token, and a picture 85 and 170 for each 512 x 512 pixels of it, as OpenAI
    counts; other models differ.
    """
    tokens = 0
    for message in messages:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        tokens += 4 + sum(map(_count_part, parts))
    return tokens


def read_completion(data: bytes) -> dict[str, Any]:
    """The answer in a response: `content`, and `usage` and `finish_reason` where it tells them.

    Raises:
        _AttemptError: if there is none.
    """
    try:
        completion = json.loads(data)
        choice = completion["choices"][0]
        content = choice["message"]["content"]
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise _AttemptError("its response is no chat completion", may_pass=True) from None
    if not isinstance(content, str) or not content.strip():
        raise _AttemptError("it answered nothing", may_pass=True)
    usage, finish = completion.get("usage"), choice.get("finish_reason")
    return {"content": content, "usage": usage, "finish_reason": finish}


class _AttemptError(Exception):
    """An attempt that brought no answer.

    Args:
        reason: half a sentence about the server.
        may_pass: whether another attempt could succeed.
        status: of the response, if there was one.
        after: seconds the server wants to be left alone.
        unusable: whether other requests would fail as well.
    """

    def __init__(
        self,
        reason: str,
        *,
        may_pass: bool,
        status: int | None = None,
        after: float = 0.0,
        unusable: bool = False,
    ) -> None:
        super().__init__(reason)
        self.may_pass = may_pass
        self.status = status
        self.after = after
        self.unusable = unusable


def _refusal(response: httpx.Response, data: bytes) -> _AttemptError:
    status = response.status_code
    said = " ".join(data[:2000].decode("utf-8", "replace").split())[:200]
    reason = f"status {status}" + (f", {said}" if said and status < 500 else "")
    after = retry_after(response.headers.get("Retry-After", ""))
    may_pass = status in BUSY or status >= 500
    return _AttemptError(reason, may_pass=may_pass, status=status, after=after)


def retry_after(value: str) -> float:
    """Seconds that a `Retry-After` header asks to wait; 0 where it says nothing usable."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            when = parsedate_to_datetime(value)
        except ValueError:
            return 0.0
        when = when if when.tzinfo else when.replace(tzinfo=UTC)
        seconds = (when - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), MAX_WAIT) if math.isfinite(seconds) else 0.0


def _count_part(part: Mapping[str, Any]) -> int:
    if part["type"] == "text":
        return math.ceil(len(part["text"]) / 4)
    _, _, data = part["image_url"]["url"].partition("base64,")
    try:
        with Image.open(BytesIO(base64.b64decode(data))) as image:
            width, height = image.size
    except (OSError, binascii.Error):
        return 85
    return 85 + 170 * math.ceil(width / 512) * math.ceil(height / 512)
