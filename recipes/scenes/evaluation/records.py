"""What a model said about one scene, with the truth beside it: all that scoring needs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

from groma.chat.conversation import GroundedReply
from groma.data.sample import QA, GroundedSample, Mention
from groma.types import Box, Size, to_box, to_size
from recipes.scenes.evaluation.scene_judging import Verdict, is_judged, judge
from recipes.scenes.scene import Thing


@dataclass(frozen=True)
class Answer:
    """One judged answer.

    Attributes:
        scene: what it is about, and the truth.
        turn: the question and what is expected.
        reply: the answer.
        number: of the turn within its talk, from 0.
    """

    scene: "SceneRecord"
    turn: QA
    reply: GroundedReply
    number: int

    @cached_property
    def verdict(self) -> Verdict:
        """How good it is."""
        return judge(self.turn, self.reply, self.scene.boxes)

    @property
    def expected_boxes(self) -> list[Box]:
        """What the answer must point at, xyxy in pixels."""
        return [self.scene.boxes[i] for i in sorted(self.turn.expected.regions or ())]

    @property
    def marked_thing(self) -> Thing | None:
        """What the first region that the question mentions shows; None for background."""
        regions = [piece.region for piece in self.turn.question if isinstance(piece, Mention)]
        things = self.scene.things
        return things[regions[0]] if regions and regions[0] < len(things) else None


@dataclass(frozen=True)
class Talked:
    """A talk and what the model said in it.

    Attributes:
        sample: boxes and turns.
        first: turn from which on answers are judged.
        replies: one per turn.
    """

    sample: GroundedSample
    first: int
    replies: tuple[GroundedReply, ...]

    @property
    def is_conversation(self) -> bool:
        """Whether several turns are judged."""
        return len(self.sample.turns) - self.first > 1


@dataclass(frozen=True)
class SceneRecord:
    """Everything a model made of one scene.

    Attributes:
        index: of the scene.
        key: of the scene.
        size: (H, W) of the picture, the frame of all boxes.
        things: the truth; their boxes in pixels.
        stuff: names and boxes of stretches of background.
        proposals: boxes of all proposals, best first.
        shown: boxes of those that the language model is shown.
        talks: questions and answers.
    """

    index: int
    key: str
    size: Size
    things: tuple[Thing, ...]
    stuff: tuple[tuple[str, Box], ...]
    proposals: tuple[Box, ...]
    shown: tuple[Box, ...]
    talks: tuple[Talked, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """What each region holds: things, then stuff."""
        return (*(thing.noun for thing in self.things), *(name for name, _ in self.stuff))

    @cached_property
    def boxes(self) -> tuple[Box, ...]:
        """Of the same regions, xyxy in pixels; the indices of the talks' samples."""
        return (*(thing.box for thing in self.things), *(box for _, box in self.stuff))

    @cached_property
    def singles(self) -> list[Answer]:
        """Answers to questions that stand alone, and to follow-ups."""
        talks = [self._answers(talk) for talk in self.talks if not talk.is_conversation]
        return [answer for answers in talks for answer in answers]

    @cached_property
    def conversations(self) -> list[list[Answer]]:
        """Answers of each longer conversation."""
        return [self._answers(talk) for talk in self.talks if talk.is_conversation]

    def _answers(self, talk: Talked) -> list[Answer]:
        """Those that can be judged."""
        turns = zip(talk.sample.turns, talk.replies, strict=True)
        return [
            Answer(self, turn, reply, number)
            for number, (turn, reply) in enumerate(turns)
            if number >= talk.first and is_judged(turn.expected)
        ]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the inverse of `from_dict`."""
        return {
            "index": self.index,
            "key": self.key,
            "size": list(self.size),
            "things": [[t.noun, t.colour, t.size, list(t.box), t.visible] for t in self.things],
            "stuff": [[name, list(box)] for name, box in self.stuff],
            "proposals": [list(box) for box in self.proposals],
            "shown": [list(box) for box in self.shown],
            "talks": [
                {
                    "sample": talk.sample.to_dict(),
                    "first": talk.first,
                    "replies": [reply.to_dict() for reply in talk.replies],
                }
                for talk in self.talks
            ],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`."""
        things = [
            Thing(noun, colour, size, to_box(box), visible)
            for noun, colour, size, box, visible in data["things"]
        ]
        talks = [
            Talked(
                GroundedSample.from_dict(talk["sample"]),
                talk["first"],
                tuple(GroundedReply.from_dict(reply) for reply in talk["replies"]),
            )
            for talk in data["talks"]
        ]
        return cls(
            index=data["index"],
            key=data["key"],
            size=to_size(data["size"]),
            things=tuple(things),
            stuff=tuple((name, to_box(box)) for name, box in data["stuff"]),
            proposals=tuple(to_box(box) for box in data["proposals"]),
            shown=tuple(to_box(box) for box in data["shown"]),
            talks=tuple(talks),
        )
