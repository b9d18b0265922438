"""The style sheets of the page."""

from pathlib import Path

_HERE = Path(__file__).parents[1]
_NAMES = ("canvas/region_canvas.css", "chat/talk.css", "finetune/finetune.css")


def read_styles() -> str:
    """All style sheets; for the page's head, because Gradio rewrites those it is given."""
    return "\n".join((_HERE / name).read_text("utf-8") for name in _NAMES)
