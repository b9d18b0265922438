"""What a conversation about a picture is written from (paper 4)."""

from dataclasses import dataclass

from groma.types import Box, Size


@dataclass(frozen=True, slots=True)
class Material:
    """A picture's marked regions and all that is known about it.

    Attributes:
        picture: name of the file, below the folder of pictures.
        size: (H, W) in pixels.
        boxes: xyxy in [0, 1]; region K, whose mark says K, is `boxes[K - 1]`.
        descriptions: for every region what it shows, the best one first; may be empty.
        captions: of the whole picture.
        questions: about the picture, with their answers.
    """

    picture: str
    size: Size
    boxes: tuple[Box, ...]
    descriptions: tuple[tuple[str, ...], ...]
    captions: tuple[str, ...] = ()
    questions: tuple[tuple[str, str], ...] = ()

    @property
    def boxes_px(self) -> tuple[Box, ...]:
        """The same boxes in pixels."""
        height, width = self.size
        return tuple(
            (x1 * width, y1 * height, x2 * width, y2 * height) for x1, y1, x2, y2 in self.boxes
        )
