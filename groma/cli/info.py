"""`groma info FOLDER`: parameters, types and memory of every part, and what it computes in."""

import argparse
from typing import Any

from groma.cli.terminal import format_table, show

_CONVOLUTIONAL = (
    "Not the paper's DINOv2 and DETR head: a convolutional detector finds and names things, and a "
    "fixed code tells the language model; the idea is the paper's, to localise while tokenising."
)


def add(commands: Any) -> None:
    """`groma info FOLDER`."""
    parser = commands.add_parser("info", help="show what a model folder holds")
    parser.add_argument("source", metavar="FOLDER", help="folder or Hugging Face id")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from groma.checkpoint.inspect import automatic, info
    from groma.checkpoint.load import read_config, resolve

    parts = info(options.source)
    device, dtype = automatic(options.source)
    rows = [(p.name, p.parameters, " ".join(sorted(p.dtypes)), p.size) for p in parts]
    rows.append(("total", sum(p.parameters for p in parts), "", sum(p.size for p in parts)))
    told = [
        (name, f"{count:,}", kinds, f"{size / 1e6:,.1f} MB") for name, count, kinds, size in rows
    ]
    show(format_table(("part", "parameters", "types", "memory"), told))
    show(f"\nIt computes in {dtype} here, on {device}; --dtype chooses another type.")
    if read_config(resolve(options.source)).is_convolutional:
        show(_CONVOLUTIONAL)
