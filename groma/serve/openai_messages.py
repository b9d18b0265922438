"""Requests and answers in OpenAI's words (Chat Completions), and what Groma adds to them.

Added to a user's message: `bbox_list`, boxes xyxy in pixels of the picture, and `regions`, which
may be other shapes too; the text calls them `[1]`, `[2]`, …, boxes first. Added to an answer:
`groma`, what `GroundedReply.to_dict` gives; whoever sends it back in the next request lets the
model know what its phrases meant.
"""

import base64
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from groma.chat.chat import Chat
from groma.chat.conversation import GroundedReply
from groma.chat.settings import GenerationSettings
from groma.limits import MOST_BOXES, MOST_BYTES, MOST_TURNS
from groma.serve.engine import Asked
from groma.shapes import Shape, parse_shape
from groma.types import Detail, GromaError

Numbers = list[float]


class _Foreign(BaseModel):
    """What a program sends; what we do not know of it is not our business."""

    model_config = ConfigDict(extra="ignore")


class ImageUrl(_Foreign):
    """Where a picture is: `data:image/png;base64,…`, or an address."""

    url: str


class Part(_Foreign):
    """A part of a message."""

    type: Literal["text", "image_url"]
    text: str = ""
    image_url: ImageUrl | None = None


class Message(_Foreign):
    """Something said."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part] | None = None
    bbox_list: list[Numbers] = Field(default_factory=list, max_length=MOST_BOXES)
    regions: list[Any] = Field(default_factory=list, max_length=MOST_BOXES)
    groma: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        """Its words."""
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.type == "text")
        return self.content or ""

    @property
    def drawn(self) -> tuple[Shape, ...]:
        """Its regions, in the order of their numbers.

        Raises:
            GromaError: if one is no shape.
        """
        return tuple(map(parse_shape, (*self.bbox_list, *self.regions)))

    @property
    def picture(self) -> str | None:
        """Address of its picture.

        Raises:
            GromaError: if there are several.
        """
        parts = self.content if isinstance(self.content, list) else []
        urls = [part.image_url.url for part in parts if part.image_url is not None]
        if len(urls) > 1:
            raise GromaError("One message has several pictures; a talk here is about one of them.")
        return urls[0] if urls else None


class StreamOptions(_Foreign):
    """What a stream tells besides."""

    include_usage: bool = False


class ChatRequest(_Foreign):
    """`POST /v1/chat/completions`."""

    model: str
    messages: list[Message] = Field(min_length=1, max_length=2 * MOST_TURNS)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    n: int | None = 1
    stop: Any = None
    tools: list[Any] | None = None
    logprobs: bool | None = None
    response_format: dict[str, Any] | None = None
    grounding: bool = True
    masks: bool = False
    score_threshold: float | None = None
    max_regions: int | None = None
    detail: Detail = 1

    def settings(self) -> GenerationSettings:
        """How to answer; what OpenAI leaves out has our own default, greedy answers.

        Raises:
            GromaError: naming what cannot be done.
        """
        refused = {
            "n": self.n not in (None, 1),
            "stop": bool(self.stop),
            "tools": bool(self.tools),
            "logprobs": bool(self.logprobs),
            "response_format": (self.response_format or {}).get("type", "text") != "text",
        }
        for name, is_asked in refused.items():
            if is_asked:
                raise GromaError(f"{name} is not served here; please leave it out.")
        most = self.max_completion_tokens or self.max_tokens
        values = {
            "max_new_tokens": most,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "seed": self.seed,
            "grounding": self.grounding,
            "score_threshold": self.score_threshold,
            "max_regions": self.max_regions,
            "detail": self.detail,
        }
        return GenerationSettings.from_dict({k: v for k, v in values.items() if v is not None})


@dataclass(frozen=True)
class Question:
    """What is asked for with a request.

    Attributes:
        picture: address of the picture that it is about.
        before: what was said about this picture.
        text: the question.
        drawn: regions drawn with it.
    """

    picture: str
    before: tuple[Asked, ...]
    text: str
    drawn: tuple[Shape, ...]


def read_question(messages: Sequence[Message]) -> Question:
    """What the last message asks, about the picture that came last.

    A new picture begins a new talk: what was said about another one is not repeated to the model.
    Messages of the system are left out: Groma is trained with an instruction of its own.

    Raises:
        GromaError: if there is no picture or question, or the roles do not take turns.
    """
    said = [message for message in messages if message.role in ("user", "assistant")]
    roles = [message.role for message in said]
    if not said or roles != ["user", "assistant"] * (len(said) // 2) + ["user"]:
        raise GromaError("Messages must be of user and assistant in turn, the last of the user.")
    starts = [at for at, message in enumerate(said) if message.picture is not None]
    if not starts:
        raise GromaError("There is no picture; send one as image_url in a message of the user.")
    said = said[starts[-1] :]
    picture = said[0].picture
    assert picture is not None
    before = tuple(
        Asked(asked.text, asked.drawn, answer.text, _reply(answer))
        for asked, answer in zip(said[0:-1:2], said[1::2], strict=True)
    )
    return Question(picture, before, said[-1].text, said[-1].drawn)


def read_data_url(url: str) -> bytes:
    """The bytes of a picture that a request brings along.

    Raises:
        GromaError: if it is too large or damaged.
    """
    head, comma, body = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        raise GromaError("A picture must be data:image/…;base64,… with its bytes.")
    if len(body) > MOST_BYTES * 4 / 3 + 4:
        raise GromaError(f"The picture's file is larger than {MOST_BYTES / 1e6:.0f} MB.")
    try:
        return base64.b64decode(body, validate=True)
    except ValueError:  # binascii.Error too, and what is no ASCII
        raise GromaError("The picture is no valid base64.") from None


def new_id() -> str:
    """A name for an answer."""
    return f"chatcmpl-{uuid.uuid4().hex}"


def completion(name: str, model: str, reply: GroundedReply, usage: dict[str, int]) -> dict:
    """The whole answer, as `chat.completion`."""
    message = {"role": "assistant", "content": reply.text, "groma": reply.to_dict()}
    choice = {"index": 0, "message": message, "finish_reason": finish_of(reply), "logprobs": None}
    head = {"id": name, "object": "chat.completion", "created": int(time.time()), "model": model}
    return head | {"choices": [choice], "usage": usage}


def chunk(name: str, model: str, delta: dict[str, Any], finish: str | None = None) -> dict:
    """A piece of an answer, as `chat.completion.chunk`."""
    head = {"id": name, "object": "chat.completion.chunk", "created": int(time.time())}
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return head | {"model": model, "choices": [choice]}


def usage_of(chat: Chat) -> dict[str, int]:
    """Tokens that a talk holds and, of them, those of its last answer."""
    turns = chat.conversation.turns
    said = len(turns[-1].answer_ids or ()) if turns else 0
    prompt = max(0, chat.num_tokens - said)
    return {"prompt_tokens": prompt, "completion_tokens": said, "total_tokens": prompt + said}


def finish_of(reply: GroundedReply) -> str:
    """Why an answer ends, in OpenAI's words."""
    return "length" if reply.finish == "length" else "stop"


def error(sentence: str, kind: str = "invalid_request_error", code: str | None = None) -> dict:
    """A mistake in OpenAI's form."""
    return {"error": {"message": sentence, "type": kind, "param": None, "code": code}}


def _reply(message: Message) -> GroundedReply | None:
    """The grounded answer that a program sends back, if it fits the words."""
    if message.groma is None:
        return None
    try:
        reply = GroundedReply.from_dict(message.groma)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise GromaError("`groma` of an answer is not what was sent; leave it out.") from None
    return reply if reply.text == message.text else None
