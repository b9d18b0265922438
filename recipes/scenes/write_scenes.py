"""`python -m recipes.scenes write`: its arguments, and what it does; heavy imports wait."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    parser.add_argument("--save", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--split", choices=("train", "val", "test"), default="val")
    parser.add_argument("-n", "--count", type=int, default=12, help="how many scenes (12)")
    parser.add_argument("--start", type=int, default=0, help="index of the first scene (0)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=448, help="side of the pictures in px (448)")
    parser.add_argument("--style", choices=("fluent3d", "fluentflat", "noto", "twemoji"))


def run(options: argparse.Namespace) -> str:
    """Write example scenes and conversations.

    Returns:
        One sentence that says what was written.

    Raises:
        GromaError: if a number makes no sense.
    """
    from recipes.scenes.pictures.generator import SceneGenerator
    from recipes.scenes.pictures.scene_preview import save_examples

    scenes = SceneGenerator(options.split, options.seed, options.size, options.style)
    samples = save_examples(options.save, scenes, options.count, options.start)
    scenes_are = "One scene is" if len(samples) == 1 else f"{len(samples)} scenes are"
    return f"{scenes_are} in {options.save}, each with a conversation."
