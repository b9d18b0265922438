"""Starts the application: arguments and environment, model, page, server."""

import argparse
import asyncio
import ipaddress
import logging
import math
import os
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groma.embedded import DEFAULT_MODEL
from groma.serve.host_names import host_names

if TYPE_CHECKING:
    import gradio as gr
    from starlette.routing import BaseRoute

    from groma.chat.chat import Groma
    from groma.finetune.lora_settings import LoraSettings
    from groma.masks.maker import MaskMaker
    from groma.serve.engine import Engine

    from .shared.models_at_hand import Models
    from .shared.sessions import Sessions

_log = logging.getLogger(__name__)

RUNS = Path("runs") / "lora"
"""Of trainings in the browser, below the working folder."""
FONTS = ("system-ui", "sans-serif")
"""Those of the system: a page that loads none tells nobody who reads it."""

NO_FINETUNING = (
    "Finetuning is switched on, but ZeroGPU lends a GPU for one short call at a time; it needs a "
    "Space with a GPU of its own."
)

REVIEW_IS_OFF = (
    "The review page is off because others can reach it; GROMA_REVIEW=1 turns it on for all of "
    "them."
)

FINETUNING_IS_OFF = (
    "The finetune tab is off because others can reach this page; GROMA_FINETUNE=1 turns it on for "
    "all of them."
)

ENDPOINT_IS_OFF = (
    "The endpoint for programs (/v1) is off because others can reach it; a key in GROMA_SERVE_KEYS "
    "turns it on for whoever has that key."
)

SECONDS_BETWEEN_TIDYING = 60.0
SECONDS_TO_WAIT = 600.0
"""What a page asks for at once is done one after another; other pages do not wait."""


