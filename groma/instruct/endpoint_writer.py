"""A writer behind an OpenAI-compatible endpoint that sees the marked picture (paper 4)."""

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from pydantic import TypeAdapter

from groma.data.file_names import find_picture
from groma.endpoint import ChatEndpoint, Message
from groma.image import load_image
from groma.instruct.described_pictures import Material
from groma.instruct.draft_faults import Complaint
from groma.instruct.region_marks import draw_marks, resize_for_marks
from groma.types import Box

_FOLDER = Path(__file__).parent
_LONGEST_SIDE = 1024  # of the picture it is shown, in pixels
_INSTRUCTIONS = (_FOLDER / "prompt_instructions.txt").read_text(encoding="utf-8").strip()
"""What the writer is told first."""


@dataclass(frozen=True, slots=True)
class Example:
    """Something to write about, and what was written; both made for this project."""

    material: Material  # its picture exists in words only
    # "question" and "answer" of every round, see `groma.instruct.draft_notation`.
    conversation: Sequence[Mapping[str, str]]

    @property
    def draft(self) -> str:
        """The conversation as a writer replies with it."""
        return json.dumps({"conversation": self.conversation}, indent=1, ensure_ascii=False)


_EXAMPLES = TypeAdapter(tuple[Example, ...]).validate_json(
    (_FOLDER / "prompt_examples.json").read_bytes()
)
"""Conversations that show a writer what is wanted."""


class Estimate(NamedTuple):
    """What asking would take."""

    requests: int  # how many requests are sent
    input_tokens: int  # of all of them
    output_tokens: int  # of all answers, at most

    @classmethod
    def total(cls, estimates: Iterable["Estimate"]) -> "Estimate":
        """All of them together."""
        return cls(*map(sum, zip((0, 0, 0), *estimates, strict=True)))

    def scaled(self, factor: float) -> "Estimate":
        """The same for so many times the requests."""
        return Estimate(*(round(number * factor) for number in self))

    def cost(self, input_price: float, output_price: float) -> float:
        """In the currency of the prices, which are for a million tokens."""
        return (self.input_tokens * input_price + self.output_tokens * output_price) / 1e6


class EndpointWriter:
    """Asks a vision language model about the pictures of a folder."""

    def __init__(self, endpoint: ChatEndpoint, pictures: Path) -> None:
        self._endpoint, self._pictures = endpoint, pictures

    def write(self, material: Material, rounds: int, complaints: Sequence[Complaint] = ()) -> str:
        """Have a conversation written; see `Writer`.

        Raises `EndpointError` if there is no answer, `GromaError` if the picture cannot be read.
        """
        return self._endpoint.complete(self._request(material, rounds, complaints))

    def estimate(self, material: Material, rounds: int) -> Estimate:
        """What a first draft would take; what is on disk already costs nothing."""
        request = self._request(material, rounds)
        if self._endpoint.is_known(request):
            return Estimate(0, 0, 0)
        longest = self._endpoint.settings.get("max_tokens")
        return Estimate(1, _count_tokens(request), int(longest or 0))

    def stop(self) -> None:
        """See `Writer`."""
        self._endpoint.stop()

    def _request(
        self, material: Material, rounds: int, complaints: Sequence[Complaint] = ()
    ) -> list[Message]:
        image = load_image(find_picture(self._pictures, material.picture))
        image = resize_for_marks(image, _LONGEST_SIDE)
        return _build_messages(material, image, rounds, complaints)


def _build_messages(
    material: Material, image: Image.Image, rounds: int, complaints: Sequence[Complaint] = ()
) -> list[Message]:
    """The request for one conversation about an RGB picture; complaints oldest first."""
    messages: list[Message] = [_message("system", _INSTRUCTIONS)]
    for example in _EXAMPLES:
        notes = _notes(example.material, len(example.conversation))
        messages.append(_message("user", f"(An example without its picture.)\n{notes}"))
        messages.append(_message("assistant", example.draft))
    marked = draw_marks(image, material.boxes_in((image.height, image.width)))
    shown = {"type": "image_url", "image_url": {"url": _data_url(marked)}}
    said = {"type": "text", "text": _notes(material, rounds)}
    messages.append(_message("user", [shown, said]))
    for complaint in complaints:
        reasons = "\n".join(f"- {reason}" for reason in complaint.reasons)
        again = (
            f"This cannot be used:\n{reasons}\nWrite the whole JSON again, without these faults."
        )
        messages += [_message("assistant", complaint.draft), _message("user", again)]
    return messages


def _count_tokens(messages: Sequence[Message]) -> int:
    """About how many tokens a request has.

    Four letters make one token, and a picture 85 and 170 for each 512 x 512 pixels of it, as OpenAI
    counts; other models differ.
    """
    tokens = 0
    for message in messages:
        content = message["content"]
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        tokens += 4 + sum(map(_count_part, parts))
    return tokens


def _count_part(part: Mapping[str, Any]) -> int:
    if part["type"] == "text":
        return math.ceil(len(part["text"]) / 4)
    data = part["image_url"]["url"].partition("base64,")[2]
    with Image.open(BytesIO(base64.b64decode(data))) as image:
        return 85 + 170 * math.ceil(image.width / 512) * math.ceil(image.height / 512)


def _message(role: str, content: str | list[dict[str, Any]]) -> Message:
    return {"role": role, "content": content}


def _data_url(image: Image.Image) -> str:
    """A picture as a JPEG in a URL."""
    file = BytesIO()
    image.save(file, "JPEG", quality=90)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _notes(material: Material, rounds: int) -> str:
    """What is known about a picture, and how much to write."""
    lines = ["Regions:"]
    shown = zip(material.boxes, material.descriptions, strict=True)
    for number, (box, texts) in enumerate(shown, start=1):
        lines.append(f"{number} ({_place(box)}): {'; '.join(texts) or 'not described'}")
    if material.captions:
        lines += ["Captions:", *(f"- {caption}" for caption in material.captions)]
    if material.questions:
        lines += ["Questions and answers:"]
        lines += [f"- {question} {answer}" for question, answer in material.questions]
    lines.append(f"Write {rounds} questions with their answers.")
    return "\n".join(lines)


def _place(box: Box) -> str:
    x1, y1, x2, y2 = (round(100 * value) for value in box)
    return f"{x1}-{x2}% from the left, {y1}-{y2}% from the top"
