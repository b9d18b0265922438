"""What commands share: options of models, pictures and masks, and what they mean."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from groma.embedded import DEFAULT_MODEL
from groma.types import Detail, GromaError

if TYPE_CHECKING:
    from PIL import Image

    from groma.chat.chat import Groma
    from groma.named_regions import Region
    from groma.text.template import Template


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Options of a command that needs a model; see `load_model`."""
    group = parser.add_argument_group("model")
    group.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="groma-photo, groma-mini, a folder or a Hugging Face id (%(default)s)",
    )
    group.add_argument("--quantization", choices=("none", "8bit", "4bit"))
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, …")
    group.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")


def add_at_once_option(parser: argparse._ActionsContainer, default: int) -> None:
    """`--at-once N`."""
    parser.add_argument(
        "--at-once",
        type=positive,
        default=default,
        metavar="N",
        help="answers made together (%(default)s)",
    )


def positive(said: str) -> int:
    """A whole number from 1."""
    if not (said.isdecimal() and int(said) >= 1):
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {said}")
    return int(said)


def add_adapter_option(parser: argparse.ArgumentParser, purpose: str) -> None:
    """`--adapter FOLDER`, with what it is for."""
    parser.add_argument("--adapter", type=Path, metavar="FOLDER", help=purpose)


def load_model(options: argparse.Namespace, adapter: Path | None = None) -> "Groma":
    """The model that the options of `add_model_options` name."""
    import groma

    device, dtype = options.device, options.dtype
    return groma.load(options.model, options.quantization, device, dtype, adapter=adapter)


def load_template(source: str) -> "Template":
    """How the text of a model is spelt."""
    from groma.checkpoint.load import load_tokenizer, read_config, resolve
    from groma.text.template import Template
    from groma.tokens import TokenIds

    folder = resolve(source)
    return Template(load_tokenizer(folder), TokenIds.of(read_config(folder)))


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


def find_regions(options: argparse.Namespace, image: "Image.Image") -> "tuple[Region, ...]":
    """What the model finds in a picture, with the options of `add_picture_options`."""
    names = ("score_threshold", "max_regions", "detail")
    return load_model(options).regions(image, **{name: getattr(options, name) for name in names})


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