def main(arguments: Sequence[str] | None = None, program: str = "app.py") -> int:
    """Run the application until it is interrupted.

    Args:
        arguments: of the command line.
        program: what it was called by.

    Returns:
        Exit status: 0, 2 after a mistake that one sentence explains, 130 if it is interrupted
        before it serves.
    """
    options = build_parser(program).parse_args(arguments)
    # Before gradio is imported: nothing is reported to anybody, and "" is no port.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # Before torch is: what Apple's GPUs cannot compute is computed on the CPU.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    if not os.environ.get("GRADIO_SERVER_PORT", "").strip():
        os.environ.pop("GRADIO_SERVER_PORT", None)
    if is_space():
        import spaces  # noqa: F401  (before torch, which it prepares for borrowed GPUs)
    from groma.types import GromaError

    from .shared.work_folder import work_folder

    # Whoever ends the process finds it as orderly as with Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with work_folder():
            serve(options)
    except GromaError as error:
        sys.stderr.write(f"groma: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def build_parser(program: str = "app.py") -> argparse.ArgumentParser:
    """Arguments; their defaults come from the environment, as on a Hugging Face Space.

    Args:
        program: what the application is called by.

    Raises:
        SystemExit: after one sentence, if the environment says something that cannot be.
    """
    parser = argparse.ArgumentParser(prog=program, description="Groma in the browser.")

    def default(variable: str, otherwise: Any, kind: Callable[[str], Any] = str) -> Any:
        said = os.environ.get(variable, "").strip()
        try:
            return kind(said) if said else otherwise
        except argparse.ArgumentTypeError as error:
            parser.exit(2, f"groma: {variable} {error}.\n")

    add = parser.add_argument
    add(
        "--model",
        default=default("GROMA_MODEL", DEFAULT_MODEL),
        help="who answers first: groma-photo, groma-mini, a folder or a Hugging Face id "
        "($GROMA_MODEL)",
    )
    add(
        "--quantization",
        type=_quantization,
        metavar="{none,8bit,4bit}",
        default=default("GROMA_QUANTIZATION", None, _quantization),
        help="of the language model ($GROMA_QUANTIZATION)",
    )
    add("--device", default=default("GROMA_DEVICE", "auto"), help="auto, cpu, cuda, mps, …")
    add("--dtype", default=default("GROMA_DTYPE", "auto"), help="auto, bfloat16, …")
    add(
        "--masks",
        default=default("GROMA_MASKS", "grabcut"),
        metavar="MODEL",
        help="who makes masks: grabcut, which is rough, or a segmenter (SAM 2, EdgeTAM), a folder "
        "or a Hugging Face id ($GROMA_MASKS)",
    )
    add(
        "--memory",
        type=_gigabytes,
        default=default("GROMA_MEMORY_GB", 2.0, _gigabytes),
        metavar="GB",
        help="for encoded pictures and caches of all visitors ($GROMA_MEMORY_GB)",
    )
    add("--host", default=default("GRADIO_SERVER_NAME", "127.0.0.1"))
    port = default("GRADIO_SERVER_PORT", None, _port)
    add("--port", type=_port, default=port, help="the first free one from 7860")
    add(
        "--hosts",
        type=host_names,
        default=default("GROMA_HOSTS", (), host_names),
        metavar="NAMES",
        help="names under which the page is reached, as through a proxy ($GROMA_HOSTS)",
    )
    parser.add_argument("--share", action="store_true", help="make a public link")
    parser.add_argument(
        "--review",
        type=Path,
        metavar="FOLDER",
        help="add a page to review the conversations that `groma instruct` saved there",
    )
    parser.add_argument("--open", action="store_true", help="open a browser")
    return parser


def _quantization(said: str) -> str:
    if said not in ("none", "8bit", "4bit"):
        raise argparse.ArgumentTypeError(f"must be none, 8bit or 4bit, not {said}")
    return said


def _gigabytes(said: str) -> float:
    try:
        number = float(said)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of gigabytes, not {said}")
    return number


def _port(said: str) -> int:
    if not (said.isdecimal() and 0 < int(said) < 65536):
        raise argparse.ArgumentTypeError(f"must be a number from 1 to 65535, not {said}")
    return int(said)


def is_space() -> bool:
    """Whether this is a Hugging Face Space."""
    return "SPACE_ID" in os.environ


def is_public(options: argparse.Namespace) -> bool:
    """Whether others than the owner of this machine can reach the page."""
    if is_space() or options.share:
        return True
    try:
        return not ipaddress.ip_address(options.host.strip("[]")).is_loopback
    except ValueError:
        return options.host != "localhost"


def known_hosts(options: argparse.Namespace) -> tuple[str, ...] | None:
    """Names of the page besides those of this machine; None is any, for others can reach it."""
    return None if is_public(options) and not options.hosts else (options.host, *options.hosts)


def serve(options: argparse.Namespace) -> None:
    """Load the model and serve the page until it is interrupted.

    Raises:
        GromaError: if the model cannot be loaded, or the environment says something odd.
    """
    import groma
    from groma.machine import resolve_device
    from groma.masks.maker import GRABCUT, load_maker
    from groma.serve.engine import Engine

    from .shared.models_at_hand import Models, embedded_loaders, title_of
    from .shared.request_border import is_allowed
    from .shared.zero_gpu_sessions import is_zero_gpu

    resolve_device(options.device)
    finetune, notice = finetuning(options)
    is_reviewed = options.review is not None and is_allowed("GROMA_REVIEW", is_public(options))
    if options.review is not None and not is_reviewed:
        _log.warning(REVIEW_IS_OFF)
    maker = None if options.masks == GRABCUT else load_maker(options.masks, options.device)
    model = groma.load(
        options.model, options.quantization, device=options.device, dtype=options.dtype
    )
    name, loaders = title_of(options.model), embedded_loaders(options.device, options.dtype)
    loaders.pop(name, None)
    if maker is not None:
        model = model.with_masks(maker)
        loaders = {other: partial(_masking, load, maker) for other, load in loaders.items()}
    engine, budget = None, int(options.memory * 1e9)
    if not is_zero_gpu():
        engine = Engine(model, budget=budget // 4)
        model = engine.groma
        loaders = {other: partial(_together, load) for other, load in loaders.items()}
    launch(
        Models(name, model, loaders),
        engine=engine,
        budget=budget,
        review=options.review if is_reviewed else None,
        finetune=finetune,
        notice=notice,
        keys=program_keys(options),
        hosts=known_hosts(options),
        server_name=options.host,
        server_port=options.port,
        share=options.share,
        inbrowser=options.open,
    )


def _masking(load: "Callable[[], Groma]", maker: "MaskMaker") -> "Groma":
    return load().with_masks(maker)


def _together(load: "Callable[[], Groma]") -> "Groma":
    """A model whose answers share what they compute, whoever asks."""
    from groma.serve.engine import Engine

    return Engine(load()).groma


def finetuning(options: argparse.Namespace) -> "tuple[LoraSettings | None, str]":
    """What trainings on the page have in common, or None without any; and what visitors are told.

    Raises:
        GromaError: if the environment says something odd.
    """
    from groma.finetune.lora_settings import LoraSettings

    from .shared.request_border import is_allowed
    from .shared.zero_gpu_sessions import is_zero_gpu

    allowed = is_allowed("GROMA_FINETUNE", is_public(options))
    if is_zero_gpu():
        if allowed:
            _log.warning(NO_FINETUNING)
        return None, NO_FINETUNING if allowed else ""
    if not allowed:
        if not os.environ.get("GROMA_FINETUNE"):
            _log.warning(FINETUNING_IS_OFF)
        return None, ""
    model, quantization = options.model, options.quantization
    return LoraSettings(model, quantization, device=options.device, dtype=options.dtype), ""


def program_keys(options: argparse.Namespace) -> tuple[str, ...] | None:
    """Keys that open the endpoint for programs; none if everybody may ask, None if nobody."""
    from groma.serve.gate import read_keys

    from .shared.zero_gpu_sessions import is_zero_gpu

    keys = read_keys()
    if is_zero_gpu():
        return None
    if not keys and is_public(options):
        _log.warning(ENDPOINT_IS_OFF)
        return None
    return keys


def launch(
    models: "Models",
    engine: "Engine | None" = None,
    budget: int = 2_000_000_000,
    review: Path | None = None,
    finetune: "LoraSettings | None" = None,
    runs: Path = RUNS,
    notice: str = "",
    keys: Sequence[str] | None = None,
    hosts: Sequence[str] | None = (),
    **options: Any,
) -> str:
    """Serve the models at hand.

    Args:
        models: who can answer; the one that is given answers programs, and can be taught.
        engine: what answers programs, along with visitors; None is one for programs alone.
        budget: bytes for encoded pictures and caches of all visitors; programs get a quarter.
        review: folder of conversations to review, on a page of its own.
        finetune: what trainings have in common, for a tab to teach the model; None makes none.
        runs: folder of the trainings.
        notice: a sentence for everybody who opens the page.
        keys: that open the endpoint for programs; none if everybody may ask, None for no endpoint.
        hosts: names besides those of this machine under which it may be reached; None is any.
        options: of `gradio.Blocks.launch`.

    Returns:
        The page's address, once the server ends or at once if `prevent_thread_lock` is given.
    """
    import gradio as gr

    from groma.finetune.jobs import Jobs
    from groma.limits import (
        MOST_BYTES,
        MOST_REQUEST_BYTES,
        MOST_SET_BYTES,
        MOST_SETS_BYTES,
        MOST_TEACHING_BYTES,
    )
    from groma.serve.engine import Engine

    from .chat.chat_page import Page
    from .chat.chat_tab import ChatTab
    from .chat.example_strip import PHOTOGRAPHS, SCENES
    from .chat.status_line import describe
    from .finetune.finetune_tab import FinetuneTab
    from .review.review_page import add_page, open_review
    from .shared.request_border import borders
    from .shared.scripts import first_script, script_route
    from .shared.sessions import Sessions
    from .shared.style_sheets import read_styles
    from .shared.zero_gpu_sessions import ZeroGpuSessions, is_zero_gpu

    routes: list[BaseRoute] = [script_route()]
    if keys is not None:
        engine = engine or Engine(models.get(models.given), budget=budget // 4)
        routes += program_routes(engine, models.given, keys)
        budget -= budget // 4
    sessions = (
        ZeroGpuSessions(models)
        if is_zero_gpu()
        else Sessions(models, budget, patience=SECONDS_TO_WAIT)
    )
    teaching = None
    if finetune is not None:
        runs = runs.resolve()
        teaching = FinetuneTab(Jobs(runs), sessions, models.get(models.given), finetune)
    # Gradio keeps what it knows of a visitor, half a megabyte, until so many others came; only the
    # finetune tab has anything there that is missed.
    visitors = 1000 if finetune else 100
    page = Page(ChatTab(sessions, teaches=teaching is not None), teaching)
    blocks = page.build(notice, lambda: describe(sessions))
    if review is not None:
        add_page(blocks, open_review(review))
    # A form has a little around the file.
    sizes = (
        (MOST_TEACHING_BYTES, MOST_SETS_BYTES)
        if finetune
        else (MOST_REQUEST_BYTES, MOST_BYTES + 100_000)
    )
    return start(
        blocks,
        theme=gr.themes.Default(primary_hue="indigo", secondary_hue="indigo", font=FONTS),
        head=f"<style>{read_styles()}</style><script>{first_script()}</script>",
        allowed_paths=[str(SCENES), str(PHOTOGRAPHS)],
        max_file_size=MOST_SET_BYTES if finetune else MOST_BYTES,
        state_session_capacity=visitors,
        run_history=False,
        ssr_mode=False,
        footer_links=["api", "settings"],
        app_kwargs={
            "lifespan": tidying(sessions, SECONDS_BETWEEN_TIDYING),
            "middleware": borders(hosts, *sizes),
            "routes": routes,
        },
        **options,
    )


def program_routes(engine: "Engine", name: str, keys: Sequence[str]) -> "list[BaseRoute]":
    """The endpoint for programs, as `groma serve` has it.

    Args:
        engine: of the model that everybody begins with.
        name: of that model.
        keys: any of these opens it; without keys everybody may ask.
    """
    from starlette.routing import Route

    from groma.serve.openai_routes import PATHS, Service, make_app

    endpoint = make_app(Service(engine, name), tuple(keys))
    return [Route(path, endpoint) for path in PATHS]


def tidying(
    sessions: "Sessions", seconds: float
) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    """For as long as the server runs, free what was left alone for too long.

    What requests freed goes back to the system too: pieces of it would stay in the heap, and the
    application would grow by a third of a megabyte a request.

    Args:
        sessions: of all visitors.
        seconds: between two looks.

    Returns:
        A lifespan, as FastAPI calls it.
    """
    from groma.machine import trim_memory

    async def tidy_again() -> None:
        while True:
            await asyncio.sleep(seconds)
            await asyncio.to_thread(sessions.tidy)
            await asyncio.to_thread(trim_memory)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncGenerator[None]:
        task = asyncio.create_task(tidy_again())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    return lifespan


def start(blocks: "gr.Blocks", **options: Any) -> str:
    """Launch a page.

    Returns:
        Its address.

    Raises:
        GromaError: if no port is free, or the page does not answer.
    """
    import httpx

    from groma.types import GromaError

    try:
        return blocks.launch(**options)[1]
    except OSError as error:
        port = options.get("server_port") or "7860 to 7959"
        raise GromaError(
            f"Nothing can be served at port {port}; name another one with --port, or check --host."
        ) from error
    except (ValueError, httpx.TransportError) as error:
        if isinstance(error, ValueError) and "localhost" not in str(error):
            raise
        blocks.close()
        raise GromaError(
            "The page was started but did not answer within three seconds: this machine is very "
            "busy, or a proxy stands before it (then set NO_PROXY=localhost,127.0.0.1). Try again."
        ) from error
