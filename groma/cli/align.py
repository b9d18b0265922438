"""`groma align PICTURE`: which label fits a picture, by descriptions of its parts."""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groma.cli.options import add_model_options, add_picture_options, find_regions, read_picture
from groma.cli.terminal import format_box, format_table, printable, show
from groma.types import GromaError

if TYPE_CHECKING:
    from PIL import Image

    from groma.alignment import Alignment


def add(commands: Any) -> None:
    """`groma align PICTURE --labels FILE --descriptions FILE`."""
    parser = commands.add_parser("align", help="score labels by descriptions of a picture's parts")
    parser.add_argument("image", metavar="PICTURE")
    parser.add_argument(
        "--labels", type=Path, required=True, metavar="FILE.txt", help="one label a line"
    )
    parser.add_argument(
        "--descriptions",
        type=Path,
        required=True,
        metavar="FILE.json",
        help="label -> list of what such things look like",
    )
    score = parser.add_argument_group("score")
    score.add_argument(
        "--clip",
        default="openai/clip-vit-base-patch32",
        metavar="CLIP",
        help="a folder or a Hugging Face id (%(default)s)",
    )
    score.add_argument(
        "--views", choices=("regions", "crops"), default="regions", help="Groma's, or random ones"
    )
    score.add_argument("--num-crops", type=int, default=60, metavar="N")
    score.add_argument(
        "--smallest-crop", type=float, default=0.1, metavar="X", help="of the shorter side (0.1)"
    )
    score.add_argument(
        "--plain-sums",
        action="store_false",
        dest="unit_sums",
        help="as the paper writes it, without the norms that its code divides by",
    )
    score.add_argument("--seed", type=int, default=0, help="of the crops (0)")
    add_picture_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    image, descriptions = read_picture(options), _read(options.labels, options.descriptions)
    from groma.alignment import AlignmentSettings, Clip, align_picture

    names = ("num_crops", "smallest_crop", "unit_sums", "seed")
    settings = AlignmentSettings(**{name: getattr(options, name) for name in names})
    clip = Clip(options.clip)
    regions = find_regions(options, image) if options.views == "regions" else None
    alignment = align_picture(image, descriptions, clip, settings, regions)
    show(asdict(alignment) if options.json else _format(alignment))
    if options.save:
        _draw(image, alignment).save(options.save)


def _read(labels: Path, descriptions: Path) -> dict[str, list[str]]:
    """The labels with their descriptions, which may be none."""
    from pydantic import TypeAdapter, ValidationError

    try:
        names = [line.strip() for line in labels.read_text(encoding="utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise GromaError(f"{labels} is no text in UTF-8.") from error
    try:
        told = TypeAdapter(dict[str, list[str]]).validate_json(descriptions.read_bytes())
    except ValidationError as error:
        raise GromaError(f"{descriptions} must be JSON: for labels, lists of sentences.") from error
    if not any(names):
        raise GromaError(f"{labels} names no label.")
    return {name: told.get(name, []) for name in names if name}


def _format(alignment: "Alignment") -> str:
    """All scores, and which view each description of the best label fits."""
    best = next(iter(alignment.scores))
    scores = [(printable(label), f"{score:.4f}") for label, score in alignment.scores.items()]
    rows = [
        (printable(fit.description), format_box(alignment.views[fit.view]), f"{fit.similarity:.4f}")
        for fit in alignment.fits[best]
    ]
    table = format_table(("label", "score"), scores)
    fits = format_table((f"description of {printable(best)}", "box", "similarity"), rows)
    return f"{table}\n\n{fits}" if rows else table


def _draw(image: "Image.Image", alignment: "Alignment") -> "Image.Image":
    """The same on a new picture."""
    from groma.drawing.boxes import draw_boxes, regions_to_detections
    from groma.named_regions import RegionRef

    told: dict[int, list[str]] = {}
    for fit in alignment.fits[next(iter(alignment.scores))]:
        told.setdefault(fit.view, []).append(fit.description)
    names = ["; ".join(said) for said in told.values()]
    found = [RegionRef(view, alignment.views[view], 1.0, 1.0) for view in told]
    return draw_boxes(image, regions_to_detections(found, names), names)
