"""Every format of paper Tab. 1 by the name that configurations call it."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, create_model

from groma.data.checked_tables import Table, check_table
from groma.data.sources import coco, flickr, grit, open_images, refer, sa1b, visual_genome
from groma.data.sources import llava as conversations
from groma.data.sources.items import Samples
from groma.types import GromaError

FORMATS: Mapping[str, Callable[..., Samples]] = {
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
"""What opens a file: (annotations, cache, options by name) -> samples."""


def read_options(format_name: str, given: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Check the options of a format, which are the keyword arguments of what opens it.

    Returns them with paths in full, from `root` on. Raises `GromaError` if the format or an option
    is unknown, one is missing, or a value is wrong.
    """
    if format_name not in FORMATS:
        raise GromaError(f"There is no format {format_name!r}; use one of {', '.join(FORMATS)}.")
    signature = inspect.signature(FORMATS[format_name], eval_str=True)
    fields: dict[str, Any] = {
        name: (parameter.annotation, _field(parameter))
        for name, parameter in signature.parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY
    }
    model = create_model(format_name, __base__=Table, **fields)
    options = check_table(model, given, f"Format {format_name}", "option")
    values = options.model_dump(exclude_unset=True)
    return {n: root / value if isinstance(value, Path) else value for n, value in values.items()}


def _field(parameter: inspect.Parameter) -> Any:
    """What an option must be."""
    default = ... if parameter.default is parameter.empty else parameter.default
    if parameter.annotation is int:
        return Field(default, strict=True, ge=1, description="a whole number from 1")
    choices = [choice for choice in get_args(parameter.annotation) if isinstance(choice, str)]
    return Field(default, description=f"one of {', '.join(choices)}" if choices else "text")
