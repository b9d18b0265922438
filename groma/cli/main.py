"""The `groma` command: a file for each subcommand, dispatched here.

Heavy imports wait until a subcommand runs, so that `groma --help` is quick.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groma.cli import annotate, ask, ask_batch, convert, info, regions, serve
from groma.cli.application import add_app
from groma.cli.model_options import add_model_options, load_model, load_template
from groma.cli.terminal import format_table, printable, show
from groma.embedded import DEFAULT_MODEL

if TYPE_CHECKING:
    from groma.data.sample import GroundedSample

Subcommands = Any
"""What `ArgumentParser.add_subparsers` returns; argparse keeps its type private."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Returns:
        Exit status: 0, 2 after a mistake that one sentence on stderr explains, 130 after Ctrl-C.
    """
    # What Apple's GPUs cannot compute is computed on the CPU; PyTorch asks when it is imported.
    os.environ.setdefault("PYTORCH_ENABLE_MPS_FALLBACK", "1")
    return run(build_parser().parse_args(arguments))


def run(options: argparse.Namespace) -> int:
    """Do what a command line says: what its `run` does.

    Returns:
        As `main`.
    """
    try:
        return _run(options)
    except KeyboardInterrupt:
        return 130


def _run(options: argparse.Namespace) -> int:
    import torch

    from groma.types import GromaError

    try:
        options.run(options)
    except GromaError as error:
        return _complain(str(error))
    except torch.OutOfMemoryError:
        return _complain(
            "The GPU's memory is full; --quantization 4bit or --device cpu needs less."
        )
    except OSError as error:
        return _complain(f"{error.filename or 'A file'} cannot be used: {error.strerror or error}.")
    return 0


def _complain(sentence: str) -> int:
    print(f"groma: {sentence}", file=sys.stderr)
    return 2


def build_parser() -> argparse.ArgumentParser:
    """The parser of all subcommands; each sets `run` to the function that does it."""
    parser = argparse.ArgumentParser(prog="groma", description="Grounded chat about pictures.")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (ask, regions, annotate, ask_batch, serve):
        command.add(commands)
    others = (_add_eval, _add_train, _add_data, _add_instruct, convert.add, info.add, add_app)
    for add in others:
        add(commands)
    return parser


def _add_eval(commands: Subcommands) -> None:
    """`groma eval adapter | rec | rec-mean | lvis-ground | …`."""
    from groma.cli import evaluate as public
    from groma.cli import evaluate_adapter as adapter_command
    from groma.cli import evaluate_rec_mean as rec_mean

    parser = commands.add_parser("eval", help="measure how good a model is")
    benchmarks = parser.add_subparsers(title="benchmarks", metavar="BENCHMARK", required=True)
    adapter = benchmarks.add_parser("adapter", help="base and adapter on the same questions (A/B)")
    adapter_command.add_arguments(adapter)
    add_model_options(adapter)
    adapter.set_defaults(run=_run_eval_adapter)
    for name, what in public.BENCHMARKS.items():
        benchmark = benchmarks.add_parser(name, help=what)
        public.add_arguments(benchmark, name)
        add_model_options(benchmark)
        benchmark.set_defaults(run=_run_eval_public)
    mean = benchmarks.add_parser("rec-mean", help="results of rec on several sets, and their mean")
    rec_mean.add_arguments(mean)
    mean.set_defaults(run=_run_eval_rec_mean)


def _run_eval_public(options: argparse.Namespace) -> None:
    """Measure a model on a public benchmark."""
    from groma.cli import evaluate as command

    show(command.run(options, lambda: load_model(options)))


def _run_eval_rec_mean(options: argparse.Namespace) -> None:
    """Put results on several sets together."""
    from groma.cli import evaluate_rec_mean as rec_mean

    show(rec_mean.run(options))


def _held_out(folder: Path) -> "tuple[Path, list[GroundedSample]]":
    """The adapter of a run, and what it was only measured on.

    Raises:
        GromaError: if there is none.
    """
    from groma.finetune.run_folder import RunFolder
    from groma.types import GromaError

    run = RunFolder.open(folder)
    if not run.adapter.is_dir():
        raise GromaError(f"{run.name} has no adapter yet; it is {run.state}.")
    if not run.held_out:
        raise GromaError(f"{run.name} held nothing out to compare on; name a set with --data.")
    return run.adapter, run.held_out


def _run_eval_adapter(options: argparse.Namespace) -> None:
    """Compare a model with and without an adapter."""
    from groma.cli import evaluate_adapter as adapter_command

    result = adapter_command.run(options, lambda: load_model(options), _held_out)
    show(printable(result) if isinstance(result, str) else result)


def _add_train(commands: Subcommands) -> None:
    """`groma train detection | alignment | instruction …`."""
    from groma.cli import train as command

    parser = commands.add_parser("train", help="train a model, stage by stage")
    command.add_arguments(parser)
    parser.set_defaults(run=_run_train)


def _run_train(options: argparse.Namespace) -> None:
    """Run a stage of the training."""
    from groma.cli import train as command

    result = command.run(options)
    if result is not None:
        show(result)


def _add_data(commands: Subcommands) -> None:
    """`groma data stats | show | check`."""
    from groma.cli import data as public
    from groma.cli import doctor

    parser = commands.add_parser("data", help="look at what models are trained on")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    stats = actions.add_parser("stats", help="what the sources of a configuration hold")
    public.add_stats_arguments(stats)
    stats.set_defaults(run=_run_data_stats)
    show = actions.add_parser("show", help="one sample: its boxes, and what is learnt of its text")
    public.add_show_arguments(show)
    show.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="name, folder or Hugging Face id whose tokenizer spells the text",
    )
    show.set_defaults(run=_run_data_show)
    check = actions.add_parser("check", help="what is wrong with an instruction set, and mend it")
    doctor.add_arguments(check)
    check.set_defaults(run=_run_data_check)


def _run_data_stats(options: argparse.Namespace) -> None:
    """Print what the sources of a configuration hold."""
    from groma.cli import data as command
    from groma.train.configuration import find

    options.config = find(options.config)
    show(format_table(*command.stats(options)))


def _run_data_show(options: argparse.Namespace) -> None:
    """Draw one sample, and print what is learnt of it."""
    from groma.cli import data as command
    from groma.train.configuration import find

    options.config = find(options.config)
    show(printable(command.show(options, lambda: load_template(options.model))))


def _run_data_check(options: argparse.Namespace) -> None:
    """Say what is wrong with an instruction set, and mend it."""
    from groma.cli import doctor as command

    for text in command.run(options, load_template, format_table):
        show(printable(text))


def _add_instruct(commands: Subcommands) -> None:
    """`groma instruct FOLDER`."""
    from groma.cli import instruct as command

    parser = commands.add_parser("instruct", help="make grounded conversations to learn from")
    command.add_instruct_arguments(parser)
    add_model_options(parser)
    parser.set_defaults(run=_run_instruct)


def _run_instruct(options: argparse.Namespace) -> None:
    """Have conversations written."""
    from groma.cli import instruct as command

    show(printable(command.run_instruct(options, lambda: load_model(options))))
