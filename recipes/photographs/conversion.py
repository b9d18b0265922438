"""The command line of a converter: one file in, one safetensors file out."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from groma.types import GromaError


def convert_file(about: str, source: str, convert: Callable[[Path], dict[str, Tensor]]) -> None:
    """Convert the file that the command line names; what is wrong with it ends in a sentence.

    Args:
        about: docstring of the converter, of which the first line is shown.
        source: what the file is.
        convert: reads it; parameters by the names of our port.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("source", type=Path, help=source)
    parser.add_argument("out", type=Path, help="the safetensors file to write")
    arguments = parser.parse_args()
    try:
        save_file(convert(arguments.source), arguments.out)
    except (GromaError, OSError) as error:
        sys.exit(f"{error}")
