"""`groma annotate FOLDER`: grounded captions for a folder of pictures."""

import argparse
from typing import Any

from groma.cli import instruct
from groma.cli.model_options import add_model_options, load_model
from groma.cli.terminal import printable, show


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("annotate", help="grounded captions for a folder of pictures")
    instruct.add_annotate_arguments(parser)
    add_model_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    show(printable(instruct.run_annotate(options, lambda: load_model(options))))
