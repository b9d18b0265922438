"""The picture border: files to RGB pictures to tensors, and boxes in pixels to boxes in [0, 1].

Sizes are (H, W); PIL's (W, H) is turned here and nowhere else. A picture is never reduced on the
way in, so boxes in pixels always mean the file's own pixels; one that would need too much memory
is refused before it is decoded.
"""

import math
import struct
import warnings
import zlib
from collections.abc import Sequence
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from groma.config import IMAGE_MEAN, IMAGE_STD
from groma.limits import MAX_PIXELS, MAX_SIDE
from groma.types import Box, GromaError, PixelInput, Size

MIN_BOX_SIDE = 0.01
"""Shortest side of a box in pixels: below it the box vanishes in single precision."""


# Named, because Pillow would also try formats that start another program (EPS) or match anything.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")
_JPEG = ("JPEG", "MPO")
"""MPO is how phones keep more pictures in one JPEG; everybody shows the first."""
_SHOWN_BY_BROWSERS = (*_JPEG, "PNG", "WEBP", "GIF", "BMP", "AVIF")
PICTURE_ENDINGS = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp"),
        *(".tif", ".tiff", ".avif", ".avifs", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heics", ".heif", ".heifs", ".hif"),
    )
)
"""Of file names, in small letters: what is looked for in folders and zips."""
_READABLE = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF, JPEG 2000 or PPM"
_HEIF = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""What files of phones say they are at their ninth byte; the last two may be AVIF as well."""

_ADVICE_ON_HEIF = "`pip install pillow-heif` makes it readable; or save the picture as JPEG"

# What Pillow's plugins were seen to raise over broken files and names.
_PILLOW_ERRORS = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, RuntimeError),
    *(MemoryError, struct.error, zlib.error, Image.DecompressionBombError),
)

_BICUBIC = Image.Resampling.BICUBIC

ImageSource = str | Path | bytes | Image.Image | np.ndarray


def load_image(source: ImageSource) -> Image.Image:
    """Read any picture as 8-bit RGB, upright, on white where it is transparent.

    It is a path, the bytes of a file, a PIL image in any mode, or an array (H, W), (H, W, 1),
    (H, W, 3) RGB or (H, W, 4) RGBA of bool, uint8, uint16 or floats in [0, 1]. EXIF rotation is
    applied, XMP's where there is none; 16-bit and floating-point greys are scaled, not clipped; of
    an animation the first frame is taken. Returns a new image of the upright picture's full size.

    Raises `GromaError` if there is no such file, it is no picture, it is empty or damaged, or it
    has more than `MAX_PIXELS` pixels, or more than `MAX_SIDE` on a side.
    """
    if isinstance(source, np.ndarray):
        return _convert(_from_array(source), "The array")
    if isinstance(source, Image.Image):
        return _convert(source, "The picture")
    with _open(source) as image:
        return _convert(image, _name(source))


def load_mask(source: str | Path | bytes) -> np.ndarray:
    """Read a mask (H, W) from a file of any size: what is opaque, or else what is bright.

    Where nothing is transparent, the thing is what is brighter than half of the brightest. Raises
    as `load_image`.
    """
    name = _name(source)
    with _open(source) as image:
        _check_size(image, name)
        try:
            image.load()
            upright = _upright(image)
            alpha = np.asarray(upright.convert("RGBA").getchannel("A"))
            levels = np.asarray(upright.convert("L")) if alpha.all() else alpha
        except _PILLOW_ERRORS as error:
            raise GromaError(_damaged(name)) from error
    return levels > levels.max() / 2


def is_shown_alike(source: str | Path | bytes) -> bool:
    """Whether every browser shows a file just as `load_image` reads it: upright, and one frame.

    Browsers turn a JPEG as its EXIF block says. What else may turn a picture (XMP, EXIF in other
    formats) some of them heed and some do not, and animations they play. Raises as `load_image`, of
    a file that does not open.
    """
    with _open(source) as image:
        _check_size(image, _name(source))
        if image.format not in _SHOWN_BY_BROWSERS:
            return False
        is_jpeg = image.format in _JPEG
        try:
            turn = image.getexif().get(ExifTags.Base.Orientation, 1)
            own = Image.Exif()
            own.load(image.info.get("exif", b""))
            is_animated = not is_jpeg and getattr(image, "is_animated", False)
        except _PILLOW_ERRORS:
            return False
        is_turned = turn in range(2, 9)
        return not is_animated and (not is_turned or (is_jpeg and ExifTags.Base.Orientation in own))


def is_photograph(source: str | Path | bytes) -> bool:
    """Whether a file is of a format that photographs are kept in, with a little loss."""
    with _open(source) as image:
        return image.format in (*_JPEG, "WEBP", "AVIF", "JPEG2000", "HEIF")


def to_pixels(image: Image.Image, image_size: int, windows: Tensor | None = None) -> PixelInput:
    """Resize an RGB picture to the image encoder's square and normalise it.

    `image_size` is S, the side in pixels; the aspect ratio is not kept. `windows` (T, 4), xyxy in
    [0, 1], are tiles of the picture that are wanted besides. Returns pixels in float32.
    """
    size = image.height, image.width
    windows = torch.zeros(0, 4) if windows is None else windows
    whole, *tiles = (
        torch.from_numpy(np.array(image.resize((image_size, image_size), _BICUBIC, box)))
        for box in (None, *boxes_to_pixels(windows, size))
    )
    pixels = normalise_pixels(torch.stack([whole, *tiles]).permute(0, 3, 1, 2)).contiguous()
    return PixelInput(pixels[0], size, windows, pixels[1:])


def normalise_pixels(pixels: Tensor) -> Tensor:
    """Apply the ImageNet statistics to (..., 3, H, W) values from 0 to 255.

    Returns the same shape in float32, as the image encoder wants it.
    """
    mean, std = (
        torch.tensor(values, device=pixels.device)[:, None, None]
        for values in (IMAGE_MEAN, IMAGE_STD)
    )
    # In place, on a copy: memory for every step takes longer than the steps.
    return pixels.to(torch.float32, copy=True).div_(255).sub_(mean).div_(std)


def check_boxes(boxes_px: Sequence[Sequence[float]], size: Size, limit: int) -> list[Box]:
    """Validate boxes a person drew or typed, and cut what hangs over the picture's edge.

    They are x1, y1, x2, y2 in pixels of a picture of size (H, W); so are those that are returned,
    inside the picture and at least `MIN_BOX_SIDE` wide and high. Raises `GromaError`, naming the
    first box that is not four finite numbers, is inverted or empty, or lies outside the picture; or
    if there are more than `limit`.
    """
    if len(boxes_px) > limit:
        raise GromaError(f"{len(boxes_px)} boxes are too many: at most {limit} can be given.")
    return [check_box(box, size, number) for number, box in enumerate(boxes_px, start=1)]


def normalise_boxes(boxes_px: Sequence[Sequence[float]], size: Size) -> Tensor:
    """Map boxes xyxy in pixels of a picture (H, W) to the frame every tensor uses.

    `check_boxes` has checked them. Returns (N, 4) float32 xyxy in [0, 1].
    """
    boxes = torch.tensor(boxes_px, dtype=torch.float64).reshape(-1, 4)
    return (boxes / _scale(size)).float()


def boxes_to_pixels(boxes: Tensor, size: Size) -> list[Box]:
    """Map (N, 4) boxes xyxy in [0, 1] back to pixels of a picture (H, W), also xyxy.

    What a prediction has beyond the picture's edge is cut.
    """
    boxes_px = boxes.detach().cpu().double().clamp(0, 1) * _scale(size)
    return [(x1, y1, x2, y2) for x1, y1, x2, y2 in boxes_px.tolist()]


def _scale(size: Size) -> Tensor:
    """(4,) width, height, width, height of a picture of `size` (H, W)."""
    height, width = size
    return torch.tensor([width, height, width, height], dtype=torch.float64)


def check_box(box_px: Sequence[float], size: Size, number: int) -> Box:
    """Validate one box, see `check_boxes`; `number` counts from 1 and names it in messages."""
    try:
        x1, y1, x2, y2 = (float(value) for value in box_px)
    except (TypeError, ValueError, OverflowError) as error:
        raise GromaError(f"Box {number} must be four numbers x1, y1, x2, y2 in pixels.") from error
    if not all(math.isfinite(value) for value in (x1, y1, x2, y2)):
        raise GromaError(f"Box {number} has a coordinate that is not a finite number.")
    if x1 > x2 or y1 > y2:
        raise GromaError(f"Box {number} is inverted: x1, y1 must be above and left of x2, y2.")
    if min(x2 - x1, y2 - y1) < MIN_BOX_SIDE:
        raise GromaError(f"Box {number} has no area.")
    height, width = size
    left, right = max(x1, 0.0), min(x2, float(width))
    top, bottom = max(y1, 0.0), min(y2, float(height))
    if min(right - left, bottom - top) < MIN_BOX_SIDE:
        raise GromaError(f"Box {number} lies outside the picture of {width} x {height} pixels.")
    return left, top, right, bottom


def _name(source: str | Path | bytes) -> str:
    """What messages call a picture."""
    return "The picture" if isinstance(source, bytes) else str(source)


def _open(source: str | Path | bytes) -> Image.Image:
    """Read as much of a file as tells its format and size."""
    file = BytesIO(source) if isinstance(source, bytes) else source
    try:
        with warnings.catch_warnings(action="ignore", category=Image.DecompressionBombWarning):
            return Image.open(file, formats=_formats(source))
    except _PILLOW_ERRORS as error:
        raise GromaError(_why_not_opened(source, error)) from error


def _formats(source: str | Path | bytes) -> tuple[str, ...]:
    """What a file may be; HEIF only where it says so and pillow-heif is installed."""
    if not (_says_heif(source) and _has_heif()):
        return _FORMATS
    import pillow_heif  # late: few pictures need it

    pillow_heif.register_heif_opener()
    return (*_FORMATS, "HEIF")


def _has_heif() -> bool:
    return find_spec("pillow_heif") is not None


def _says_heif(source: str | Path | bytes) -> bool:
    if isinstance(source, bytes):
        head = source[:12]
    else:
        with Path(source).open("rb") as file:
            head = file.read(12)
    return head[4:8] == b"ftyp" and head[8:] in _HEIF


def _why_not_opened(source: str | Path | bytes, error: Exception) -> str:
    """Explain in one sentence why a file could not be opened."""
    name = _name(source)
    match error:
        case FileNotFoundError():
            return f"There is no file {name}."
        case IsADirectoryError():
            return f"{name} is a folder, not a picture."
        case Image.DecompressionBombError():
            return _too_large(name)
        case UnidentifiedImageError() if _says_heif(source):
            return _damaged(name) if _has_heif() else f"{name} is HEIC: {_ADVICE_ON_HEIF}."
        case UnidentifiedImageError():
            num_bytes = len(source) if isinstance(source, bytes) else Path(source).stat().st_size
            return f"{name} is {f'not a {_READABLE} picture' if num_bytes else 'empty'}."
        case OSError(strerror=str(reason)):
            return f"{name} cannot be opened: {reason}."
        case _:
            return _damaged(name)


def _too_large(name: str) -> str:
    """Explain in one sentence why a picture was not decoded."""
    limit = MAX_PIXELS // 1_000_000
    return f"{name} is too large: at most {limit} million pixels can be read, please reduce it."


def _damaged(name: str) -> str:
    """Explain in one sentence why decoding stopped."""
    return f"{name} is damaged or cut off and cannot be decoded."


def _convert(image: Image.Image, name: str) -> Image.Image:
    """Decode, rotate upright and convert to RGB."""
    _check_size(image, name)
    try:
        image.load()
        return _to_rgb(_upright(image))
    except _PILLOW_ERRORS as error:
        raise GromaError(_damaged(name)) from error


def _check_size(image: Image.Image, name: str) -> None:
    """Refuse a picture that would need too much memory before it is decoded."""
    if not image.width * image.height:
        raise GromaError(f"{name} has no pixels.")
    if image.width * image.height > MAX_PIXELS:
        raise GromaError(_too_large(name))
    if max(image.size) > MAX_SIDE:
        raise GromaError(
            f"{name} is too long: at most {MAX_SIDE:,} pixels a side can be read, please cut it."
        )


def _upright(image: Image.Image) -> Image.Image:
    """Copy of a decoded image, turned as EXIF, or else XMP, says where that can be read."""
    try:
        return ImageOps.exif_transpose(image)
    except _PILLOW_ERRORS:
        return image.copy()


def _to_rgb(image: Image.Image) -> Image.Image:
    """Convert a decoded image of any mode to RGB."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return _scale_to_8_bit(np.asarray(image)).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=image)
    return white


