"""Which model a command uses: its options, and the model they mean."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from groma.embedded import DEFAULT_MODEL

if TYPE_CHECKING:
    from groma.chat.chat import Groma
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
        type=_at_once,
        default=default,
        metavar="N",
        help="answers made together (%(default)s)",
    )


def _at_once(said: str) -> int:
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
