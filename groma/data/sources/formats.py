"""Every format of paper Tab. 1 by the name that configurations call it."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from groma.data.sources import coco, flickr, grit, open_images, refer, sa1b, visual_genome
from groma.data.sources import llava as conversations
from groma.data.sources.items import Items
from groma.types import GromaError

FORMATS: Mapping[str, Callable[..., Items]] = {
    "coco": coco.open_coco,
    "openimages": open_images.open_images,
    "sa1b": sa1b.open_sa1b,
    "conversations": conversations.open_conversations,
    "groma-instruct": conversations.open_groma_instruct,
    "grit": grit.open_grit,
    "flickr30k": flickr.open_flickr30k,
    "flickr-json": coco.open_flickr_json,
    "visual-genome": visual_genome.open_visual_genome,
    "refer": refer.open_refer,
    "expressions": coco.open_expressions,
    "region-captions": coco.open_region_captions,
}
"""What opens a file: (annotations, cache, options by name) -> items."""


def read_options(format_name: str, given: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Check the options of a format.

    Args:
        format_name: one of `FORMATS`.
        given: options as a configuration has them.
        root: folder that relative paths start from.

    Returns:
        The options, with paths in full.

    Raises:
        GromaError: if the format or an option is unknown, one is missing, or a value is wrong.
    """
    if format_name not in FORMATS:
        raise GromaError(f"There is no format {format_name!r}; use one of {', '.join(FORMATS)}.")
    opener = FORMATS[format_name]
    hints = get_type_hints(opener)
    known = {
        name: parameter
        for name, parameter in inspect.signature(opener).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    for name in given.keys() - known.keys():
        options = ", ".join(known) or "none"
        raise GromaError(f"Format {format_name} has no option {name!r}; it knows {options}.")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in given:
            raise GromaError(f"Format {format_name} needs the option {name!r}.")
    return {name: _read(name, value, hints[name], root) for name, value in given.items()}


def _read(name: str, value: Any, wanted: Any, root: Path) -> Any:
    """One value as the type that the function asks for."""
    choices = get_args(wanted) if get_origin(wanted) is Literal else ()
    if choices and value not in choices:
        raise GromaError(f"{name} must be one of {', '.join(choices)}, not {value!r}.")
    if wanted is int and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise GromaError(f"{name} must be a whole number from 1, not {value!r}.")
    if Path in (wanted, *get_args(wanted)) and isinstance(value, str):
        return root / value
    if not choices and wanted is not int and not isinstance(value, str | NoneType):
        raise GromaError(f"{name} must be text, not {value!r}.")
    return value
