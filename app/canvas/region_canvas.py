"""The region canvas: a picture with boxes that people draw and boxes that replies mean."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData, GradioModel
from pydantic import Field

from groma.config import NUM_REGION_TOKENS
from groma.types import Box

from ..shared.scripts import starting
from .shown_boxes import shown_boxes

HERE = Path(__file__).parent


class CanvasValue(GradioModel):
    """What a browser sends.

    Attributes:
        image: the picture's file.
        regions: drawn and not yet asked about; see `read_shape`, which is yet to look at them.
    """

    image: FileData | None = None
    regions: list[Box | dict[str, Any]] = Field(default_factory=list, max_length=NUM_REGION_TOKENS)


@dataclass(frozen=True)
class Drawing:
    """What a handler gets and gives.

    Attributes:
        picture: the file, or None.
        regions: drawn and not yet asked about, as JSON; see `read_shape`.
    """

    picture: Path | None = None
    regions: tuple[Any, ...] = ()

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Those that are boxes, xyxy in pixels."""
        return tuple(region for region in self.regions if not isinstance(region, dict))


class Canvas(gr.HTML):
    """A picture on which people draw with mouse, touch and keyboard.

    Args:
        value: the picture and what is being drawn; only the browser changes that, so what replies
            mean arrives in `shown` and disturbs nobody who is drawing.
        shown: see `shown_boxes`.
        ticket: see `Sessions.ticket`; without one the browser tab keeps nothing.
        options: of every Gradio component.
    """

    data_model = CanvasValue

    templates: tuple[Path, ...] = (HERE / "region_canvas.html",)
    script = "canvas/region_canvas.js"

    def __init__(
        self,
        value: Drawing | None = None,
        shown: dict[str, Any] | None = None,
        ticket: str = "",
        **options: Any,
    ) -> None:
        super().__init__(
            value,
            html_template=_read(self.templates),
            css_template=(HERE / "region_canvas.css").read_text(encoding="utf-8"),
            js_on_load=starting(
                self.script, "picture", "quick", "withdraw", "example", "former", "masks"
            ),
            apply_default_css=False,
            shown=shown or shown_boxes(None),
            ticket=ticket,
            **options,
        )

    def __getattr__(self, name: str) -> Any:
        """An event of the page; Gradio takes everything that the scripts name for one."""
        if name in ("shown", "ticket"):
            raise AttributeError(name)
        return super().__getattr__(name)

    def preprocess(self, payload: CanvasValue | None) -> Drawing:  # ty: ignore[incompatible-method-override]
        """Read what the browser sent; Gradio has checked that the file is its own."""
        if payload is None:
            return Drawing()
        return Drawing(Path(payload.image.path) if payload.image else None, tuple(payload.regions))

    def postprocess(self, value: Drawing | None) -> CanvasValue:  # ty: ignore[incompatible-method-override]
        """What the browser gets."""
        if value is None or value.picture is None:
            return CanvasValue()
        return CanvasValue(image=FileData(path=str(value.picture)), regions=list(value.regions))

    def example_payload(self) -> Any:
        """A value as the browser sends it."""
        return {"image": None, "regions": []}

    def example_value(self) -> Any:
        """A value as a handler gives it."""
        return Drawing()

    def api_info(self) -> dict[str, Any]:
        """The value's JSON schema."""
        return CanvasValue.model_json_schema()


def _read(files: tuple[Path, ...]) -> str:
    return "\n".join(file.read_text(encoding="utf-8") for file in files)
