"""`groma serve`: an OpenAI-compatible endpoint; heavy imports wait until it runs."""

import argparse
import os
from typing import Any

from groma.cli.options import (
    add_adapter_option,
    add_at_once_option,
    add_masks_option,
    add_model_options,
)
from groma.serve.host_names import host_names
from groma.types import GromaError

_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("serve", help="answer programs, as OpenAI's endpoints do")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (%(default)s)")
    parser.add_argument("--port", type=int, default=8000, help="%(default)s by default")
    parser.add_argument(
        "--hosts",
        type=host_names,
        default=os.environ.get("GROMA_HOSTS", ""),
        metavar="NAMES",
        help="names under which it is reached, as through a proxy ($GROMA_HOSTS)",
    )
    parser.add_argument("--name", metavar="NAME", help="what programs call the model")
    add_at_once_option(parser, default=16)
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
    parser.add_argument(
        "--replicas",
        type=_replicas,
        metavar="N",
        help="processes that answer, by Ray Serve: 2, or 1-8 as many as are needed",
    )
    add_masks_option(parser)
    add_model_options(parser)
    add_adapter_option(parser, "answer with what this adapter (LoRA) has learnt")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    """Serve until interrupted, unless others could reach it without a key."""
    from groma.serve.gate import KEYS, read_keys

    keys = read_keys()
    if not keys and not options.no_key and options.host not in _LOOPBACK:
        raise GromaError(f"Others can reach {options.host}: set {KEYS}, or say --no-key.")
    if options.replicas is None:
        _run_here(options, keys)
    else:
        _run_replicas(options)


def _run_here(options: argparse.Namespace, keys: tuple[str, ...]) -> None:
    import uvicorn

    from groma.serve.openai_routes import make_app
    from groma.serve.serve_settings import ServeSettings

    service = ServeSettings.model_validate(vars(options)).service()
    hosts = options.hosts if options.hosts or options.host in _LOOPBACK else None
    app = make_app(service, keys, options.requests_per_minute, hosts)
    uvicorn.run(app, host=options.host, port=options.port, log_level="warning")


def _run_replicas(options: argparse.Namespace) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
    try:
        import ray
        from ray import serve
    except ImportError as error:
        raise GromaError('--replicas needs Ray Serve: pip install "groma[ray]".') from error
    from groma.machine import resolve_device
    from groma.serve.ray_app import RaySettings, build

    least, most = options.replicas
    gpus = int(resolve_device(options.device).startswith("cuda"))
    more = {"min_replicas": least, "max_replicas": most, "gpus": gpus, "no_key": True}
    ray.init(include_dashboard=False)
    serve.start(http_options={"host": options.host, "port": options.port})
    serve.run(build(RaySettings.model_validate(vars(options) | more)), blocking=True)


def _replicas(said: str) -> tuple[int, int]:
    """Fewest and most, of "1-8" or "2"."""
    least, _, most = said.partition("-")
    most = most or least
    if not (least.isdecimal() and most.isdecimal() and 1 <= int(least) <= int(most)):
        raise argparse.ArgumentTypeError(f"must be like 2 or 1-8, not {said}")
    return int(least), int(most)
