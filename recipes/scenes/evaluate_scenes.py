"""`python -m recipes.scenes evaluate`: its arguments, and what it does; heavy imports wait."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groma.cli.options import add_detail_option

if TYPE_CHECKING:
    from groma.chat.chat import Groma
    from recipes.scenes.evaluation.scene_run import Settings

DEFAULT_SIZES = {"own": 224, "other": 448}
"""Side of the pictures in pixels, by who makes them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads, but for the model."""
    scenes = parser.add_argument_group("scenes")
    scenes.add_argument("--scenes", choices=tuple(DEFAULT_SIZES), default="own", help="who makes")
    scenes.add_argument("--split", choices=("train", "val", "test"), default="test")
    scenes.add_argument("--seed", type=int, default=0)
    scenes.add_argument("-n", "--limit", type=int, default=1000, help="how many scenes (1000)")
    scenes.add_argument("--start", type=int, default=0, help="index of the first scene (0)")
    scenes.add_argument("--style", help="one art style; twemoji is the unseen one")
    scenes.add_argument("--size", type=int, help="side of the pictures in px (224; other 448)")
    scenes.add_argument("--side", type=int, metavar="N", help="of all things in px (own scenes)")
    asked = parser.add_argument_group("questions")
    asked.add_argument(
        "--kinds", nargs="+", default=(), metavar="KIND", help='such as "rec count follow_other"'
    )
    asked.add_argument("--density", type=float, default=1.0, help="2 asks twice as much (1)")
    asked.add_argument("--max-new-tokens", type=int, default=256, metavar="N")
    asked.add_argument("--score-threshold", type=float, metavar="X", help="least objectness")
    asked.add_argument("--max-regions", type=int, metavar="N", help="most regions proposed")
    add_detail_option(asked)
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print JSON")
    output.add_argument(
        "--save", type=Path, metavar="FILE", help="keep all answers; go on if there are some"
    )
    output.add_argument(
        "--predictions", type=Path, nargs="+", metavar="FILE", help="score saved answers instead"
    )


def run(options: argparse.Namespace, load: Callable[[], "Groma"]) -> str | dict[str, Any]:
    """Answer all questions, or read answers, and score them.

    Args:
        options: what `add_arguments` declares, and `model`, `quantization` and `dtype`.
        load: gives the model; not called where saved answers suffice.

    Returns:
        Tables, or with `--json` what they show.

    Raises:
        GromaError: if an option makes no sense or a file is of another run.
    """
    from recipes.scenes.evaluation import report
    from recipes.scenes.evaluation.scene_run import answer_all, read_saved

    if options.predictions:
        settings, records = read_saved(options.predictions)
    else:
        settings = _settings(options)
        indices = range(options.start, options.start + options.limit)
        records = answer_all(settings, indices, load, options.save)
    targets = report.targets_of(settings.scenes, settings.style)
    if options.json:
        return {"run": settings.to_dict(), **report.to_dict(records, targets)}
    return f"{settings.describe(len(records))}\n\n{report.to_text(records, targets)}"


def _settings(options: argparse.Namespace) -> "Settings":
    from recipes.scenes.evaluation.scene_questions import chosen_kinds
    from recipes.scenes.evaluation.scene_run import Settings

    return Settings(
        model=str(options.model),
        quantization=options.quantization,
        dtype=options.dtype,
        scenes=options.scenes,
        split=options.split,
        seed=options.seed,
        style=options.style,
        size=options.size or DEFAULT_SIZES[options.scenes],
        kinds=chosen_kinds(options.kinds),
        density=options.density,
        max_new_tokens=options.max_new_tokens,
        score_threshold=options.score_threshold,
        max_regions=options.max_regions,
        detail=options.detail,
        side=options.side,
    )
