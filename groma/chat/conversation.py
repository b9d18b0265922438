"""What was said about one picture: replies, turns, the conversation; frozen data, no I/O."""

from collections.abc import Iterable, Mapping, Sequence, Sized
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from groma.chat.settings import GenerationSettings
from groma.config import NUM_REGION_TOKENS
from groma.limits import (
    LONGEST_NAME,
    LONGEST_QUESTION,
    LONGEST_TALK,
    MOST_BOXES,
    MOST_NEW_TOKENS,
    MOST_TURNS,
)
from groma.named_regions import GroundedSpan, Region, RegionRef
from groma.shapes import Box as DrawnBox
from groma.shapes import Shape, read_shape
from groma.text.template import Exchange, Piece, Template
from groma.types import Box, GromaError, Size, to_size

if TYPE_CHECKING:
    from PIL.Image import Image
    from supervision import Detections

    from groma.masks.maker import MaskMaker, PictureMasks

Finish = Literal["stop", "length", "cancelled", "streaming"]


@dataclass(frozen=True)
class GroundedReply:
    """One answer: plain text, and which of its phrases mean which regions (paper 3.2)."""

    text: str  # the answer without any tag
    spans: tuple[GroundedSpan, ...]  # grounded phrases by their start; they do not overlap
    image_size: Size  # (H, W) of the original picture, the frame of all boxes
    finish: Finish = "stop"  # why the text ends; "streaming" while more may come
    masks_by: str = ""  # who made the masks of its regions; empty where nobody did
    adapter: str = ""  # name of the adapter that made it; empty of the model alone

    @property
    def regions(self) -> tuple[RegionRef, ...]:
        """Every region mentioned, once each, in order of first mention."""
        return tuple(region for region, _ in self._mentions())

    def phrase(self, span: GroundedSpan) -> str:
        """The words of a span; empty where the model gave regions without a phrase."""
        return self.text[span.start : span.end]

    def with_masks(self, picture: "Image", maker: "MaskMaker") -> Self:
        """This answer with a mask for every region; see `groma.masks.maker.load_maker`.

        `picture` is the one that it speaks of, as `groma.image.load_image` returns it. Raises
        `GromaError` if that has another size.
        """
        self._check_picture(picture)
        return self.masked(maker.look(picture))

    def masked(self, source: "PictureMasks") -> Self:
        """This answer with a mask for every region that has none yet."""
        missing = {region.id: region for region in self.regions if region.mask is None}
        if not missing:
            return self
        made = source.masks([DrawnBox(*region.box) for region in missing.values()])
        masks = dict(zip(missing, made, strict=True))
        spans = tuple(
            replace(
                span,
                regions=tuple(replace(r, mask=masks.get(r.id, r.mask)) for r in span.regions),
            )
            for span in self.spans
        )
        return replace(self, spans=spans, masks_by=source.maker)

    def to_detections(self) -> "Detections":
        """Every region mentioned as supervision knows it, in the order of `regions`.

        Boxes are xyxy in pixels of the original picture, with masks where there are any; see
        `regions_to_detections`. A region's `class_name` is the phrase of its first mention.
        """
        from groma.drawing.boxes import regions_to_detections  # late: most replies are only read

        return regions_to_detections(self.regions, [phrase for _, phrase in self._mentions()])

    def draw(self, image: "Image") -> "Image":
        """Mark every region mentioned with its phrase and score, on a new picture.

        What the user drew is drawn as it was.

        `image` is the one that it speaks of, as `groma.image.load_image` returns it. Raises
        `GromaError` if that has another size.
        """
        self._check_picture(image)
        labels = [
            f"{_label(region, phrase)} {region.score:.2f}" for region, phrase in self._mentions()
        ]
        from groma.drawing.boxes import draw_boxes

        shapes = [region.shape for region in self.regions]
        return draw_boxes(image, self.to_detections(), labels, shapes)

    def pieces(self, template: Template) -> list[Piece]:
        """This answer as a prompt repeats it: its words, and the names of its regions as tokens."""
        tokens = template.tokens
        spans = [
            (span.start, span.end, [tokens.region(region.id) for region in span.regions])
            for span in self.spans
        ]
        return template.answer(self.text, spans)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        reply: dict[str, Any] = {
            "text": self.text,
            "spans": [span.to_dict() | {"phrase": self.phrase(span)} for span in self.spans],
            "image_size": list(self.image_size),
            "finish": self.finish,
        }
        said = {"masks_by": self.masks_by, "adapter": self.adapter}
        return reply | {name: by for name, by in said.items() if by}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        spans = tuple(GroundedSpan.from_dict(span) for span in data["spans"])
        size, *by = to_size(data["image_size"]), data.get("masks_by", ""), data.get("adapter", "")
        return cls(str(data["text"]), spans, size, data["finish"], *map(str, by))

    def _check_picture(self, picture: "Image") -> None:
        """Refuse a picture of another size."""
        if (picture.height, picture.width) != self.image_size:
            height, width = self.image_size
            raise GromaError(
                f"The reply speaks of a picture of {width} x {height} pixels, but this one has "
                f"{picture.width} x {picture.height}."
            )

    def _mentions(self) -> list[tuple[RegionRef, str]]:
        """Every region mentioned and its first phrase, in order of first mention."""
        found: dict[int, tuple[RegionRef, str]] = {}
        for span in self.spans:
            for region in span.regions:
                found.setdefault(region.id, (region, self.phrase(span)))
        return list(found.values())


