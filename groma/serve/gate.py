"""Who may ask, how often and with how much, decided before anything is read."""

import hmac
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from groma.serve.openai_messages import error

KEYS = "GROMA_SERVE_KEYS"
"""Variable of the environment: keys that open the endpoint, with commas between them."""
OPEN_PATHS = ("/health",)
"""Answered to everybody: load balancers have no key."""
TOO_MUCH = "This request brings more than can be asked at once; please send less."
_MOST_CALLERS = 10_000
_MINUTE = 60.0


def read_keys() -> tuple[str, ...]:
    """The keys that the environment names."""
    return tuple(key.strip() for key in os.environ.get(KEYS, "").split(",") if key.strip())


class Gate:
    """Middleware that asks for a key, and turns away what is too much or too often.

    Args:
        app: what lies behind.
        keys: any of these opens; without keys everybody may ask.
        most_bytes: of a request.
        per_minute: requests of one caller, by key or else by address; 0 is any number.
        clock: seconds.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: Sequence[str] = (),
        most_bytes: int = 1_000_000,
        per_minute: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._keys = [key.encode() for key in keys]
        self._most_bytes = most_bytes
        self._per_minute = per_minute
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        refusal = self._refuse(scope, Headers(scope=scope))
        if refusal is not None:
            await refusal(scope, receive, send)
        else:
            await self._app(scope, bounded(receive, self._most_bytes), send)

    def _refuse(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        key = headers.get("authorization", "").removeprefix("Bearer ").strip()
        said = headers.get("content-length", "0")
        if self._keys and not self._is_known(key):
            sentence = "The key is missing or wrong; send it as `Authorization: Bearer KEY`."
            return JSONResponse(error(sentence, "authentication_error", "invalid_api_key"), 401)
        if not said.isdecimal() or int(said) > self._most_bytes:
            return JSONResponse(error(TOO_MUCH), 413)
        caller = key if self._keys else (scope.get("client") or ("",))[0]
        wait = self._wait(caller)
        if wait > 0:
            sentence = f"That is more than {self._per_minute} requests a minute; please wait."
            retry = {"Retry-After": str(int(wait) + 1)}
            return JSONResponse(error(sentence, "rate_limit_error"), 429, headers=retry)
        return None

    def _is_known(self, key: str) -> bool:
        return any([hmac.compare_digest(key.encode(), known) for known in self._keys])

    def _wait(self, caller: str) -> float:
        """Seconds until a caller may ask again; 0 counts the request."""
        if not self._per_minute:
            return 0.0
        now = self._clock()
        times = self._times.setdefault(caller, deque(maxlen=self._per_minute))
        self._times.move_to_end(caller)
        if len(self._times) > _MOST_CALLERS:
            self._times.popitem(last=False)
        if len(times) == self._per_minute and now - times[0] < _MINUTE:
            return _MINUTE - (now - times[0])
        times.append(now)
        return 0.0


def bounded(receive: Receive, most: int) -> Receive:
    """Read no more than so many bytes of a request, whatever it said of its length."""
    left = most

    async def read() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413, TOO_MUCH)
        return message

    return read
