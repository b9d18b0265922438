"""The endpoints: chat as OpenAI's clients know it, regions, groundings, health and figures."""

import json
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from prometheus_client import generate_latest
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from groma.chat.conversation import GroundedReply
from groma.chat.settings import GenerationSettings
from groma.limits import MOST_BOXES, MOST_BYTES, MOST_WAITING
from groma.serve.engine import Engine
from groma.serve.gate import Gate
from groma.serve.metrics import Metrics
from groma.serve.openai_messages import (
    ChatRequest,
    Question,
    chunk,
    completion,
    error,
    finish_of,
    new_id,
    read_data_url,
    read_question,
    usage_of,
)
from groma.serve.own_site import own_site
from groma.serve.public_address import fetch_public
from groma.types import Detail, GromaError

MOST_REQUEST_BYTES = MOST_BYTES * 4 // 3 + 1_000_000
"""A picture in base64, and words."""
PATHS = ("/v1/{rest:path}", "/health", "/metrics")
"""All that is answered."""
_T = TypeVar("_T")


class RegionsRequest(BaseModel):
    """`POST /v1/regions`: what the region proposer finds in a picture."""

    image: str
    score_threshold: float | None = None
    max_regions: int | None = None
    detail: Detail = 1

    def settings(self) -> GenerationSettings:
        """How to look.

        Raises:
            GromaError: naming the setting that is out of range.
        """
        return GenerationSettings(
            score_threshold=self.score_threshold,
            max_regions=self.max_regions,
            detail=self.detail,
        )


class GroundingsRequest(RegionsRequest):
    """`POST /v1/groundings`: where phrases are in a picture."""

    phrases: list[str] = Field(min_length=1, max_length=MOST_BOXES)


class BusyError(Exception):
    """Too many wait already."""


class Service:
    """What the endpoints do.

    Args:
        engine: answers.
        name: of the model, as programs call it.
        allows_remote: whether pictures may be fetched from public addresses.
    """

    def __init__(self, engine: Engine, name: str, allows_remote: bool = False) -> None:
        self.engine = engine
        self.name = name
        self.metrics = Metrics(engine)
        self._allows_remote = allows_remote
        self._waiting = 0
        self._threads = anyio.CapacityLimiter(2 * engine.at_once + 8)
        self._turns = anyio.CapacityLimiter(engine.at_once)

    async def chat(self, body: ChatRequest, request: Request) -> Any:
        """Answer the last message."""
        if body.model != self.name:
            sentence = f"There is no model {body.model[:80]!r}; it is {self.name!r}."
            return JSONResponse(error(sentence, code="model_not_found"), 404)
        settings, question = body.settings(), read_question(body.messages)
        picture = await self._read(question.picture)
        replies = self._replies(partial(self._answer, picture, question, settings, body.masks))
        if body.stream:
            # What is wrong with a request must be known before the stream begins.
            first = await anext(replies)
            with_usage = bool(body.stream_options and body.stream_options.include_usage)
            events = self._events(first, replies, with_usage)
            return StreamingResponse(events, media_type="text/event-stream")
        async for reply, usage in replies:
            if reply.finish != "streaming":
                return completion(new_id(), self.name, reply, usage)
            if await request.is_disconnected():
                await replies.aclose()
                break
        return JSONResponse(error("The caller left."), 499)

    async def regions(self, body: RegionsRequest) -> dict[str, Any]:
        """List regions, best first."""
        picture = await self._read(body.image)
        settings = body.settings()

        def find() -> dict[str, Any]:
            _, encoded = self.engine.picture(picture, settings.detail)
            found = self.engine.groma.regions(encoded, **asdict(settings))
            size = list(encoded.original_size)
            return {"image_size": size, "regions": [region.to_dict() for region in found]}

        return await self._in_turn(find)

    async def groundings(self, body: GroundingsRequest) -> dict[str, Any]:
        """Ask for every phrase in a talk of its own; they answer together."""
        picture = await self._read(body.image)
        settings = body.settings()
        found: list[dict[str, Any]] = [{} for _ in body.phrases]

        def ground(phrase: str) -> dict[str, Any]:
            with self.engine.talk(picture, (), settings.detail) as chat:
                question = f"Where is {phrase.strip().rstrip('.?!')}?"
                *_, reply = self.engine.stream(chat, question, (), settings)
            regions = [region.to_dict() for region in reply.regions]
            return {"phrase": phrase, "regions": regions, "answer": reply.text}

        async def put(at: int, phrase: str) -> None:
            found[at] = await self._in_turn(partial(ground, phrase))

        async with anyio.create_task_group() as tasks:
            for at, phrase in enumerate(body.phrases):
                tasks.start_soon(put, at, phrase)
        return {"groundings": found}

    def models(self) -> dict[str, Any]:
        """What can be asked."""
        model = {"id": self.name, "object": "model", "created": 0, "owned_by": "groma"}
        return {"object": "list", "data": [model]}

    def _answer(
        self, picture: bytes, question: Question, settings: GenerationSettings, masks: bool
    ) -> Generator[tuple[GroundedReply, dict[str, int]]]:
        """Growing replies and how many tokens they took."""
        start = time.perf_counter()
        with self.engine.talk(picture, question.before, settings.detail) as chat:
            for reply in self.engine.stream(chat, question.text, question.drawn, settings):
                self.metrics.see(reply, time.perf_counter() - start)
                if masks and reply.finish != "streaming":
                    reply = self.engine.masked(chat, picture)
                yield reply, usage_of(chat)

    async def _replies(self, answer: Callable[[], Generator[_T]]) -> AsyncGenerator[_T]:
        """A generator that works in threads, when its turn has come; it ends with its caller."""
        async with self._turn():
            replies = answer()
            try:
                while (reply := await self._in_thread(next, replies, None)) is not None:
                    yield reply
            finally:
                with anyio.CancelScope(shield=True):
                    await self._in_thread(replies.close)

    async def _in_turn(self, work: Callable[[], _T]) -> _T:
        async with self._turn():
            return await self._in_thread(work)

    async def _in_thread(self, work: Callable[..., _T], *arguments: Any) -> _T:
        return await anyio.to_thread.run_sync(work, *arguments, limiter=self._threads)

    @asynccontextmanager
    async def _turn(self) -> AsyncGenerator[None]:
        """Wait until fewer answers are made than may be made at once."""
        if self._waiting >= MOST_WAITING:
            raise BusyError
        self._waiting += 1
        try:
            await self._turns.acquire_on_behalf_of(token := object())
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release_on_behalf_of(token)

    async def _read(self, url: str) -> bytes:
        if not url.startswith(("http://", "https://")):
            return read_data_url(url)
        if not self._allows_remote:
            raise GromaError("Pictures are not fetched here; send them as data:image/…;base64,….")
        return await fetch_public(url, MOST_BYTES)

    async def _events(
        self,
        first: tuple[GroundedReply, dict[str, int]],
        replies: AsyncGenerator[tuple[GroundedReply, dict[str, int]]],
        with_usage: bool,
    ) -> AsyncGenerator[str]:
        """Server-sent events: words as they come, spans as they close, then the whole answer."""
        name, text, spans = new_id(), "", 0
        yield _event(chunk(name, self.name, {"role": "assistant", "content": ""}))
        reply, usage = first
        try:
            while True:
                fresh = [span.to_dict() for span in reply.spans[spans:]]
                delta: dict[str, Any] = {}
                if reply.text[len(text) :]:
                    delta["content"] = reply.text[len(text) :]
                if fresh:
                    delta["groma"] = {"spans": fresh}
                if delta:
                    yield _event(chunk(name, self.name, delta))
                text, spans = reply.text, len(reply.spans)
                if reply.finish != "streaming":
                    break
                reply, usage = await anext(replies)
        except GromaError as mistake:
            yield _event(error(str(mistake)))
            return
        finally:
            await replies.aclose()
        last = {"groma": reply.to_dict()}
        yield _event(chunk(name, self.name, last, finish_of(reply)))
        if with_usage:
            yield _event(chunk(name, self.name, {}) | {"choices": [], "usage": usage})
        yield "data: [DONE]\n\n"


