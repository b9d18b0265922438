"""Gradio's components, where those of Gradio tell too much or leave something behind."""

from typing import Any

import gradio as gr
from gradio.data_classes import FileData, ListFiles


class SentFile(gr.File):
    """Files that somebody sent, as paths; Gradio's own leaves an empty file beside each."""

    is_template = True  # to browsers, what it is made of

    def preprocess(self, payload: ListFiles | FileData | None) -> Any:
        """The path, or a list of them."""
        return _paths(payload)


class SendButton(gr.UploadButton):
    """The same behind a button."""

    is_template = True

    def preprocess(self, payload: ListFiles | FileData | None) -> Any:
        """The path, or a list of them."""
        return _paths(payload)


class Kept(gr.State):
    """What the server keeps of a visitor; Gradio's own tells browsers where functions lie."""

    is_template = True

    def get_config(self) -> dict[str, Any]:
        """What browsers are told about it."""
        config = super().get_config()
        return {name: value for name, value in config.items() if not callable(value)}


def _paths(payload: ListFiles | FileData | None) -> Any:
    if isinstance(payload, ListFiles):
        return [file.path for file in payload.root]
    return None if payload is None else payload.path
