"""What was said about one picture: settings, turns, conversation; frozen data, no I/O."""

from collections.abc import Iterable, Mapping, Sized
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Integral, Real
from reprlib import repr as short
from typing import Any, Self, get_args

from groma.config import NUM_REGION_TOKENS
from groma.limits import (
    HIGHEST_TEMPERATURE,
    LONGEST_QUESTION,
    LONGEST_TALK,
    MOST_BOXES,
    MOST_NEW_TOKENS,
    MOST_TURNS,
)
from groma.types import Box, GromaError, GroundedReply, Region, Size, to_size

_KINDS: dict[type, tuple[type, str]] = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
}
"""What is accepted for a declared type, and how people call it."""


@dataclass(frozen=True)
class GenerationSettings:
    """How an answer is made.

    Attributes:
        max_new_tokens: most tokens of the answer, `MOST_NEW_TOKENS` of them at most.
        temperature: 0 takes the likeliest token; from 0.01 to `HIGHEST_TEMPERATURE`, tokens are
            drawn at random.
        top_p: draw only from the likeliest tokens that make up this much probability.
        seed: makes random answers repeatable.
        grounding: ask for boxes ("[grounding]" in front of the question).
        score_threshold: proposals at or below this objectness are not shown to the model; None is
            the model's own threshold.
        max_regions: most proposals shown to the model; None is the model's own limit.

    Raises:
        GromaError: naming the setting that is of another kind or out of range.
    """

    max_new_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    grounding: bool = True
    score_threshold: float | None = None
    max_regions: int | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            _check_kind(item.name, getattr(self, item.name), item.type)
        ranges = {
            "max_new_tokens": (
                1 <= self.max_new_tokens <= MOST_NEW_TOKENS,
                f"between 1 and {MOST_NEW_TOKENS}",
            ),
            "temperature": (
                self.temperature == 0 or 0.01 <= self.temperature <= HIGHEST_TEMPERATURE,
                f"0, or between 0.01 and {HIGHEST_TEMPERATURE:g}",
            ),
            "top_p": (0 < self.top_p <= 1, "above 0 and at most 1"),
            "seed": (self.seed is None or 0 <= self.seed < 2**63, "between 0 and 2**63"),
            "score_threshold": (
                self.score_threshold is None or 0 <= self.score_threshold <= 1,
                "between 0 and 1",
            ),
            "max_regions": (
                self.max_regions is None or 1 <= self.max_regions <= NUM_REGION_TOKENS,
                f"between 1 and {NUM_REGION_TOKENS}",
            ),
        }
        for name, (is_fine, wanted) in ranges.items():
            if not is_fine:
                raise GromaError(f"{name} must be {wanted}, not {short(getattr(self, name))}.")

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """Settings as a program or a file gives them: values by name.

        Raises:
            GromaError: naming what is no setting, of another kind or out of range.
        """
        if not isinstance(data, Mapping):
            raise GromaError('The settings must be values by name, such as {"temperature": 0.5}.')
        known = [item.name for item in fields(cls)]
        for name in data:
            if name not in known:
                raise GromaError(
                    f"There is no setting {short(name)}; there are {', '.join(known)}."
                )
        return cls(**data)


@dataclass(frozen=True)
class Turn:
    """A question and its answer.

    Attributes:
        question: as typed; `[K]` means the user's region number K.
        regions: those that got their name in this turn, in order of their ids: proposals first,
            then the user's.
        settings: how the answer was made.
        reply: the answer.
        answer_ids: the answer's exact tokens; None where it was read from a file.
    """

    question: str
    regions: tuple[Region, ...]
    settings: GenerationSettings
    reply: GroundedReply
    answer_ids: tuple[int, ...] | None = field(default=None, compare=False, repr=False)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """What the user drew with this question: xyxy in pixels."""
        return tuple(region.box for region in self.regions if region.user is not None)

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
    """All turns about one picture.

    Attributes:
        image_size: (H, W) of the picture in pixels.
        turns: oldest first.
    """

    image_size: Size
    turns: tuple[Turn, ...] = ()

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
        """This conversation before its last turn.

        Raises:
            GromaError: if there is no turn.
        """
        if not self.turns:
            raise GromaError("There is no question yet.")
        return replace(self, turns=self.turns[:-1])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        return {
            "image_size": list(self.image_size),
            "turns": [turn.to_dict() for turn in self.turns],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`, but for the exact tokens of the answers.

        Raises:
            GromaError: if this is no saved conversation, or its parts contradict each other.
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
        for turn in self.turns:
            _check_reply(turn.reply, self)


def check_question(text: Any, boxes: Any) -> None:
    """Refuse a question that is empty, too long or of another kind, before any work is done.

    Args:
        text: what is asked.
        boxes: what was drawn with it; the boxes themselves are checked with the picture.

    Raises:
        GromaError: saying what is wrong.
    """
    if not isinstance(text, str) or not text.strip():
        raise GromaError("The question is empty; please ask something.")
    if len(text) > LONGEST_QUESTION:
        raise GromaError(
            f"The question has {len(text):,} characters; at most {LONGEST_QUESTION:,} can be asked."
        )
    is_list = isinstance(boxes, Sized) and isinstance(boxes, Iterable)
    if not is_list or isinstance(boxes, (str, bytes, Mapping)):
        raise GromaError(
            "The boxes must be a list, each of them four numbers x1, y1, x2, y2 in pixels."
        )
    if len(boxes) > MOST_BOXES:
        raise GromaError(f"{len(boxes):,} boxes are too many: at most {MOST_BOXES} can be given.")


def _check_kind(name: str, value: Any, declared: Any) -> None:
    """Refuse a value that is not of the declared type; True is no number."""
    kind, *others = get_args(declared) or (declared,)
    if value is None and others:
        return
    accepted, wanted = _KINDS[kind]
    if not isinstance(value, accepted) or isinstance(value, bool) != (kind is bool):
        raise GromaError(f"{name} must be {wanted}, not {short(value)}.")


def _check_reply(reply: GroundedReply, conversation: Conversation) -> None:
    edges = [edge for span in reply.spans for edge in (span.start, span.end)]
    named = range(len(conversation.regions))
    _require(edges == sorted(edges), "order of spans")
    _require(all(0 <= edge <= len(reply.text) for edge in edges), "ends of spans")
    _require(all(span.regions for span in reply.spans), "number of regions in a span")
    _require(len(reply.regions) <= MOST_NEW_TOKENS, "number of regions")
    _require(all(region.id in named for region in reply.regions), "regions of spans")
    _require(reply.image_size == conversation.image_size, "image_size")
    _require(reply.finish in ("stop", "length", "cancelled"), "finish")


def _require(is_fine: bool, what: str) -> None:
    if not is_fine:
        raise ValueError(f"wrong {what}")
