"""Boxes and labels on pictures, in one stable colour per region."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import supervision as sv
from PIL import Image, ImageFont

from groma.named_regions import RegionRef
from groma.shapes import Box

# Each stands out on white and on black (3:1 at least). A ring, searched for so that every colour is
# far from the four after it, for those too who lack one of three cones.
_PALETTE = (
    *("#e17800", "#b478e1", "#a53ca5", "#69690f", "#00875a", "#87962d", "#ff1ef0", "#9600d2"),
    *("#875a1e", "#ff0078", "#00a500", "#2d96ff", "#003cff", "#a53c3c", "#c36987", "#96872d"),
    *("#7887e1", "#5a4bb4", "#2d690f", "#00a578"),
)

_VEIL = 0.25
"""Opacity of the colour that lies over a mask."""


def region_colour(region_id: int) -> str:
    """The colour of `<rN>` wherever it is shown, as #rrggbb; readable on any background."""
    return _PALETTE[region_id % len(_PALETTE)]


def text_colour(background: str) -> str:
    """Black or white, as #rrggbb: whichever reads better on a colour of `region_colour`."""
    return "#000000" if _relative_luminance(background) > 0.18 else "#ffffff"


def _relative_luminance(colour: str) -> float:
    """Luminance of #rrggbb in [0, 1], as WCAG 2 defines it."""
    values = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def regions_to_detections(regions: Sequence[RegionRef], names: Sequence[str]) -> sv.Detections:
    """Regions as supervision knows them; one without a mask has its box's, where others have one.

    `names` are N names or phrases. Returns N boxes xyxy in pixels; `confidence` is the score,
    `class_id` the region id, and `data` has `class_name`, `objectness` and `user` (0 for a
    proposal).
    """
    sizes = [region.mask.size for region in regions if region.mask is not None]
    shapes = [region.mask or Box(*region.box) for region in regions]
    return sv.Detections(
        mask=np.stack([shape.mask(sizes[0]) for shape in shapes]) if sizes else None,
        xyxy=np.array([region.box for region in regions], dtype=np.float32).reshape(-1, 4),
        confidence=np.array([region.score for region in regions], dtype=np.float32),
        class_id=np.array([region.id for region in regions], dtype=int),
        data={
            "class_name": np.array(names, dtype=str),
            "objectness": np.array([region.objectness for region in regions], dtype=np.float32),
            "user": np.array([region.user or 0 for region in regions], dtype=int),
        },
    )


def draw_boxes(image: Image.Image, detections: sv.Detections, labels: Sequence[str]) -> Image.Image:
    """Draw N boxes, or the contours of masks where there are any, with N labels on a new picture.

    Boxes are xyxy in pixels of an RGB picture; what is drawn is sized to it.

    The boxes' `class_id` holds their region ids.
    """
    # Large boxes first, so that a small one inside stays visible.
    order = np.argsort(np.negative(detections.area), kind="stable")
    detections = detections.select(order)
    unit = max(1, round(min(image.size) / 200))
    fill = sv.ColorPalette.from_hex(list(_PALETTE))
    text = sv.ColorPalette.from_hex([text_colour(colour) for colour in _PALETTE])
    if detections.mask is None:
        lines = [sv.BoxAnnotator(color=fill, thickness=max(2, unit))]
    else:
        lines = [
            sv.MaskAnnotator(color=fill, opacity=_VEIL),
            sv.PolygonAnnotator(color=fill, thickness=max(2, unit)),
        ]
    scene = image.copy()
    for line in lines:
        scene = line.annotate(scene, detections)
    annotator = sv.RichLabelAnnotator(
        color=fill,
        text_color=text,
        font_path=_font(),
        font_size=max(12, 6 * unit),
        text_padding=max(3, unit),
        max_line_length=32,
        smart_position=True,
    )
    return annotator.annotate(scene, detections, [labels[i] for i in order])


@cache
def _font() -> str | None:
    """A font of this machine with more letters than Pillow's own, which knows ASCII alone."""
    for name in ("DejaVuSans.ttf", "Arial Unicode.ttf", "arial.ttf"):
        try:
            ImageFont.truetype(name)
        except OSError:
            continue
        return name
    return None
