"""The option of commands that can make masks, and the maker that it names."""

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groma.masks.maker import MaskMaker


def add_masks_option(parser: Any, flag: str = "--masks") -> None:
    """Which maker is asked for the pixels of regions."""
    parser.add_argument(
        flag,
        nargs="?",
        const="grabcut",
        dest="mask_maker",
        metavar="MODEL",
        help="make masks of regions: by GrabCut, which is rough, or by a segmenter (SAM 2, "
        "EdgeTAM), a folder or an id of the Hugging Face Hub",
    )


def load_mask_maker(options: argparse.Namespace) -> "MaskMaker | None":
    """The maker, or None where nobody asked for masks.

    Raises:
        GromaError: if it cannot be loaded.
    """
    if options.mask_maker is None:
        return None
    from groma.masks.maker import load_maker

    return load_maker(options.mask_maker, options.device)
