"""`groma app`: hands over to the application, which lies above the library and needs more."""

import argparse
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from groma.types import GromaError

_APPLICATION = ("groma_app", "app")  # what it is called where it is installed, and in a checkout
_NEEDED = ("gradio", "spaces")


def add(commands: Any) -> None:
    """`groma app`, whose options are the application's own."""
    parser = commands.add_parser(
        "app", help="open the application in the browser", add_help=False, prefix_chars="\0"
    )
    parser.add_argument("arguments", nargs="*")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    """Run the application until it is interrupted; leaves by `SystemExit` with its status."""
    here = [name for name in _APPLICATION if find_spec(name) is not None]
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if not here:
        missing.append(_APPLICATION[0])
    if missing:
        raise GromaError(f"The application needs {missing[0]}: pip install 'groma[app]'.")
    sys.exit(import_module(f"{here[0]}.launch").main(options.arguments, "groma app"))