@dataclass(frozen=True)
class Turn:
    """A question and its answer."""

    question: str  # as typed; `[K]` means the user's region number K
    # Those that got their name in this turn, by their ids: proposals first, then the user's.
    regions: tuple[Region, ...]
    settings: GenerationSettings  # how the answer was made
    reply: GroundedReply  # the answer
    # The answer's exact tokens; None where it was read from a file.
    answer_ids: tuple[int, ...] | None = field(default=None, compare=False, repr=False)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Boxes xyxy in pixels of what the user drew with this question."""
        return tuple(region.box for region in self.regions if region.user is not None)

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """What the user drew with this question."""
        users = [region for region in self.regions if region.user is not None]
        return tuple(region.shape or DrawnBox(*region.box) for region in users)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        return {
            "question": self.question,
            "regions": [region.to_dict() for region in self.regions],
            "settings": asdict(self.settings),
            "reply": self.reply.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`, but for the exact tokens."""
        return cls(
            question=str(data["question"]),
            regions=tuple(Region.from_dict(region) for region in data["regions"]),
            settings=GenerationSettings.from_dict(data["settings"]),
            reply=GroundedReply.from_dict(data["reply"]),
        )


@dataclass(frozen=True)
class Conversation:
    """All turns about one picture."""

    image_size: Size  # (H, W) of the picture in pixels
    turns: tuple[Turn, ...] = ()  # oldest first

    @property
    def regions(self) -> tuple[Region, ...]:
        """Every region that has a name; row N is `<rN>`."""
        return tuple(region for turn in self.turns for region in turn.regions)

    @property
    def mentioned(self) -> frozenset[int]:
        """Ids of the regions that a reply points to."""
        return frozenset(region.id for turn in self.turns for region in turn.reply.regions)

    def with_turn(self, turn: Turn) -> Self:
        """This conversation and one more turn."""
        return replace(self, turns=(*self.turns, turn))

    def without_last(self) -> Self:
        """This conversation before its last turn; raises `GromaError` if there is none."""
        if not self.turns:
            raise GromaError("There is no question yet.")
        return replace(self, turns=self.turns[:-1])

    def masked(self, source: "PictureMasks") -> Self:
        """This conversation with a mask for every region that an answer means."""
        turns = [replace(turn, reply=turn.reply.masked(source)) for turn in self.turns]
        return replace(self, turns=tuple(turns))

    def exchanges(self, template: Template) -> list[Exchange]:
        """Questions and answers for a prompt; answers in their exact tokens where known.

        An answer that was stopped before its first word is left out: it would teach silence.
        """
        exchanges: list[Exchange] = []
        known: tuple[Region, ...] = ()
        for turn in self.turns:
            if turn.reply.text or turn.reply.spans:
                asked = question_pieces(
                    template, turn.question, known, turn.regions, turn.settings.grounding
                )
                exact = turn.answer_ids
                answered = turn.reply.pieces(template) if exact is None else exact
                exchanges.append((asked, answered))
            known += turn.regions
        return exchanges

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        return {
            "image_size": list(self.image_size),
            "turns": [turn.to_dict() for turn in self.turns],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`, but for the exact tokens of the answers.

        Raises `GromaError` if this is no saved conversation, or its parts contradict each other.
        """
        try:
            turns = tuple(Turn.from_dict(turn) for turn in data["turns"])
            conversation = cls(to_size(data["image_size"]), turns)
            conversation._check()
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            # What is in a file of a stranger is not repeated.
            raise GromaError("This is no conversation that Groma saved.") from error
        return conversation

    def _check(self) -> None:
        """Refuse a file in which names, numbers or characters do not fit together."""
        _require(len(self.turns) <= MOST_TURNS, "number of turns")
        said = sum(len(turn.question) + len(turn.reply.text) for turn in self.turns)
        _require(said <= LONGEST_TALK, "length")
        regions = self.regions
        users = [region.user for region in regions if region.user is not None]
        _require([region.id for region in regions] == list(range(len(regions))), "region ids")
        _require(len(regions) <= NUM_REGION_TOKENS, "number of regions")
        _require(users == list(range(1, len(users) + 1)), "numbers of user regions")
        _require(all(-1 <= x <= 2 for region in regions for x in region.extent), "extent")
        for region in regions:
            for drawn in (region.shape, region.mask):
                _require(drawn is None or region.user is not None, "owner of a shape")
                _require(drawn is None or bool(read_shape(drawn, self.image_size)), "shape")
        for turn in self.turns:
            _check_reply(turn.reply, self)


def question_pieces(
    template: Template,
    text: str,
    known: Sequence[Region],
    new: Sequence[Region],
    grounding: bool,
) -> list[Piece]:
    """A question of a conversation, ready for a prompt.

    The text is as typed, with `[K]` for user regions; `known` had a name before, and `new` get
    theirs with this question.
    """
    drawn = [region.id for region in new if region.user is not None]
    users = [region.id for region in known if region.user is not None] + drawn
    names = [template.tokens.region(i) for i in users]
    return template.question(text, names, len(drawn), grounding)


def check_question(text: Any, *drawn: Any) -> None:
    """Refuse, by `GromaError`, a question that is empty, too long or of another kind.

    Called before any work is done; what was drawn, in several lists, is counted here and checked
    with the picture.
    """
    if not isinstance(text, str) or not text.strip():
        raise GromaError("The question is empty; please ask something.")
    if len(text) > LONGEST_QUESTION:
        raise GromaError(
            f"The question has {len(text):,} characters; at most {LONGEST_QUESTION:,} can be asked."
        )
    for each in drawn:
        is_list = isinstance(each, Sized) and isinstance(each, Iterable)
        if not is_list or isinstance(each, (str, bytes, Mapping)):
            raise GromaError(
                "The regions must be a list, each of them four numbers x1, y1, x2, y2 in pixels, "
                "or another shape."
            )
    count = sum(map(len, drawn))
    if count > MOST_BOXES:
        raise GromaError(f"{count:,} regions are too many: at most {MOST_BOXES} can be given.")


def _check_reply(reply: GroundedReply, conversation: Conversation) -> None:
    edges = [edge for span in reply.spans for edge in (span.start, span.end)]
    named = range(len(conversation.regions))
    _require(edges == sorted(edges), "order of spans")
    _require(all(0 <= edge <= len(reply.text) for edge in edges), "ends of spans")
    _require(all(span.regions for span in reply.spans), "number of regions in a span")
    _require(len(reply.regions) <= MOST_NEW_TOKENS, "number of regions")
    _require(all(region.id in named for region in reply.regions), "regions of spans")
    _require(reply.image_size == conversation.image_size, "image_size")
    masks = [region.mask for region in reply.regions if region.mask is not None]
    _require(all(mask.size == reply.image_size for mask in masks), "size of a mask")
    _require(len(reply.masks_by) <= LONGEST_NAME, "name of a maker of masks")
    _require(reply.finish in ("stop", "length", "cancelled"), "finish")


def _require(is_fine: bool, what: str) -> None:
    if not is_fine:
        raise ValueError(f"wrong {what}")


def _label(region: RegionRef, phrase: str) -> str:
    if phrase:
        return phrase
    return f"[{region.user}]" if region.user else f"region {region.id}"
