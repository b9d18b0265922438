"""Other websites in the browser of whoever runs a server on their own machine."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from groma.serve.openai_messages import error

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""Names of this machine that no other one can have."""
FOREIGN = "Another website asked for this; open the page itself, or name that site in GROMA_HOSTS."


class OwnSite:
    """Middleware that turns away what a browser asks on behalf of another website.

    Browsers tell the website that asks (`Origin`); it must be this one.

    Args:
        app: what lies behind.
        friends: names of other websites that may ask.
    """

    def __init__(self, app: ASGIApp, friends: Sequence[str]) -> None:
        self._app = app
        self._friends = friends

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and self._is_foreign(Headers(scope=scope)):
            answer = {"detail": FOREIGN, **error(FOREIGN, "permission_error")}
            await JSONResponse(answer, 403)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_foreign(self, headers: Headers) -> bool:
        origin = headers.get("origin")
        if origin is None:  # programs say nothing
            return False
        asking = urlsplit(origin)
        return asking.netloc != headers.get("host") and asking.hostname not in self._friends


def own_site(hosts: Sequence[str]) -> list[Middleware]:
    """What stands before a server that other websites must not use.

    Args:
        hosts: names besides those of this machine under which it may be reached.
    """
    # Whoever owns another name that leads here is not to read anything (DNS rebinding).
    known = [*LOOPBACK, *hosts]
    trusted = Middleware(TrustedHostMiddleware, known, www_redirect=False)
    return [trusted, Middleware(OwnSite, hosts)]
