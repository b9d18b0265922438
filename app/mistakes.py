"""What went wrong, as one sentence on the page that names no place on the server."""

import logging
import re
from collections.abc import Callable
from html import escape
from typing import Any

import gradio as gr

from groma.types import GromaError

_log = logging.getLogger(__name__)

_FOLDERS = re.compile(r"(?<![\w./\\])(?:[A-Za-z]:)?[\\/](?:[^\\/:*?\"<>|\n]+[\\/])+")
"""Of an absolute path, all but its last part; a single folder or `and/or` is none."""


def without_folders(sentence: str) -> str:
    """A sentence whose absolute paths are reduced to the names of files."""
    return _FOLDERS.sub("", sentence)


def told(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose mistakes become a sentence on the page, which stays as it is."""

    def run(request: gr.Request, event: gr.EventData, *values: Any) -> Any:
        try:
            return handler(*values, *_wanted(handler, request, event))
        except Exception as error:
            warn(error)
            return gr.skip()

    return run


def _wanted(handler: Callable[..., Any], request: gr.Request, event: gr.EventData) -> list[Any]:
    """What a handler asks for beyond its inputs, by the types of its arguments."""
    kinds = getattr(handler, "__annotations__", {}).values()
    return [given for given in (request, event) if type(given) in kinds]


def warn(error: Exception) -> None:
    """Say on the page what went wrong; what nobody foresaw goes to the log instead."""
    sentence = without_folders(str(error))
    if not isinstance(error, GromaError):
        _log.error("The finetune tab failed", exc_info=error)
        sentence = "Something went wrong here; nothing was changed."
    gr.Warning(escape(sentence))
