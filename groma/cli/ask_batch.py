"""`groma ask-batch`: many questions from a file; heavy imports wait until it runs."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groma.chat.chat import Groma


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads, but for the model."""
    parser.add_argument("requests", type=Path, metavar="REQUESTS.jsonl", help="as OpenAI's batches")
    parser.add_argument(
        "--save", type=Path, required=True, metavar="ANSWERS.jsonl", help="goes on if it exists"
    )
    parser.add_argument(
        "--at-once", type=int, default=16, metavar="N", help="answers made together (%(default)s)"
    )


def run(options: argparse.Namespace, load: Callable[[], "Groma"]) -> str:
    """Answer what has no answer yet.

    Returns:
        One sentence that says how many those were.

    Raises:
        GromaError: if a file or an option makes no sense.
    """
    from groma.serve.batch_file import answer_batch
    from groma.serve.engine import Engine
    from groma.types import GromaError

    if not options.requests.is_file():
        raise GromaError(f"There is no file {options.requests}.")
    if options.at_once < 1:
        raise GromaError("--at-once must be 1 or more.")
    engine = Engine(load(), options.at_once)
    try:
        count = answer_batch(engine, options.requests, options.save)
    finally:
        engine.close()
    return f"{count} requests were answered; all answers are in {options.save}."
