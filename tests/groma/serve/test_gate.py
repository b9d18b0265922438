import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import safehttpx
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from groma.serve.gate import Gate, read_keys
from groma.serve.public_address import fetch_public
from groma.types import GromaError

MOST = 100


async def answer(request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


def finish(work: Coroutine[Any, Any, Any]) -> Any:
    """In a thread of its own: browser tests leave a loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


APP = Starlette(routes=[Route("/", answer, methods=["POST"])])


def post(gate: Gate, body: bytes = b"", key: str = "", sender: str = "1.2.3.4") -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(gate, client=(sender, 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return await client.post(
                "/", content=body, headers={"Authorization": f"Bearer {key}"} if key else {}
            )

    return finish(send())


@pytest.mark.parametrize("keys", [(), ("sesame", "open")])
def test_each_caller_has_so_many_requests_a_minute(keys: tuple[str, ...]) -> None:
    now = [0.0]
    gate = Gate(APP, keys, per_minute=2, clock=lambda: now[0])
    one, other = (
        ({"key": "sesame"}, {"key": "open"}) if keys else ({"sender": "1.1.1.1"}, {"sender": "2.2"})
    )
    assert [post(gate, **one).status_code for _ in range(3)] == [200, 200, 429]
    refused = post(gate, **one)
    assert 0 < int(refused.headers["retry-after"]) <= 61
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert post(gate, **other).status_code == 200
    now[0] = 60.0
    assert post(gate, **one).status_code == 200


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROMA_SERVE_KEYS", " sesame,, open ")
    gate = Gate(APP, read_keys())
    expected = {"sesame": 200, "open": 200, "": 401, "sesam": 401, "sesame,, open": 401}
    assert {key: post(gate, key=key).status_code for key in expected} == expected


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A net that is not there: what is asked of it, at which address."""
    asked: list[str] = []

    async def lookup(host: str) -> str:
        return "93.184.216.34" if host == "pictures.example" else host

    async def serve(request) -> Response:
        asked.append(f"{request.client.host} {request.url.path}")
        if request.url.path == "/away":
            return RedirectResponse("http://127.0.0.1/secret")
        if request.url.path == "/lost":
            return PlainTextResponse("", 404)
        return PlainTextResponse("x" * int(request.url.path[1:]))

    class Net(httpx.ASGITransport):
        def __init__(self, address: str) -> None:
            super().__init__(Starlette(routes=[Route("/{path}", serve)]), client=(address, 1))

    monkeypatch.setattr(safehttpx, "async_validate_url", lookup)
    monkeypatch.setattr(safehttpx, "AsyncSecureTransport", Net)
    yield asked


def fetch(url: str) -> bytes:
    return finish(fetch_public(url, MOST))


def test_a_picture_comes_from_the_address_that_was_checked(fetched: list[str]) -> None:
    assert fetch("https://pictures.example/100") == b"x" * MOST
    assert fetched == ["93.184.216.34 /100"]


@pytest.mark.parametrize(
    ("path", "sentence"), [("101", "larger than"), ("lost", "answers 404"), ("away", "answers 307")]
)
def test_what_is_too_large_or_leads_elsewhere_is_refused(
    fetched: list[str], path: str, sentence: str
) -> None:
    with pytest.raises(GromaError, match=sentence):
        fetch(f"https://pictures.example/{path}")
    assert len(fetched) == 1


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "169.254.169.254", "[::1]", "0.0.0.0"],
)
def test_no_private_address_is_asked(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    async def never(*_: object) -> AsyncGenerator[bytes]:
        pytest.fail("It was asked.")

    monkeypatch.setattr(httpx.AsyncClient, "stream", never)
    with pytest.raises(GromaError, match="cannot be read"):
        fetch(f"http://{host}/picture.png")
