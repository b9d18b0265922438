"""`groma convert SRC DST`: write a model folder that loads fast."""

import argparse
from typing import Any

from groma.cli.options import add_adapter_option


def add(commands: Any) -> None:
    """`groma convert SRC DST`."""
    parser = commands.add_parser("convert", help="write a model folder that loads fast")
    parser.add_argument("source", metavar="SRC", help="folder or Hugging Face id")
    parser.add_argument("target", metavar="DST", help="new folder")
    parser.add_argument("--quantization", choices=("none", "8bit", "4bit"), default="none")
    add_adapter_option(parser, "merge this adapter (LoRA) into the model")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from groma.checkpoint.convert import convert

    quantization = None if options.quantization == "none" else options.quantization
    convert(options.source, options.target, quantization, adapter=options.adapter)