def _scale_to_8_bit(values: np.ndarray) -> Image.Image:
    """Map deep greys (H, W) to 8 bit: black is 0, white 65535, or 1 for floats, or the maximum.

    The maximum is white only where it exceeds the usual white, as in elevation or depth maps.
    """
    is_float = np.issubdtype(values.dtype, np.floating)
    values = np.nan_to_num(values.astype(np.float32), copy=False, posinf=0, neginf=0)
    white = max(values.max(), 1.0 if is_float else 65535.0)
    values *= 255 / white
    return Image.fromarray(values.clip(0, 255, out=values).round(out=values).astype(np.uint8))


def _from_array(array: np.ndarray) -> Image.Image:
    """Make an image of an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    is_colour = array.ndim == 3 and array.shape[2] in (3, 4)
    if array.ndim != 2 and not is_colour:
        raise GromaError(
            f"An array of shape {array.shape} is no picture: "
            "it must be (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."
        )
    if array.size > 4 * MAX_PIXELS:
        raise GromaError(_too_large("The array"))
    return Image.fromarray(_array_to_8_bit(array))


def _array_to_8_bit(array: np.ndarray) -> np.ndarray:
    """Scale the values of an array of any supported type to uint8."""
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * 255
    if array.dtype == np.uint16:
        return np.round(array / np.float32(257)).astype(np.uint8)
    if np.issubdtype(array.dtype, np.floating) and ((array >= 0) & (array <= 1)).all():
        return np.round(array.astype(np.float32) * 255).astype(np.uint8)
    raise GromaError("An array must hold bool, uint8, uint16 or floating-point values in [0, 1].")
