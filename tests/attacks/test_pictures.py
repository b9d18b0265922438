"""Pictures of every shape take bounded memory, or are refused before they are decoded."""

import subprocess
import sys
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from groma.image import load_image
from groma.limits import MAX_PIXELS, MAX_SIDE
from groma.types import GromaError
from tests.attacks.caller import Caller

MOST_MEMORY = 1.4e9
"""Bytes to read one picture and make it the model's, as `MAX_PIXELS` promises."""

READ = """
import resource, sys
from groma.image import load_image, to_pixels
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
to_pixels(load_image(sys.argv[1]), 448)
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


def encoded(width: int, height: int, mode: str = "1") -> bytes:
    file = BytesIO()
    Image.new(mode, (width, height)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("size", [(MAX_PIXELS, 1), (1, MAX_PIXELS), (MAX_SIDE + 1, 900)])
def test_a_narrow_picture_is_refused_in_a_sentence(size: tuple[int, int]) -> None:
    with pytest.raises(GromaError, match=r"is too long: at most 65,535 pixels a side"):
        load_image(encoded(*size))


def test_ask_refuses_it_too(caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "narrow.png").write_bytes(encoded(MAX_PIXELS, 1))
    sent = caller.upload(tmp_path / "narrow.png")
    assert "too long" in caller.fault("ask", sent, "What is this?", [], {})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is told in bytes elsewhere")
@pytest.mark.parametrize(
    "size", [(MAX_SIDE, MAX_PIXELS // MAX_SIDE), (MAX_PIXELS // MAX_SIDE, MAX_SIDE)]
)
def test_the_longest_fit_the_promise_of_the_largest(tmp_path: Path, size: tuple[int, int]) -> None:
    file = tmp_path / "large.tiff"
    Image.new("RGBA", size).save(file, compression="tiff_lzw")
    done = subprocess.run(
        [sys.executable, "-c", READ, str(file)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < MOST_MEMORY


def test_the_narrowest_that_is_read_is_answered(caller: Caller, tmp_path: Path) -> None:
    (tmp_path / "narrow.png").write_bytes(encoded(MAX_SIDE, 1, "RGB"))
    event, _ = caller.call("ask", caller.upload(tmp_path / "narrow.png"), "Where?", [], {})[-1]
    assert event == "complete"
