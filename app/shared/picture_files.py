"""Picture files that people sent."""

import base64
import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from uuid import uuid4

from gradio.utils import get_upload_folder
from PIL import Image

from groma.atomic_file import replacing
from groma.image import is_photograph, is_shown_alike, load_image
from groma.limits import MOST_BYTES
from groma.types import GromaError

GONE = "The picture is gone; please choose it again."

_THUMBNAIL = 320
_QUALITY = 95
"""Of a JPEG made for the browser, where nobody sees a difference."""


def read_picture(picture: Path) -> Image.Image:
    """Read a file without ever telling where it lies.

    Args:
        picture: a file.

    Returns:
        The upright RGB picture.

    Raises:
        GromaError: if it cannot be read.
    """
    try:
        if (size := picture.stat().st_size) > MOST_BYTES:
            raise GromaError(
                f"The picture's file has {size / 1e6:.0f} MB; at most {MOST_BYTES / 1e6:.0f} MB "
                "can be opened, so save it smaller."
            )
        content = picture.read_bytes()
    except OSError as error:
        raise GromaError(GONE) from error
    return load_image(content)


def keep_file(picture: Path) -> None:
    """Let a picture in use stay: Gradio removes uploads by the time since they were touched.

    Args:
        picture: a file; those that nobody uploaded stay anyway.
    """
    if picture.is_relative_to(get_upload_folder()):
        with suppress(OSError):
            os.utime(picture)


def add_folder() -> Path:
    """A folder whose files Gradio removes as it does uploads, once a component has shown them."""
    folder = Path(get_upload_folder()) / uuid4().hex
    folder.mkdir(parents=True)
    return folder


def displayable(picture: Path) -> Path:
    """A file of the same upright pixels that every browser shows.

    Args:
        picture: a file that `read_picture` reads.

    Returns:
        The file itself, or a copy beside it, made once: JPEG of photographs, PNG of others.

    Raises:
        GromaError: if there is no such file any more.
    """
    try:
        content = picture.read_bytes()
    except OSError as error:
        raise GromaError(GONE) from error
    if is_shown_alike(content):
        return picture
    is_small = is_photograph(content)
    copy = picture.with_suffix(".shown.jpg" if is_small else ".shown.png")
    if not copy.is_file():
        image = load_image(content)
        with replacing(copy) as file:
            if is_small:
                image.save(file, "JPEG", quality=_QUALITY, subsampling=0)
            else:
                image.save(file, "PNG")
    return copy


def to_thumbnail(image: Image.Image) -> str:
    """A small version of a picture, as a data URI."""
    small = image.copy()
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    file = BytesIO()
    small.save(file, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
