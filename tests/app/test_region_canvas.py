"""What the canvas takes from browsers and gives them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from app.canvas.region_canvas import Canvas, CanvasValue, Drawing

FILE = {"path": "x.png", "meta": {"_type": "gradio.FileData"}}


def test_drawing_goes_round() -> None:
    canvas = Canvas()
    drawing = Drawing(Path("x.png"), ((1.0, 2.0, 3.0, 4.0),))
    assert canvas.preprocess(canvas.postprocess(drawing)) == drawing
    assert canvas.preprocess(None) == Drawing()
    assert canvas.postprocess(None) == CanvasValue()


@pytest.mark.parametrize(
    "value",
    [
        {"regions": [[1, 2, 3]]},
        {"regions": [["a", 2, 3, 4]]},
        {"regions": [[1, 2, 3, 4]] * 101},
        {"image": "/etc/passwd"},
        {"image": {"url": "http://169.254.169.254/"}},
    ],
)
def test_forged_values_are_refused(value: dict) -> None:
    with pytest.raises(ValidationError):
        CanvasValue.model_validate(value)


def test_templates_have_nothing_to_fill_in() -> None:
    """Gradio would evaluate it, and a template that changes is drawn anew."""
    template = Canvas().html_template
    assert not any(mark in template for mark in ("${", "{{", "`", "\\"))