def make_app(
    service: Service,
    keys: tuple[str, ...] = (),
    per_minute: int = 0,
    hosts: Sequence[str] | None = None,
) -> FastAPI:
    """The application that answers programs.

    Args:
        service: what the endpoints do.
        keys: any of these opens them; without keys everybody may ask.
        per_minute: requests of one caller; 0 is any number.
        hosts: see `own_site`; None where others may use it.
    """
    own = own_site(hosts) if hosts is not None else []
    app = FastAPI(title="Groma", docs_url=None, redoc_url=None, middleware=own)
    app.add_middleware(Gate, keys=keys, most_bytes=MOST_REQUEST_BYTES, per_minute=per_minute)
    app.post("/v1/chat/completions", response_model=None)(service.chat)
    app.post("/v1/regions")(service.regions)
    app.post("/v1/groundings")(service.groundings)
    app.get("/v1/models")(service.models)
    app.get("/health")(lambda: {"status": "ok"})
    app.get("/metrics")(
        lambda: PlainTextResponse(generate_latest(service.metrics.registry).decode())
    )
    app.add_exception_handler(GromaError, _tell_mistake)
    app.add_exception_handler(RequestValidationError, _tell_kind)
    app.add_exception_handler(HTTPException, tell_http)
    app.add_exception_handler(BusyError, _tell_busy)
    app.add_exception_handler(Exception, _tell_failure)
    return app


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


async def _tell_mistake(_: Request, mistake: Exception) -> JSONResponse:
    return JSONResponse(error(str(mistake)), 400)


async def _tell_kind(_: Request, mistake: Exception) -> JSONResponse:
    assert isinstance(mistake, RequestValidationError)
    first = mistake.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part != "body") or "the request"
    return JSONResponse(error(f"{where}: {first['msg']}."), 400)


async def tell_http(_: Request, mistake: Exception) -> JSONResponse:
    """A mistake of HTTP, in OpenAI's form."""
    assert isinstance(mistake, HTTPException)
    return JSONResponse(error(str(mistake.detail)), mistake.status_code)


async def _tell_busy(_: Request, mistake: Exception) -> JSONResponse:  # noqa: ARG001
    sentence = "Too many requests wait already; please come again."
    return JSONResponse(error(sentence, "server_error"), 429, headers={"Retry-After": "1"})


async def _tell_failure(_: Request, mistake: Exception) -> JSONResponse:  # noqa: ARG001
    return JSONResponse(error("The server failed; its log says more.", "server_error"), 500)
