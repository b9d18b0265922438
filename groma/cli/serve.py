"""`groma serve`: an OpenAI-compatible endpoint; heavy imports wait until it runs."""

import argparse
from pathlib import Path
from typing import Any

from groma.cli.model_options import add_adapter_option, add_model_options, load_model
from groma.types import GromaError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("serve", help="answer programs, as OpenAI's endpoints do")
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
        "--no-key",
        action="store_true",
        help="let everybody in who reaches it, without GROMA_SERVE_KEYS",
    )
    add_model_options(parser)
    add_adapter_option(parser, "answer with what this adapter (LoRA) has learnt")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    """Serve until interrupted, unless others could reach it without a key."""
    import uvicorn

    from groma.serve.engine import Engine
    from groma.serve.gate import KEYS, read_keys
    from groma.serve.openai_routes import Service, make_app

    keys = read_keys()
    if not keys and not options.no_key and options.host not in _LOOPBACK:
        raise GromaError(f"Others can reach {options.host}: set {KEYS}, or say --no-key.")
    if options.at_once < 1:
        raise GromaError("--at-once must be 1 or more.")
    groma = load_model(options, options.adapter)
    name = options.name or Path(options.model).name
    service = Service(Engine(groma, options.at_once), name, options.remote_pictures)
    app = make_app(service, keys, options.requests_per_minute)
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning")
