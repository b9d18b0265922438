"""Who may reach the application, with how much, and what its owner allows to everybody."""

import os
from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from groma.foreign import clean_json, decode_text
from groma.serve.gate import TOO_MUCH, bounded
from groma.serve.own_site import own_site
from groma.types import GromaError


class Borders:
    """Middleware that turns away requests that bring too much, before anybody reads them.

    Of texts that programs and keyboards send, what is no character is replaced (`clean_json`).

    Args:
        app: what lies behind.
        most_bytes: of a request that brings no file.
        most_upload: of one that brings files.
    """

    def __init__(self, app: ASGIApp, most_bytes: int, most_upload: int) -> None:
        self._app = app
        self._most = most_bytes
        self._most_upload = most_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        most = self._most_upload if scope["path"].rstrip("/").endswith("/upload") else self._most
        said = headers.get("content-length", "0")
        if scope["path"].startswith("/v1/"):  # it has a gate of its own
            await self._app(scope, receive, send)
        elif not said.isdecimal() or int(said) > most:
            await JSONResponse({"detail": TOO_MUCH}, 413)(scope, receive, send)
        else:
            limited = bounded(receive, most)
            says_text = scope["method"] == "POST" and most == self._most
            await self._app(scope, _cleaned(limited) if says_text else limited, send)


def borders(hosts: Sequence[str] | None, most_bytes: int, most_upload: int) -> list[Middleware]:
    """What stands before the application.

    Args:
        hosts: names besides those of this machine under which it may be reached; None is any.
        most_bytes: see `Borders`.
        most_upload: see `Borders`.
    """
    own = own_site(hosts) if hosts is not None else []
    return [*own, Middleware(Borders, most_bytes, most_upload)]


def is_allowed(variable: str, is_public: bool) -> bool:
    """Whether everybody who sees the page may do something that is its owner's business.

    Args:
        variable: of the environment in which the owner says so; 1 or 0.
        is_public: whether others can reach the page; then only if the owner says so.

    Raises:
        GromaError: if the variable says something else.
    """
    said = os.environ.get(variable, "").strip().lower()
    if said not in ("", "0", "1", "false", "true"):
        raise GromaError(f"{variable} must be 1 or 0, not {said}.")
    return said in ("1", "true") if said else not is_public


def _cleaned(receive: Receive) -> Receive:
    """Read a request at once, without broken characters, which no answer could repeat."""
    is_read = False

    async def read() -> Message:
        nonlocal is_read
        if is_read:
            return await receive()
        is_read = True
        body, goes_on = b"", True
        while goes_on:
            message = await receive()
            if message["type"] != "http.request":
                return message
            body += message.get("body", b"")
            goes_on = message.get("more_body", False)
        clean = clean_json(decode_text(body, "replace")).encode()
        return {"type": "http.request", "body": clean, "more_body": False}

    return read
