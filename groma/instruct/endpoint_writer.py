"""A writer behind an OpenAI-compatible endpoint that sees the marked picture."""

from collections.abc import Sequence
from pathlib import Path

from groma.data.file_names import find_picture
from groma.endpoint import ChatEndpoint, Message
from groma.image import load_image
from groma.instruct.marks import resize_for_marks
from groma.instruct.material import Material
from groma.instruct.prompt import build_messages
from groma.instruct.writer import Complaint


class EndpointWriter:
    """Asks a vision language model.

    Args:
        endpoint: the model.
        pictures: folder of the pictures.
        longest_side: of the picture it is shown, in pixels.
    """

    def __init__(self, endpoint: ChatEndpoint, pictures: Path, longest_side: int = 1024) -> None:
        self.endpoint = endpoint
        self.name = endpoint.model
        self._pictures = pictures
        self._longest_side = longest_side

    def write(self, material: Material, rounds: int, complaints: Sequence[Complaint] = ()) -> str:
        """Have a conversation written; see `Writer`.

        Raises:
            EndpointError: if there is no answer.
            GromaError: if the picture cannot be read.
        """
        return self.endpoint.complete(self.messages(material, rounds, complaints))

    def stop(self) -> None:
        """See `Writer`."""
        self.endpoint.stop()

    def messages(
        self, material: Material, rounds: int, complaints: Sequence[Complaint] = ()
    ) -> list[Message]:
        """The request that `write` sends.

        Raises:
            GromaError: if the picture cannot be read.
        """
        image = load_image(find_picture(self._pictures, material.picture))
        image = resize_for_marks(image, self._longest_side)
        return build_messages(material, image, rounds, complaints)
