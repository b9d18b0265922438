"""`groma annotate FOLDER`: grounded captions for a folder of pictures."""

import argparse
from pathlib import Path
from typing import Any

from groma.cli.options import add_at_once_option, add_model_options, load_model
from groma.cli.terminal import printable, show


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("annotate", help="grounded captions for a folder of pictures")
    parser.add_argument("pictures", type=Path, metavar="FOLDER", help="of the pictures")
    parser.add_argument("--save", type=Path, required=True, metavar="FOLDER", help="for the files")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N pictures")
    parser.add_argument(
        "--question", default="Describe the picture.", metavar="TEXT", help="(%(default)s)"
    )
    parser.add_argument("--max-new-tokens", type=int, default=512, metavar="N")
    parser.add_argument("--score-threshold", type=float, metavar="X", help="of regions")
    parser.add_argument("--max-regions", type=int, metavar="N", help="most regions proposed")
    add_at_once_option(parser, default=8)
    add_model_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    """Write grounded captions and boxes for a folder of pictures."""
    from groma.chat.settings import GenerationSettings
    from groma.instruct.annotated_pictures import annotate
    from groma.instruct.described_pictures import list_pictures
    from groma.instruct.made_folder import MadeFolder
    from groma.serve.engine import Engine

    keys = list_pictures(options.pictures)[: options.limit]
    names = ("max_new_tokens", "score_threshold", "max_regions")
    settings = {name: getattr(options, name) for name in names}
    head = {"pictures": str(options.pictures.resolve()), "model": options.model}
    folder = MadeFolder.begin(options.save, head | {"question": options.question} | settings)
    try:
        # The model is loaded only where there is something to do.
        if folder.left(keys):
            answering = GenerationSettings(**settings)
            engine = Engine(load_model(options), options.at_once)
            about = options.pictures, keys, folder, options.question, answering
            annotate(engine.groma, *about, options.at_once)
    finally:
        folder.write(keys)
        folder.write_coco(keys)
    show(printable(folder.summary(keys)))
