"""`groma app`: hands over to the application, which lies above the library and needs more."""

import argparse
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

_NEEDED = ("groma_app", "gradio", "spaces")


def add_app(commands: Any) -> None:
    """`groma app`, whose options are the application's own."""
    parser = commands.add_parser(
        "app", help="open the application in the browser", add_help=False, prefix_chars="\0"
    )
    parser.add_argument("arguments", nargs="*")
    parser.set_defaults(run=run_app)


def run_app(options: argparse.Namespace) -> None:
    """Run the application until it is interrupted.

    Raises:
        GromaError: if packages that it needs are missing.
        SystemExit: with its exit status.
    """
    from groma.types import GromaError

    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise GromaError(f"The application needs {missing[0]}: pip install 'groma[app]'.")
    sys.exit(import_module("groma_app.launch").main(options.arguments, "groma app"))
