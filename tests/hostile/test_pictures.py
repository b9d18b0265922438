"""Model, browser, exports and programs see one frame, whatever a picture's format says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from app.finetune.own_examples import _take_picture
from app.shared.picture_files import displayable
from groma.image import is_shown_alike, load_image
from groma.limits import MOST_BYTES

TURN = 6
"""Orientation of a phone that is held upright."""


def _scene() -> Image.Image:
    return Image.linear_gradient("L").resize((60, 40)).convert("RGB")


def _exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = TURN
    return exif


def _raw_profile() -> PngImagePlugin.PngInfo:
    """EXIF in a text chunk of PNG, as ImageMagick writes it."""
    raw = _exif().tobytes().hex()
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(raw) // 2:8}\n{raw}\n", zip=True)
    return info


def _as_in_a_browser(path: Path) -> Image.Image:
    """What the strictest browser shows: the first frame, turned only if it is a JPEG with EXIF."""
    with Image.open(path) as image:
        shown = image.convert("RGB")
        if image.format in ("JPEG", "MPO") and "exif" in image.info:
            shown = ImageOps.exif_transpose(image).convert("RGB")
        return shown


@pytest.mark.parametrize("name", ["exif.webp", "xmp.jpg", "xmp.png", "xmp.webp"])
def test_turned_pictures_are_shown_as_the_model_sees_them(
    case: Callable[[str], Path], name: str
) -> None:
    picture = case("orientation") / name
    shown = displayable(picture)
    seen, browser = load_image(picture), _as_in_a_browser(shown)
    assert seen.size == browser.size == (400, 600)
    assert np.abs(np.array(seen, float) - np.array(browser)).mean() < 2


@pytest.mark.parametrize(
    ("file_format", "options", "alike"),
    [
        ("JPEG", {"exif": _exif()}, True),
        ("JPEG", {}, True),
        ("PNG", {"exif": _exif()}, False),
        ("PNG", {"pnginfo": _raw_profile()}, False),
        ("WEBP", {"exif": _exif()}, False),
        ("AVIF", {"exif": _exif()}, False),
        ("AVIF", {}, True),
        ("TIFF", {}, False),
        *(
            (kind, {"save_all": True, "append_images": [Image.new("RGB", (60, 40))]}, False)
            for kind in ("GIF", "PNG", "WEBP", "AVIF")
        ),
    ],
)
def test_only_what_browsers_agree_on_is_trusted_to_them(
    tmp_path: Path, file_format: str, options: dict[str, Any], alike: bool
) -> None:
    picture = tmp_path / "picture"
    _scene().save(picture, file_format, **options)
    assert is_shown_alike(picture) == alike
    shown = displayable(picture)
    assert (shown == picture) == alike
    seen, browser = load_image(picture), _as_in_a_browser(shown)
    assert seen.size == browser.size
    assert np.abs(np.array(seen, float) - np.array(browser)).mean() < 3
    with Image.open(shown) as image:
        assert image.format == "MPO" or not getattr(image, "is_animated", False)


def test_phone_pictures_stay_the_jpeg_they_are(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    image, picture = Image.fromarray(noise), tmp_path / "photo.jpg"
    image.save(picture, "MPO", save_all=True, append_images=[image.resize((100, 75))])
    assert displayable(picture) == picture
    kept = _take_picture(picture, tmp_path)
    assert kept.suffix == ".jpeg"
    assert kept.read_bytes() == picture.read_bytes()


@pytest.mark.parametrize("file_format", ["WEBP", "JPEG2000", "AVIF"])
def test_photographs_that_are_shown_otherwise_stay_small(tmp_path: Path, file_format: str) -> None:
    """12 million pixels with the noise of a sensor are 34 MB of PNG, which nothing takes."""
    height, width = 300, 400
    noise = np.random.default_rng(1).normal(128, 7, (height, width, 3)).astype(np.uint8)
    picture = tmp_path / "photo"
    Image.fromarray(noise).save(picture, file_format, exif=_exif())
    shown = displayable(picture)
    assert shown.stat().st_size * (12_000_000 / (height * width)) < MOST_BYTES
