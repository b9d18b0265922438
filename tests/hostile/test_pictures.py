"""Model, browser, exports and programs see one frame, whatever a picture's format says."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps, PngImagePlugin

from app.finetune.own_examples import _take_picture
from app.shared.picture_files import displayable
from groma.image import PICTURE_ENDINGS, is_shown_alike, load_image
from groma.limits import MOST_BYTES
from groma.types import GromaError

TURN = 6
"""Orientation of a phone that is held upright."""
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
    b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
    b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)
"""The same in XMP alone."""


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
        *((kind, {"xmp": XMP}, False) for kind in ("AVIF", "WEBP", "JPEG")),
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
    assert (
        seen.size
        == browser.size
        == ((40, 60) if {"exif", "pnginfo", "xmp"} & {*options} else (60, 40))
    )
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


def test_a_motion_photo_is_the_jpeg_it_begins_with(tmp_path: Path) -> None:
    picture = tmp_path / "photo.jpg"
    _scene().save(picture, exif=_exif())
    picture.write_bytes(picture.read_bytes() + b"\0\0\0\x18ftypmp42" + bytes(100_000))
    assert displayable(picture) == picture
    assert load_image(picture).size == (40, 60)


@pytest.fixture
def heic(tmp_path: Path) -> Path:
    """A picture of a phone, turned, with a smaller one beside it."""
    pillow_heif = pytest.importorskip(
        "pillow_heif", reason="pillow-heif, which reads HEIC, is not installed"
    )
    pillow_heif.register_heif_opener()
    picture = tmp_path / "photo.heic"
    small = _scene().resize((30, 20))
    _scene().save(
        picture, "HEIF", exif=_exif().tobytes(), save_all=True, append_images=[small], quality=95
    )
    return picture


def test_pictures_of_phones_in_heic(heic: Path, tmp_path: Path) -> None:
    seen = load_image(heic)
    shown = displayable(heic)
    assert seen.size == (40, 60)
    assert shown.suffix == ".jpg"
    turned = _scene().transpose(Image.Transpose.ROTATE_270)
    assert np.abs(np.array(seen, float) - np.array(turned)).mean() < 3
    assert np.abs(np.array(seen, float) - np.array(_as_in_a_browser(shown))).mean() < 3
    made = shown.stat().st_ino
    assert displayable(heic).stat().st_ino == made
    assert _take_picture(heic, tmp_path).suffix == ".jpeg"
    assert heic.suffix in PICTURE_ENDINGS


def test_heic_that_is_cut_off_is_damaged(heic: Path) -> None:
    data = heic.read_bytes()
    for end in (12, 100, len(data) // 2, len(data) - 10):
        with pytest.raises(GromaError, match=r"damaged or cut off"):
            load_image(data[:end])


def test_what_reads_heic_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groma.image.find_spec", lambda _: None)
    with pytest.raises(GromaError, match="pip install pillow-heif"):
        load_image(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic")
