"""Options of the commands about one picture, and the picture itself."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from groma.types import Detail, GromaError

if TYPE_CHECKING:
    from PIL import Image


def add_picture_options(parser: argparse.ArgumentParser) -> None:
    """Which regions are proposed, and where the result goes."""
    regions = parser.add_argument_group("regions")
    regions.add_argument(
        "--score-threshold", type=float, metavar="X", help="least objectness of a region"
    )
    regions.add_argument("--max-regions", type=int, metavar="N", help="most regions proposed")
    add_detail_option(regions)
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="print JSON")
    output.add_argument("--save", type=Path, metavar="OUT.png", help="write the marked picture")


def add_detail_option(parser: Any) -> None:
    """How closely pictures are looked at."""
    parser.add_argument(
        "--detail",
        type=lambda text: int(text) if text.isdecimal() else text,
        choices=get_args(Detail),
        default=1,
        help="2 and 3 find small things, in 4 and 9 parts of a picture besides the whole of it; "
        "auto goes by its size (1)",
    )


def read_picture(options: argparse.Namespace) -> "Image.Image":
    """Read the picture, and refuse a `--save` that would fail after all the work."""
    from PIL import Image

    from groma.image import load_image

    target: Path | None = options.save
    if target and target.suffix.lower() not in Image.registered_extensions():
        raise GromaError(f"{target} has no ending of a picture; try {target.stem}.png.")
    if target and not target.parent.is_dir():
        raise GromaError(f"There is no folder {target.parent}.")
    return load_image(options.image)
