"""Groma-Instruct JSON: grounded conversations as the released data spells them (paper 4).

An item is `file_name`, `height`, `width`, `id`, `boxes` (x, y, width, height in pixels) and
`conversation`, a list of `from` ("human" or "gpt"), `value` and `box_inds`:

* An answer marks words that mean boxes, `<p>two dogs</p><roi><ground_box><ground_box></roi>`; its
  `box_inds` name the box of each `<ground_box>` in turn.
* A question points at a box with `<roi><refer_box></roi><refer_feat>`, its `box_inds` likewise; or
  it has `[1]`, `[2]`, … for the boxes pointed at so far in the item, and its `box_inds` are those
  that are new. New boxes that are not named in it stand at its end.
* `"grounding": false` beside a question says that its answer is not to point at anything.

Nothing else in a text has a meaning. Text that happens to look like one of these tags is written
with an entity, `&lt;p>`, and read back as it was.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from groma.data.sample import (
    QA,
    GroundedSample,
    Mention,
    Phrase,
    Piece,
    Pieces,
    join_pieces,
    plain_text,
    regions_of,
)
from groma.data.sources.items import (
    UNKNOWN_SIZE,
    BrokenItem,
    box_from_xywh,
    picture_size,
    refused,
    words,
)
from groma.tokens import GROUND_BOX, GROUNDING
from groma.types import Box, Size

HUMAN, GPT = "human", "gpt"
ROLES = {HUMAN: HUMAN, "user": HUMAN, GPT: GPT, "assistant": GPT}
"""What files call who speaks, and what we do."""

UNNAMED = "region"  # name of a box that no phrase means

TAG = re.compile(r"</?(?:p|roi)>|<(?:ground_box|refer_box|refer_feat)>")  # all the tags there are
PHRASE = re.compile(
    r"(?:<p>(?P<words>(?:(?!</?p>).)*)</p>\s*)?<roi>\s*(?P<boxes>(?:<ground_box>\s*)+)</roi>", re.S
)
"""Words of an answer and the boxes they mean."""
POINTER = re.compile(r"<roi>\s*<refer_box>\s*</roi>(?:\s*<refer_feat>)?")
"""A box a question points at."""
NUMBER = re.compile(r"\[([1-9][0-9]{0,2})\]")  # A box a question points at, as people write it

_NAMES = r"(/?(?:p|roi)>|ground_box>|refer_box>|refer_feat>)"
_TAG_NAME = re.compile(f"<{_NAMES}")
_ENTITY = re.compile(f"&((?:amp;)*)lt;{_NAMES}")
_DIGITS = 3  # decimals of pixels that are written


@dataclass(frozen=True, slots=True)
class Message:
    """What one side says."""

    role: str  # `HUMAN`, `GPT`, or what else a file has
    text: str  # in which tags mean boxes
    boxes: tuple[int, ...] = ()  # indices into the item's boxes, its `box_inds`
    grounding: bool = True  # of a question, whether its answer may point at boxes

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        message = {"from": self.role, "value": self.text, "box_inds": list(self.boxes)}
        return message if self.grounding else message | {"grounding": False}


def parse_item(item: Mapping[str, Any]) -> GroundedSample:
    """Read one item as JSON has it; raises `BrokenItem` with the reason, whatever is wrong with it.

    Boxes are cut at the picture's edge.
    """
    with refused():
        boxes, size = item["boxes"], picture_size(item)
        messages = [
            Message(
                ROLES.get(said["from"], said["from"]),
                said["value"],
                tuple(said.get("box_inds") or ()),
                said.get("grounding", True) is not False,
            )
            for said in item["conversation"]
        ]
        return make_sample(words(item["file_name"]), size, boxes, messages)


def make_sample(
    picture: str, size: Size, boxes_px: Sequence[Sequence[float]], messages: Sequence[Message]
) -> GroundedSample:
    """Put an item together; boxes are left, top, width, height in pixels, and cut at the edge.

    Raises `BrokenItem` if messages do not alternate, are empty, or name boxes that do not exist, or
    a box is none.
    """
    with refused():
        boxes = tuple(box_from_xywh(box, size) for box in boxes_px)
        turns = tuple(_parse_turns(messages, len(boxes)))
        return GroundedSample(picture, size, boxes, _names(boxes, turns), turns)


def format_item(sample: GroundedSample, number: int = 1) -> dict[str, Any]:
    """Write one item, which `parse_item` reads, without names, kinds and expectations.

    A sample with boxes is of a picture whose size is known. `number` is the `id` of the item.
    """
    height, width = sample.size
    known = {} if sample.size == UNKNOWN_SIZE else {"height": height, "width": width}
    return {
        "file_name": sample.picture,
        **known,
        "id": number,
        "boxes": [_to_xywh(box, sample.size) for box in sample.boxes],
        "conversation": [message.to_dict() for message in format_turns(sample)],
    }


def format_turns(sample: GroundedSample) -> list[Message]:
    """What is said about a sample, in tags; the inverse of what `make_sample` does."""
    users = sample.user_regions
    said: list[Message] = []
    pointed: set[int] = set()
    for turn in sample.turns:
        mentioned = dict.fromkeys(regions_of(turn.question))
        new = tuple(region for region in mentioned if region not in pointed)
        pointed.update(new)
        question = escape_question(plain_text(turn.question, users))
        said += [Message(HUMAN, question, new, turn.grounding), _format_answer(turn.answer)]
    return said


def _parse_turns(said: Sequence[Message], num_boxes: int) -> Iterator[QA]:
    """Turns of questions and answers in tags."""
    roles = [message.role for message in said]
    if not said or roles != [HUMAN, GPT] * (len(said) // 2):
        raise BrokenItem("questions and answers that do not alternate")
    indices = [index for message in said for index in message.boxes]
    if not all(type(index) is int and 0 <= index < num_boxes for index in indices):
        raise BrokenItem("a box number that does not exist")
    pointed = [*dict.fromkeys(index for message in said[::2] for index in message.boxes)]
    for asked, answered in zip(said[::2], said[1::2], strict=True):
        question, marked = _parse_question(asked, pointed)
        answer = _parse_answer(answered)
        grounds = bool(regions_of(answer))
        yield QA(question, answer, grounding=marked or grounds or asked.grounding)


def _parse_question(said: Message, pointed: Sequence[int]) -> tuple[Pieces, bool]:
    """Text and mentions, and whether "[grounding]" stands in front of it.

    `pointed` are all boxes pointed at in the item, in order: K of `[K]`, from 1.
    """
    value = said.text.strip()
    marked = value.startswith(GROUNDING)
    value = without_phrase_tags(value.removeprefix(GROUNDING).strip())
    texts = POINTER.split(value)
    pieces: list[Piece] = []
    if len(texts) > 1:
        if len(texts) - 1 != len(said.boxes):
            raise BrokenItem("another number of boxes than its text points at")
        for text, region in zip(texts, [*said.boxes, None], strict=True):
            pieces += numbered(unescape(text), pointed)
            pieces += [] if region is None else [Mention(region)]
        return _whole(pieces), marked
    return _whole(name_new(numbered(unescape(value), pointed), said.boxes)), marked


def _parse_answer(said: Message) -> Pieces:
    """Text and phrases."""
    if said.text.count(GROUND_BOX) != len(said.boxes):
        raise BrokenItem("another number of boxes than its text has places for")
    pieces: list[Piece] = []
    at = used = 0
    for match in PHRASE.finditer(said.text):
        pieces.append(unescape(said.text[at : match.start()]))
        at = match.end()
        count = match["boxes"].count(GROUND_BOX)
        if not (match["words"] or "").strip():
            raise BrokenItem("boxes that no words mean")
        regions = tuple(said.boxes[used : used + count])
        pieces.append(Phrase(unescape(match["words"].strip()), regions))
        used += count
    return _whole([*pieces, unescape(said.text[at:])])


def numbered(text: str, pointed: Sequence[int]) -> list[Piece]:
    """Text without tags in which `[K]` is a mention where so many boxes are pointed at."""
    pieces: list[Piece] = []
    for i, part in enumerate(NUMBER.split(text)):
        # Every other part is a number.
        if i % 2 == 0:
            pieces.append(part)
        elif int(part) <= len(pointed):
            pieces.append(Mention(pointed[int(part) - 1]))
        else:
            pieces.append(f"[{part}]")
    return pieces


def name_new(pieces: list[Piece], new: Iterable[int]) -> list[Piece]:
    """A question at whose end new boxes stand, where it mentions none at all."""
    if regions_of(pieces):
        return pieces
    return [*pieces, *(piece for region in new for piece in (" ", Mention(region)))]


def escape(text: str) -> str:
    """Text in which nothing is a tag; `unescape` is the inverse."""
    text = _ENTITY.sub(lambda match: f"&amp;{match[0][1:]}", text)
    return _TAG_NAME.sub(r"&lt;\1", text)


def escape_question(text: str) -> str:
    """The same for a question, which may begin with "[grounding]" by chance."""
    text = escape(text)
    # An empty phrase has no meaning.
    return f"<p></p>{text}" if text.lstrip().startswith(GROUNDING) else text


def unescape(text: str) -> str:
    """The inverse of `escape`; raises `BrokenItem` if there is a tag that means nothing here."""
    if TAG.search(text):
        raise BrokenItem("tags that do not belong together")
    return _ENTITY.sub(_unescape_one, text)


def without_phrase_tags(value: str) -> str:
    """A question may quote words as a phrase, which has no further meaning there."""
    return re.sub(r"<p>((?:(?!</?p>).)*)</p>", r"\1", value, flags=re.S)


def _to_xywh(box: Box, size: Size) -> list[float]:
    """Left, top, width and height in pixels of a box xyxy in [0, 1]."""
    height, width = size
    x1, y1, x2, y2 = box[0] * width, box[1] * height, box[2] * width, box[3] * height
    return [round(value, _DIGITS) for value in (x1, y1, x2 - x1, y2 - y1)]


def _whole(pieces: Sequence[Piece]) -> Pieces:
    """Pieces without spaces around them, never empty."""
    joined = list(join_pieces(pieces))
    if joined and isinstance(joined[0], str):
        joined[0] = joined[0].lstrip()
    if joined and isinstance(joined[-1], str):
        joined[-1] = joined[-1].rstrip()
    if not (whole := join_pieces(joined)):
        raise BrokenItem("an empty text")
    return whole


def _names(boxes: Sequence[Box], turns: Sequence[QA]) -> tuple[str, ...]:
    """What each box was called first."""
    names: dict[int, str] = {}
    for turn in turns:
        for phrase in turn.phrases:
            names = dict.fromkeys(phrase.regions, phrase.text) | names
    return tuple(names.get(i, UNNAMED) for i in range(len(boxes)))


def _format_answer(answer: Pieces) -> Message:
    text = ""
    indices: list[int] = []
    for piece in answer:
        if isinstance(piece, Phrase):
            boxes = GROUND_BOX * len(piece.regions)
            text += f"<p>{escape(piece.text)}</p><roi>{boxes}</roi>"
            indices += piece.regions
        else:
            text += escape(plain_text((piece,)))
    return Message(GPT, text, tuple(indices))


def _unescape_one(match: re.Match[str]) -> str:
    amps, name = match.groups()
    return f"&{amps.removeprefix('amp;')}lt;{name}" if amps else f"<{name}"
