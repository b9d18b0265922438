"""`groma train`: its stages; heavy imports wait until one runs."""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from groma.cli import train_lora
from groma.cli.options import positive
from groma.cli.terminal import log_progress

if TYPE_CHECKING:
    from groma.train.configuration import Configuration

C = TypeVar("C", bound="Configuration")

_STAGES = {
    "detection": "stage 1 of the paper: find every region",
    "alignment": "stage 2 of the paper: connect what is seen with a frozen language model",
    "instruction": "stage 3 of the paper: follow instructions, the language model learning along",
}
_DESCRIPTION = """\
Train a model, stage by stage. Each stage is a TOML file; each leaves FOLDER/model, which the next
one starts from, and on the way checkpoints, log.jsonl and curves.png.

Several GPUs: accelerate launch -m groma train STAGE CONFIG
"""


def add(commands: Any) -> None:
    """Add the command, the paper's stages and LoRA to the parser."""
    parser = commands.add_parser(
        "train",
        help="train a model, stage by stage",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stages = parser.add_subparsers(title="stages", metavar="STAGE", required=True)
    for name, meaning in _STAGES.items():
        stage = stages.add_parser(name, help=meaning, description=f"{name}: {meaning}.")
        stage.add_argument(
            "config",
            metavar="CONFIG",
            help="TOML file, or name of a shipped configuration (groma-7b/…)",
        )
        where = add_stage_arguments(stage, name)
        where.add_argument("--data", type=Path, metavar="FOLDER", help="of public data")
        stage.set_defaults(run=_run)
    train_lora.add(stages)


def _run(options: argparse.Namespace) -> None:
    """Train a stage to its end."""
    from groma.data.mixture import read_mixture
    from groma.train.configuration import find, read_configuration
    from groma.train.stage_run import run_stage

    log_progress()
    path = find(options.config)
    configuration = changed(read_configuration(path, options.stage), options)
    run_stage(configuration, read_mixture(path, root=options.data), options.resume)


def changed(configuration: C, options: argparse.Namespace) -> C:
    """A configuration with what the command line changes; see `add_stage_arguments`."""
    from groma.train.configuration import change

    stage, given = configuration.stage, vars(options)
    if options.steps is not None:
        stage = replace(stage, steps=options.steps, epochs=None)
    return replace(
        change(configuration, {"out": options.out}),
        stage=change(stage, given),
        run=change(configuration.run, given),
        model=change(configuration.model, given | {"folder": options.model}),
    )


def add_stage_arguments(parser: argparse.ArgumentParser, stage: str) -> "argparse._ArgumentGroup":
    """Declare what every run of a stage can be told; returns the group of folders, for more."""
    parser.add_argument(
        "--resume",
        action="store_true",
        help="go on from the last checkpoint; a finished stage is left as it is",
    )
    where = parser.add_argument_group("folders, instead of those in the configuration")
    where.add_argument("--out", type=Path, metavar="FOLDER", help="of the run")
    where.add_argument("--model", metavar="FOLDER", help="what to start from, or a Hub id")
    if stage in ("alignment", "instruction"):
        where.add_argument(
            "--visual",
            type=Path,
            metavar="FOLDER",
            help="what detection pretraining has left; --model is then a language model",
        )
    parser.set_defaults(stage=stage)
    learning = parser.add_argument_group("learning, instead of what the configuration says")
    learning.add_argument("--steps", type=positive, metavar="N", help="all steps of the stage")
    learning.add_argument(
        "--batch", type=positive, dest="batch_size", metavar="N", help="samples per device"
    )
    learning.add_argument("--accumulation", type=positive, metavar="N", help="batches per step")
    learning.add_argument("--lr", type=float, metavar="X", help="rate of AdamW")
    learning.add_argument("--seed", type=int, metavar="N", help="of weights, data and chance")
    running = parser.add_argument_group("running")
    running.add_argument("--save-steps", type=positive, metavar="N", help="between checkpoints")
    running.add_argument("--eval-steps", type=positive, metavar="N", help="between evaluations")
    running.add_argument("--workers", type=int, metavar="N", help="processes that load data")
    return where
