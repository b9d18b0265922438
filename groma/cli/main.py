"""The `groma` command: a file for each subcommand, dispatched here.

Heavy imports wait until a subcommand runs, so that `groma --help` is quick.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from groma.cli import (
    align,
    annotate,
    application,
    ask,
    ask_batch,
    convert,
    data,
    evaluate,
    info,
    instruct,
    regions,
    serve,
    train,
)
from groma.types import GromaError

_COMMANDS = (
    *(ask, regions, align, annotate, ask_batch, serve, evaluate, train, data, instruct),
    *(convert, info, application),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; the exit status is 0, 130 after Ctrl-C, or 2 after a mistake.

    One sentence on stderr explains the mistake.
    """
    # What Apple's GPUs cannot compute is computed on the CPU; PyTorch asks when it is imported.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    return run(build_parser().parse_args(arguments))


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; each sets `run` to the function that does it."""
    parser = argparse.ArgumentParser(prog="groma", description="Grounded chat about pictures.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add(commands)
    return parser


def run(options: argparse.Namespace) -> int:
    """Do what a command line says: what its `run` does; returns as `main`."""
    try:
        options.run(options)
    except KeyboardInterrupt:
        return 130
    except GromaError as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.")
    except RuntimeError as error:
        # By its name, because not every command needs to wait for torch.
        if type(error).__name__ != "OutOfMemoryError":
            raise
        return _complain(
            "The GPU's memory is full; --quantization 4bit or --device cpu needs less."
        )
    return 0


def _complain(sentence: str) -> int:
    print(f"groma: {sentence}", file=sys.stderr)
    return 2
