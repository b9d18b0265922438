"""Boxes and labels on pictures, in one stable colour per region."""

from collections.abc import Sequence
from functools import cache

import numpy as np
import supervision as sv
from PIL import Image, ImageDraw, ImageFont

from groma.named_regions import RegionRef
from groma.shapes import Box, Mask, Point, Polygon, Scribble, Shape
from groma.types import Size

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


def draw_boxes(
    image: Image.Image,
    detections: sv.Detections,
    labels: Sequence[str],
    shapes: Sequence[Shape | None] = (),
) -> Image.Image:
    """Draw N regions and their labels on a new picture, each once.

    A region is what its user drew, of N `shapes`, if any; else the contour of its mask, where there
    are masks, or its box. A point is a dot in the box of what it means.

    Boxes are xyxy in pixels of an RGB picture; what is drawn is sized to it. The boxes' `class_id`
    holds their region ids.
    """
    # Large boxes first, so that a small one inside stays visible.
    order = np.argsort(np.negative(detections.area), kind="stable")
    detections = detections.select(order)
    drawn = [shapes[row] for row in order] if shapes else [None] * len(order)
    unit = max(1, round(min(image.size) / 200))
    fill = sv.ColorPalette.from_hex(list(_PALETTE))
    text = sv.ColorPalette.from_hex([text_colour(colour) for colour in _PALETTE])
    boxed, outlined = _boxed_and_outlined(detections, drawn, (image.height, image.width))
    scene = sv.BoxAnnotator(color=fill, thickness=max(2, unit)).annotate(image.copy(), boxed)
    if len(outlined):
        scene = sv.MaskAnnotator(color=fill, opacity=_VEIL).annotate(scene, outlined)
        scene = sv.PolygonAnnotator(color=fill, thickness=max(2, unit)).annotate(scene, outlined)
    assert detections.class_id is not None
    for shape, region in zip(drawn, detections.class_id, strict=True):
        if isinstance(shape, Point):
            _draw_dot(scene, shape, 3 * unit, region_colour(region))
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


def _boxed_and_outlined(
    detections: sv.Detections, drawn: Sequence[Shape | None], size: Size
) -> tuple[sv.Detections, sv.Detections]:
    """Regions of which boxes are drawn, and those of which pixels are, in a picture (H, W)."""
    masks: list[np.ndarray | None] = [None] * len(drawn)
    if detections.mask is not None:
        masks = list(detections.mask)
    for row, shape in enumerate(drawn):
        if isinstance(shape, Mask) or (
            detections.mask is None and isinstance(shape, Polygon | Scribble)
        ):
            masks[row] = shape.mask(size)
    rows = np.array([mask is not None for mask in masks], dtype=bool)
    outlined = detections.select(rows)
    if len(outlined):
        outlined.mask = np.stack([mask for mask in masks if mask is not None])
    return detections.select(~rows), outlined


def _draw_dot(scene: Image.Image, point: Point, radius: int, colour: str) -> None:
    place = (point.x - radius, point.y - radius, point.x + radius, point.y + radius)
    draw = ImageDraw.Draw(scene)
    draw.ellipse(place, fill=colour, outline=text_colour(colour), width=max(1, radius // 4))


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
