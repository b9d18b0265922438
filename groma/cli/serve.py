"""`groma serve`: an OpenAI-compatible endpoint; heavy imports wait until it runs."""

import argparse
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groma.chat.chat import Groma

KEYS = "GROMA_SERVE_KEYS"
"""Variable of the environment: keys that open the endpoint, with commas between them."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads, but for the model."""
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="%(default)s by default")
    parser.add_argument("--name", metavar="NAME", help="what programs call the model")
    parser.add_argument(
        "--at-once", type=int, default=16, metavar="N", help="answers made together (%(default)s)"
    )
    parser.add_argument(
        "--requests-per-minute", type=int, default=0, metavar="N", help="of one caller; 0: any"
    )
    parser.add_argument(
        "--remote-pictures", action="store_true", help="fetch pictures from public addresses too"
    )
    parser.add_argument(
        "--no-key", action="store_true", help=f"let everybody in who reaches it, without {KEYS}"
    )


def run(options: argparse.Namespace, load: Callable[[], "Groma"], name: str) -> None:
    """Serve until interrupted.

    Args:
        options: what `add_arguments` declares.
        load: gives the model.
        name: of the model, unless the options name it.

    Raises:
        GromaError: if others could reach it without a key, or the port is taken.
    """
    import uvicorn

    from groma.serve.engine import Engine
    from groma.serve.openai_routes import Service, make_app
    from groma.types import GromaError

    keys = tuple(key.strip() for key in os.environ.get(KEYS, "").split(",") if key.strip())
    if not keys and not options.no_key and options.host not in _LOOPBACK:
        raise GromaError(f"Others can reach {options.host}: set {KEYS}, or say --no-key.")
    if options.at_once < 1:
        raise GromaError("--at-once must be 1 or more.")
    engine = Engine(load(), options.at_once)
    service = Service(engine, options.name or name, options.remote_pictures)
    app = make_app(service, keys, options.requests_per_minute)
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning")
