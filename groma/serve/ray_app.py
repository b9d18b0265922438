"""More than one machine: replicas of the application that `groma serve` is, by Ray Serve.

`groma serve --replicas 2` starts it on this machine, or on the cluster that RAY_ADDRESS names;
Ray's operator for Kubernetes is given `groma.serve.ray_app:build`.
"""

import asyncio
import hashlib
import json
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from prometheus_client import Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import Field, ValidationError
from ray import serve
from ray.exceptions import RayActorError
from ray.serve import Application
from ray.serve.config import AutoscalingConfig
from ray.serve.handle import DeploymentHandle
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Scope

from groma.foreign import load_json
from groma.serve.gate import KEYS, Gate, read_keys
from groma.serve.openai_messages import ChatRequest, error, read_question
from groma.serve.openai_routes import MOST_REQUEST_BYTES, make_app, tell_http
from groma.serve.serve_settings import ServeSettings
from groma.types import GromaError

MOST_PICTURES = 1000
"""Of which it is known that a replica holds them."""
_TRIES = 3
_PASSED_ON = ("type", "method", "path", "raw_path", "query_string", "headers", "http_version")


class RaySettings(ServeSettings):
    """What a cluster serves, and with how much.

    Attributes:
        min_replicas: that are always there.
        max_replicas: that there are when many ask.
        cpus: of one replica.
        gpus: of one replica.
        no_key: whether everybody who reaches it may ask, without keys.
    """

    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=1, ge=1)
    cpus: float = 1
    gpus: float = 0
    no_key: bool = False


class Replica:
    """The application, in a process of its own.

    Args:
        settings: what it serves.
    """

    def __init__(self, settings: RaySettings) -> None:
        self._service = settings.service()
        self._app = make_app(self._service)

    @serve.multiplexed(max_num_models_per_replica=MOST_PICTURES)
    async def _hold(self, picture: str) -> str:
        """Let Ray know that questions about a picture belong here."""
        return picture

    async def answer(self, scope: dict[str, Any], body: bytes) -> AsyncGenerator[Message]:
        """What the application sends for a request, whose sender may leave meanwhile."""
        if picture := serve.get_multiplexed_model_id():
            await self._hold(picture)
        sent: asyncio.Queue[Message | None] = asyncio.Queue()
        left, unread = asyncio.Event(), [body]

        async def receive() -> Message:
            if unread:
                return {"type": "http.request", "body": unread.pop(), "more_body": False}
            await left.wait()
            return {"type": "http.disconnect"}

        running = asyncio.create_task(self._app(scope, receive, sent.put))
        running.add_done_callback(lambda _: sent.put_nowait(None))
        try:
            while (message := await sent.get()) is not None:
                yield message
        finally:
            left.set()

    async def figures(self) -> tuple[str, str]:
        """Its name and its figures, as Prometheus reads them."""
        text = generate_latest(self._service.metrics.registry).decode()
        return serve.get_replica_context().replica_tag, text


@serve.ingress()
class Entrance:
    """Where requests come in: each goes to a replica, if possible to the one with its picture.

    Args:
        replicas: of the application.
        keys: as `Gate`.
        per_minute: as `Gate`.
    """

    def __init__(self, replicas: DeploymentHandle, keys: tuple[str, ...], per_minute: int) -> None:
        self._replicas = replicas
        limits = {"most_bytes": MOST_REQUEST_BYTES, "per_minute": per_minute}
        self._gate = partial(Gate, keys=keys, **limits)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What answers requests here."""
        routes = [
            Route("/metrics", self._figures),
            Route("/{path:path}", self._forward, methods=["GET", "POST"]),
        ]
        app = Starlette(routes=routes, exception_handlers={HTTPException: tell_http})
        return self._gate(app)

    async def _forward(self, request: Request) -> Response:
        """Pass a request on; what no replica has begun to answer is given to another one."""
        scope = {key: value for key, value in request.scope.items() if key in _PASSED_ON}
        body = await request.body()
        handle = self._replicas.options(
            method_name="answer", stream=True, multiplexed_model_id=_picture_key(scope, body)
        )
        for _ in range(_TRIES):
            messages = handle.remote(scope, body)
            try:
                start = await anext(messages)
            except RayActorError:
                continue
            response = StreamingResponse(_bodies(messages), start["status"])
            response.raw_headers = start["headers"]
            return response
        sentence = "The machine that was to answer is gone; please ask again."
        return JSONResponse(error(sentence, "server_error"), 503, headers={"Retry-After": "1"})

    async def _figures(self, _: Request) -> Response:
        """The figures of all replicas, each with its name."""
        told = await self._replicas.broadcast("figures").results_async(return_exceptions=True)
        families: dict[str, Metric] = {}
        for name, text in (each for each in told if not isinstance(each, Exception)):
            for family in text_string_to_metric_families(text):
                known = families.setdefault(
                    family.name, Metric(family.name, family.documentation, family.type)
                )
                for sample in family.samples:
                    known.add_sample(sample.name, sample.labels | {"replica": name}, sample.value)
        return PlainTextResponse(generate_latest(_Collected(families)).decode())


class _Collected:
    """Figures that are collected already, as a registry."""

    def __init__(self, families: dict[str, Metric]) -> None:
        self._families = families

    def collect(self) -> Any:
        return self._families.values()


def build(settings: RaySettings) -> Application:
    """What a cluster runs; Ray calls it with the `args` of a configuration.

    Raises:
        GromaError: if others could reach it without a key.
    """
    keys = read_keys()
    if not keys and not settings.no_key:
        raise GromaError(f"Set {KEYS} where the cluster starts, or say no_key.")
    most = max(settings.min_replicas, settings.max_replicas)
    replicas = serve.deployment(
        name="Replica",
        autoscaling_config=AutoscalingConfig(
            min_replicas=settings.min_replicas,
            max_replicas=most,
            target_ongoing_requests=settings.at_once,
        ),
        max_ongoing_requests=2 * settings.at_once,
        ray_actor_options={"num_cpus": settings.cpus, "num_gpus": settings.gpus},
    )(Replica)
    entrance = serve.deployment(
        name="Entrance", max_ongoing_requests=1000, ray_actor_options={"num_cpus": 0}
    )(Entrance)
    return entrance.bind(replicas.bind(settings), keys, settings.requests_per_minute)


async def _bodies(messages: Any) -> AsyncGenerator[bytes]:
    """What follows the head of an answer."""
    try:
        async for message in messages:
            yield message.get("body", b"")
    except RayActorError:
        sentence = "The machine that answered is gone; please ask again."
        yield f"data: {json.dumps(error(sentence, 'server_error'))}\n\n".encode()


def _picture_key(scope: Scope, body: bytes) -> str:
    """Tells pictures apart; "" where a request has none that can be read."""
    try:
        if scope["path"].endswith("/chat/completions"):
            url = read_question(ChatRequest.model_validate_json(body).messages).picture
        else:
            url = load_json(body)["image"]
    except (ValidationError, GromaError, ValueError, KeyError, TypeError):
        return ""
    return hashlib.sha256(url.encode()).hexdigest()
