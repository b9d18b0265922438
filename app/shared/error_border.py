"""What went wrong, as one sentence that names no place on the server and is no markup.

Everything that people or programs are told passes here: the page reads what it is told as HTML.
"""

import logging
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from html import escape
from inspect import isgeneratorfunction
from typing import Any

import gradio as gr

from groma.limits import LONGEST_NAME
from groma.types import GromaError

_log = logging.getLogger(__name__)

UNFORESEEN = "Something went wrong here; nothing that was said or typed is lost."

_FOLDERS = re.compile(r"(?<![\w./\\])(?:[A-Za-z]:)?[\\/](?:[^\\/:*?\"<>|\n]+[\\/])+")
"""Of an absolute path, all but its last part; a single folder or `and/or` is none."""


def without_folders(sentence: str) -> str:
    """A sentence whose absolute paths are reduced to the names of files."""
    return _FOLDERS.sub("", sentence)


def sentence_about(error: Exception) -> str:
    """What to tell people; what nobody foresaw goes to the log instead."""
    if isinstance(error, GromaError):
        return without_folders(str(error))
    _log.error("A visitor's request failed", exc_info=error)
    if isinstance(error, OSError) and error.strerror:
        return f"A file cannot be read or written here: {error.strerror}; nothing was changed."
    return UNFORESEEN


def warn(sentence: str) -> None:
    """Say something on the page."""
    gr.Warning(escape(sentence))


def note(sentence: str) -> None:
    """Say on the page that something was done."""
    gr.Info(escape(sentence))


def told(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler, or one that yields, whose mistakes become a sentence on the page, which stays."""

    @wraps(handler)  # Gradio reads what it is to be given
    def run(*given: Any) -> Any:
        try:
            return handler(*given)
        except Exception as error:
            warn(sentence_about(error))
            return gr.skip()

    @wraps(handler)
    def grow(*given: Any) -> Generator[Any]:
        try:
            yield from handler(*given)
        except Exception as error:
            warn(sentence_about(error))
            yield gr.skip()

    return grow if isgeneratorfunction(handler) else run


@contextmanager
def answered() -> Generator[None]:
    """Mistakes go as one sentence to the program that asked; it is told text, not markup."""
    try:
        yield
    except Exception as error:
        raise gr.Error(sentence_about(error), print_exception=False) from error


def tab_of(request: gr.Request) -> str:
    """The id of the browser tab that asks.

    Raises:
        GromaError: if it has none, or calls itself something that no page does.
    """
    name = request.session_hash
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME:
        raise GromaError("The page does not say which browser tab it is; please load it again.")
    return name
