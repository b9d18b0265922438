"""`groma ask-batch`: many questions from a file; heavy imports wait until it runs."""

import argparse
from pathlib import Path
from typing import Any

from groma.cli.options import add_at_once_option, add_model_options, load_model
from groma.cli.terminal import show
from groma.types import GromaError


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("ask-batch", help="answer many questions from a file")
    parser.add_argument("requests", type=Path, metavar="REQUESTS.jsonl", help="as OpenAI's batches")
    parser.add_argument(
        "--save", type=Path, required=True, metavar="ANSWERS.jsonl", help="goes on if it exists"
    )
    add_at_once_option(parser, default=16)
    add_model_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    """Answer what has no answer yet."""
    from groma.serve.batch_file import answer_batch
    from groma.serve.engine import Engine

    if not options.requests.is_file():
        raise GromaError(f"There is no file {options.requests}.")
    engine = Engine(load_model(options), options.at_once)
    try:
        count = answer_batch(engine, options.requests, options.save)
    finally:
        engine.close()
    show(f"{count} requests were answered; all answers are in {options.save}.")
