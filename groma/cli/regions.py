"""`groma regions IMAGE`: what the region proposer finds."""

import argparse
from typing import Any

from groma.cli.options import add_model_options, add_picture_options, find_regions, read_picture
from groma.cli.terminal import format_box, format_table, show


def add(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("regions", help="show what the region proposer finds")
    parser.add_argument("image", metavar="IMAGE")
    add_picture_options(parser)
    add_model_options(parser)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    from groma.drawing.boxes import draw_boxes, regions_to_detections

    image = read_picture(options)
    regions = find_regions(options, image)
    if options.json:
        size = [image.height, image.width]
        show({"image_size": size, "regions": [region.to_dict() for region in regions]})
    else:
        rows = [(f"r{r.id}", format_box(r.box), f"{r.objectness:.3f}") for r in regions]
        show(format_table(("id", "box", "objectness"), rows))
    if options.save:
        names = [f"r{region.id}" for region in regions]
        found = regions_to_detections([region.ref(region.objectness) for region in regions], names)
        labels = [f"{r.id} {r.objectness:.2f}" for r in regions]
        draw_boxes(image, found, labels).save(options.save)
