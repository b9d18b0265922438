"""What finds the pixels of things: one small interface, and the makers behind it."""

from collections.abc import Sequence
from typing import Protocol

from PIL import Image

from groma.shapes import Box, Mask, Point

GRABCUT = "grabcut"
"""Name of the maker that needs no download."""


class PictureMasks(Protocol):
    """One picture as a maker sees it; what that takes is done once, when it is needed."""

    maker: str  # its name, for people; it says where masks are rough
    takes_points: bool  # whether it knows what thing a point means

    @property
    def num_bytes(self) -> int:
        """Memory that it holds."""
        ...

    def masks(self, prompts: Sequence[Box | Point]) -> list[Mask]:
        """The things in boxes, or at points where the maker takes them; a mask for each.

        Where nothing is found, a mask is the whole box, or the pixel of the point.
        """
        ...


class MaskMaker(Protocol):
    """Finds pixels."""

    def look(self, picture: Image.Image) -> PictureMasks:
        """Begin with an RGB picture, as `groma.image.load_image` returns it."""
        ...


def load_maker(source: str = GRABCUT, device: str = "auto") -> MaskMaker:
    """GrabCut, or a promptable segmenter (SAM 2, EdgeTAM) by its folder or Hugging Face id.

    `device` as in `groma.machine.resolve_device`. Raises `GromaError` if it cannot be loaded.
    """
    if source == GRABCUT:
        from groma.masks.grabcut import GrabCut  # late: one of them is enough

        return GrabCut()
    from groma.masks.promptable import PromptableSegmenter

    return PromptableSegmenter.load(source, device)
