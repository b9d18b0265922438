import io
import math
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from groma.image import (
    MAX_PIXELS,
    MIN_BOX_SIDE,
    boxes_to_pixels,
    check_boxes,
    load_image,
    normalise_boxes,
    to_pixels,
)
from groma.types import Box, GromaError, Size

RED, WHITE = (255, 0, 0), (255, 255, 255)
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM")


def encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def first_row(image: Image.Image) -> list[int]:
    """Red values of the top row."""
    return np.array(image)[0, :, 0].tolist()


def noise(height: int = 48, width: int = 64, channels: int = 3) -> Image.Image:
    values = np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(values)


def png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(99)))


def refusal(source: Any) -> str:
    """The message of the refusal, checked to be one sentence."""
    with pytest.raises(GromaError) as caught:
        load_image(source)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


class TestLoadImage:
    def test_all_kinds_of_source_agree(self, tmp_path: Path) -> None:
        image = noise()
        path = tmp_path / "picture"
        path.write_bytes(encode(image, "PNG"))
        for source in (path, str(path), path.read_bytes(), image, np.array(image)):
            assert load_image(source).tobytes() == image.tobytes()

    @pytest.mark.parametrize("file_format", FORMATS)
    def test_formats(self, file_format: str) -> None:
        loaded = load_image(encode(Image.new("RGB", (64, 48), (200, 100, 50)), file_format))
        assert (loaded.mode, loaded.size) == ("RGB", (64, 48))
        assert np.abs(np.array(loaded)[10, 10] - (200.0, 100.0, 50.0)).max() < 9

    def test_never_returns_the_callers_image(self) -> None:
        image = noise()
        load_image(image).putpixel((0, 0), RED)
        assert image.tobytes() == noise().tobytes()

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
    def test_exif_rotation_is_applied_once(self, file_format: str) -> None:
        image = Image.new("RGB", (64, 48), "blue")
        image.paste("red", (0, 0, 64, 8))
        exif = image.getexif()
        exif[0x0112] = 6
        upright = load_image(encode(image, file_format, exif=exif))
        assert upright.size == (48, 64)
        assert first_row(upright)[46] > 200
        assert load_image(upright).size == (48, 64)

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
    def test_broken_exif_does_not_matter(self, file_format: str) -> None:
        data = encode(noise(), file_format, exif=b"Exif\0\0not an exif block")
        assert load_image(data).size == (64, 48)

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "RGBa"])
    def test_transparency_is_composited_on_white(self, mode: str) -> None:
        image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
        image.putpixel((1, 1), (0, 0, 0, 255))
        image.putpixel((2, 2), (0, 0, 0, 128))
        if mode == "LA":
            image = image.convert("LA")
        loaded = load_image(image.convert(mode))
        assert loaded.getpixel((0, 0)) == WHITE
        assert loaded.getpixel((1, 1)) == (0, 0, 0)
        assert loaded.getpixel((2, 2)) == (127, 127, 127)

    @pytest.mark.parametrize("mode", ["P", "L", "RGB"])
    def test_transparent_colour_is_white(self, mode: str) -> None:
        image = Image.new(mode, (4, 4), 0 if mode != "RGB" else (0, 0, 0))
        data = encode(image, "PNG", transparency=0 if mode != "RGB" else (0, 0, 0))
        assert load_image(data).getpixel((0, 0)) == WHITE

    def test_palette_and_bilevel(self) -> None:
        assert load_image(Image.new("RGB", (4, 4), RED).quantize()).getpixel((0, 0)) == RED
        assert load_image(Image.new("1", (4, 4), 1)).getpixel((0, 0)) == WHITE

    def test_cmyk(self) -> None:
        data = encode(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG")
        assert np.abs(np.array(load_image(data))[8, 8] - np.array(RED, float)).max() < 9

    @pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
    def test_16_bit_is_scaled_not_clipped(self, file_format: str) -> None:
        ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(2, 0)
        loaded = np.array(load_image(encode(Image.fromarray(ramp), file_format)))
        assert np.array_equal(loaded[0, :, 1], np.arange(256))

    @pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L", "I"])
    def test_16_bit_modes_in_memory(self, mode: str) -> None:
        assert load_image(Image.new(mode, (2, 2), 257 * 100)).getpixel((0, 0)) == (100, 100, 100)

    def test_floats(self) -> None:
        unit = Image.fromarray(np.array([[0.0, 0.2, 1.0, np.nan]], np.float32))
        assert first_row(load_image(unit)) == [0, 51, 255, 0]
        depth = Image.fromarray(np.array([[-1.0, 200.0, 1000.0]], np.float32))
        assert first_row(load_image(depth)) == [0, 51, 255]

    @pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
    def test_first_frame_of_an_animation(self, file_format: str) -> None:
        frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "lime", "blue")]
        data = encode(frames[0], file_format, save_all=True, append_images=frames[1:])
        assert first_row(load_image(data))[8] > 240

    @pytest.mark.parametrize(
        ("array", "expected"),
        [
            (np.full((2, 3), 7, np.uint8), (7, 7, 7)),
            (np.full((2, 3, 1), 7, np.uint8), (7, 7, 7)),
            (np.full((2, 3, 3), 257 * 7, np.uint16), (7, 7, 7)),
            (np.full((2, 3, 3), 0.2), (51, 51, 51)),
            (np.full((2, 3, 3), 0.2, np.float16), (51, 51, 51)),
            (np.full((2, 3, 4), 0.0), WHITE),
            (np.ones((2, 3), bool), WHITE),
        ],
    )
    def test_arrays(self, array: np.ndarray, expected: tuple[int, int, int]) -> None:
        loaded = load_image(array)
        assert loaded.size == (3, 2)
        assert loaded.getpixel((0, 0)) == expected

    def test_one_pixel(self) -> None:
        assert load_image(encode(Image.new("RGB", (1, 1), RED), "PNG")).getpixel((0, 0)) == RED


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
class TestRefusals:
    def test_paths(self, tmp_path: Path) -> None:
        assert refusal(tmp_path / "none.png") == f"There is no file {tmp_path / 'none.png'}."
        assert "is a folder" in refusal(tmp_path)
        empty = tmp_path / "empty.jpg"
        empty.touch()
        assert refusal(str(empty)) == f"{empty} is empty."
        assert "cannot be opened" in refusal("x" * 9999)
        refusal("a\0b")

    def test_no_picture(self) -> None:
        assert "is not a JPEG" in refusal(b"%PDF-1.7 and so on")
        assert "is not a JPEG" in refusal(encode(noise(), "EPS"))
        assert refusal(b"") == "The picture is empty."

    @pytest.mark.parametrize("file_format", FORMATS)
    @pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
    def test_truncated(self, file_format: str, kept: float) -> None:
        data = encode(noise(), file_format)
        assert "picture" in refusal(data[: int(len(data) * kept)]).lower()

    @pytest.mark.parametrize(
        ("width", "height"), [(40_000, 40_000), (40_000, 1_601), (10_000, 10_000), (2**31 - 1,) * 2]
    )
    def test_too_large_is_refused_before_decoding(self, width: int, height: int) -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert "64 million pixels" in refusal(png_header(width, height))
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000

    def test_too_large_in_memory(self) -> None:
        flat = np.broadcast_to(np.uint8(0), (MAX_PIXELS + 1, 1))
        assert "too large" in refusal(flat)
        assert "too large" in refusal(Image.new("1", (MAX_PIXELS // 1000, 1001)))

    def test_40_000_pixels_wide_is_read_in_full(self) -> None:
        assert load_image(encode(Image.new("L", (40_000, 10)), "PNG")).size == (40_000, 10)

    @pytest.mark.parametrize(
        "array",
        [
            np.zeros((2, 2, 2), np.uint8),
            np.zeros(4, np.uint8),
            np.zeros((0, 4, 3), np.uint8),
            np.zeros((2, 2), np.int64),
            np.full((2, 2), 1.5),
            np.full((2, 2), np.nan),
        ],
    )
    def test_arrays(self, array: np.ndarray) -> None:
        refusal(array)

    @pytest.mark.parametrize("file_format", FORMATS)
    def test_random_damage_is_read_or_refused(self, file_format: str) -> None:
        data = encode(noise(16, 16), file_format)
        rng = np.random.default_rng(0)
        for _ in range(60):
            damaged = bytearray(data)
            for at in rng.integers(0, min(len(data), 200), 4):
                damaged[at] = rng.integers(256)
            try:
                assert load_image(bytes(damaged)).mode == "RGB"
            except GromaError as error:
                assert str(error).endswith(".")


class TestToPixels:
    @pytest.mark.parametrize("size", [(30, 50), (1, 1), (600, 7)])
    def test_shape_and_size(self, size: Size) -> None:
        result = to_pixels(noise(*size), 28)
        assert result.pixels.shape == (3, 28, 28)
        assert result.pixels.dtype == torch.float32
        assert result.pixels.is_contiguous()
        assert result.original_size == size

    def test_channels_are_normalised_one_by_one(self) -> None:
        pixels = to_pixels(Image.new("RGB", (9, 5), (255, 0, 51)), 14).pixels
        expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (0.2 - 0.406) / 0.225]
        assert torch.allclose(pixels[:, 3, 3], torch.tensor(expected))

    def test_rows_are_y(self) -> None:
        image = Image.new("RGB", (28, 28))
        image.paste("white", (0, 0, 28, 7))
        pixels = to_pixels(image, 28).pixels
        assert (pixels[:, :7] > 0).all()
        assert (pixels[:, 7:] < 0).all()

    def test_equals_the_processor_of_transformers(self) -> None:
        processors = pytest.importorskip("transformers.models.bit.image_processing_pil_bit")
        processor = processors.BitImageProcessorPil(
            size={"height": 56, "width": 56},
            do_center_crop=False,
            resample=Image.Resampling.BICUBIC,
            image_mean=[0.485, 0.456, 0.406],
            image_std=[0.229, 0.224, 0.225],
        )
        image = noise(90, 70)
        theirs = processor(image, return_tensors="pt").pixel_values[0]
        assert torch.allclose(to_pixels(image, 56).pixels, theirs, atol=1e-5)


@st.composite
def sizes_and_boxes(draw: st.DrawFn) -> tuple[Size, list[Box]]:
    """A picture and boxes inside it, each at least a pixel wide and high."""
    height, width = draw(st.tuples(st.integers(1, 8000), st.integers(1, 8000)))

    def interval(length: int) -> st.SearchStrategy[tuple[float, float]]:
        start = st.floats(0, length - 1)
        return start.flatmap(lambda a: st.tuples(st.just(a), st.floats(a + 1 - 1e-9, length)))

    pairs = draw(st.lists(st.tuples(interval(width), interval(height)), max_size=5))
    return (height, width), [(x1, y1, x2, y2) for (x1, x2), (y1, y2) in pairs]


class TestBoxes:
    @given(sizes_and_boxes())
    def test_round_trip(self, case: tuple[Size, list[Box]]) -> None:
        size, boxes_px = case
        boxes = normalise_boxes(check_boxes(boxes_px, size, limit=5), size)
        assert boxes.shape == (len(boxes_px), 4)
        assert ((boxes >= 0) & (boxes <= 1)).all()
        assert (boxes[:, :2] < boxes[:, 2:]).all()
        for back, box in zip(boxes_to_pixels(boxes, size), boxes_px, strict=True):
            assert back == pytest.approx(box, abs=2e-7 * max(size))

    @given(
        st.tuples(st.integers(1, 8000), st.integers(1, 8000)),
        st.lists(st.tuples(*[st.floats(-1e5, 1e5)] * 4), max_size=3),
    )
    def test_what_passes_the_check_is_inside_and_stable(
        self, size: Size, boxes_px: list[Box]
    ) -> None:
        try:
            checked = check_boxes(boxes_px, size, limit=3)
        except GromaError:
            return
        for x1, y1, x2, y2 in checked:
            assert 0 <= x1 < x2 <= size[1]
            assert 0 <= y1 < y2 <= size[0]
        assert check_boxes(checked, size, limit=3) == checked

    def test_frame(self) -> None:
        boxes = normalise_boxes([(50, 10, 100, 40)], (40, 200))
        assert torch.equal(boxes, torch.tensor([[0.25, 0.25, 0.5, 1.0]]))
        assert boxes_to_pixels(boxes, (40, 200)) == [(50, 10, 100, 40)]

    def test_no_boxes(self) -> None:
        assert check_boxes([], (4, 4), limit=0) == []
        assert normalise_boxes([], (4, 4)).shape == (0, 4)
        assert boxes_to_pixels(torch.zeros(0, 4), (4, 4)) == []

    def test_predictions_are_cut_at_the_edge(self) -> None:
        boxes = torch.tensor([[-0.1, 0.5, 0.5, 1.2]])
        assert boxes_to_pixels(boxes, (10, 20)) == [(0, 5, 10, 10)]

    def test_overhanging_boxes_are_clipped(self) -> None:
        assert check_boxes([(-5, 2, 8, 99)], (10, 20), limit=1) == [(0, 2, 8, 10)]

    @pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
    def test_other_sequences(self, kind: Callable[[Any], Any]) -> None:
        expected = [(0.0, 1.0, 2.0, 3.0)]
        assert check_boxes(kind(expected), (4, 4), limit=1) == expected

    @pytest.mark.parametrize(
        ("box", "why"),
        [
            ((1, 2, 3), "must be four numbers"),
            ((1, 2, 3, 4, 5), "must be four numbers"),
            ((1, 2, 3, "x"), "must be four numbers"),
            ((1, 2, 3, None), "must be four numbers"),
            ((1, 2, 3, 10**400), "must be four numbers"),
            (7, "must be four numbers"),
            ((1, 2, math.nan, 4), "not a finite number"),
            ((1, 2, math.inf, 4), "not a finite number"),
            ((3, 2, 1, 4), "is inverted"),
            ((1, 4, 3, 2), "is inverted"),
            ((1, 2, 1, 4), "has no area"),
            ((1, 2, 3, 2 + MIN_BOX_SIDE / 2), "has no area"),
            ((20, 2, 25, 4), "lies outside the picture of 20 x 10 pixels"),
            ((-9, 2, -1, 4), "lies outside"),
            ((1, 10, 3, 14), "lies outside"),
        ],
    )
    def test_refusals_name_the_box(self, box: Any, why: str) -> None:
        with pytest.raises(GromaError, match=rf"^Box 2 [^\n]*{why}[^\n]*\.$"):
            check_boxes([(1, 2, 3, 4), box], (10, 20), limit=2)

    def test_too_many(self) -> None:
        with pytest.raises(GromaError, match="3 boxes are too many: at most 2 can be given"):
            check_boxes([(0, 0, 1, 1)] * 3, (4, 4), limit=2)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "F"])
def test_largest_picture_stays_within_the_stated_memory(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "large.tiff"
    Image.new(mode, (8000, 8000)).save(path, compression="tiff_lzw")
    code = (
        "import resource, sys; from groma.image import load_image, to_pixels;"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; before = peak();"
        "to_pixels(load_image(sys.argv[1]), 448); print(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 1_400_000
