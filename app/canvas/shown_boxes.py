"""What the canvas shows of a talk: boxes with one stable colour per region, as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from re import IGNORECASE, compile
from typing import Any

from groma.chat.conversation import Conversation, GroundedReply
from groma.config import NUM_REGION_TOKENS
from groma.drawing.boxes import region_colour, text_colour
from groma.drawing.outlines import outlines
from groma.named_regions import GroundedSpan, Region, RegionRef
from groma.shapes import Box as DrawnBox
from groma.shapes import Mask, Shape

LONGEST_LABEL = 28
"""Characters of a label on the canvas."""

SAME_SIDE = 1.0
"""Pixels by which the sides of one box, told twice, may differ."""

NO_TWINS: Mapping[int, int] = {}

_END = compile(r"(?<=[.!?])\s")
_HEDGE = compile(
    r"\b(?:(?:may|might|could) be|not (?:quite )?sure|perhaps|maybe|possibly)\b", IGNORECASE
)
"""What says that something is uncertain."""


@dataclass(frozen=True)
class Pending:
    """A question whose answer is growing.

    Attributes:
        question: as typed.
        shapes: drawn with it.
        reply: the answer so far, or None before it begins.
    """

    question: str
    shapes: Sequence[Shape] = ()
    reply: GroundedReply | None = None


def region_key(region: RegionRef | Region) -> str:
    """Name of a region in the page: "u2" is the user's [2], "r7" the proposal `<r7>`."""
    return f"r{region.id}" if region.user is None else f"u{region.user}"


def find_twins(conversation: Conversation | None, shapes: Sequence[Shape] = ()) -> dict[int, int]:
    """The user's regions that have the box of a proposal with a name, such as an adopted one.

    Args:
        conversation: what was said.
        shapes: drawn since then.

    Returns:
        Number of the user's region -> id of the proposal.
    """
    named = conversation.regions if conversation else ()
    found = {region.id: region.box for region in named if region.user is None}
    drawn = [region.box for region in named if region.user is not None]
    boxes = [shape.box(conversation.image_size) for shape in shapes] if conversation else []
    return {
        number: twin
        for number, box in enumerate((*drawn, *boxes), start=1)
        for twin, other in found.items()
        if all(abs(a - b) < SAME_SIDE for a, b in zip(box, other, strict=True))
    }


def colour_id(region: RegionRef | Region, twins: Mapping[int, int] = NO_TWINS) -> int:
    """The id that `region_colour` gives a region its colour by.

    Proposals have their own; the user's count down, because their ids are not known before the
    question is asked. One box has one colour: that of its proposal.

    Args:
        region: any.
        twins: see `find_twins`.
    """
    return region.id if region.user is None else _user_colour_id(region.user, twins)


def _user_colour_id(number: int, twins: Mapping[int, int]) -> int:
    return twins.get(number, NUM_REGION_TOKENS - number)


def colour_of(region: RegionRef | Region, twins: Mapping[int, int] = NO_TWINS) -> str:
    """The colour of a region throughout a conversation, as #rrggbb."""
    return region_colour(colour_id(region, twins))


def user_colour(number: int, twins: Mapping[int, int] = NO_TWINS) -> str:
    """The colour of the user's region of a number, as #rrggbb."""
    return region_colour(_user_colour_id(number, twins))


def user_colours() -> list[dict[str, str]]:
    """Colour of each of the user's regions, from [1] on, and of text on it."""
    colours = [user_colour(number) for number in range(1, NUM_REGION_TOKENS + 1)]
    return [{"colour": colour, "ink": text_colour(colour)} for colour in colours]


def shown_boxes(
    conversation: Conversation | None,
    proposals: Sequence[Region] = (),
    pending: Pending | None = None,
    certain: float = 0.0,
) -> dict[str, Any]:
    """What the canvas shows besides the boxes being drawn.

    Args:
        conversation: what was said.
        proposals: what was found, while no proposal has a name yet.
        pending: the question being answered.
        certain: regions whose score is below this are shown as uncertain.

    Returns:
        JSON: `regions` that the user drew or a reply points to, `proposals`, whether those are
        `named` for good, `next` number of a user region, the `colours` of the user's regions, the
        number of `turns`, whether the last of them is `growing`, and who made masks, if anybody
        did. A region's `labels` say what it was called in which turn, its `polygons` are its
        mask's. A proposal that is the user's as well is one region, whose `twin` is its other
        name.
    """
    named = conversation.regions if conversation else ()
    replies = [turn.reply for turn in conversation.turns] if conversation else []
    users = [region.ref(1.0) for region in named if region.user is not None]
    shapes = [region.shape for region in named if region.user is not None]
    if pending and conversation:
        size = conversation.image_size
        users += [
            RegionRef(-1, shape.box(size), 1.0, 1.0, user=number)
            for number, shape in enumerate(pending.shapes, start=len(users) + 1)
        ]
        shapes += pending.shapes
        replies.append(pending.reply or GroundedReply("", (), size))
    twins = find_twins(conversation, pending.shapes if pending else ())
    owners = {twin: number for number, twin in twins.items()}
    replies = [_owned(as_said(reply), owners) for reply in replies]
    mentioned = {region_key(region): region for region in users}
    doubted: set[str] = set()
    for reply in replies:
        mentioned |= {region_key(region): region for region in reply.regions}
        doubted -= {region_key(region) for region in reply.regions}
        doubted |= {region_key(r) for span in reply.spans for r in doubts(reply, span, certain)}
    labels = [_phrases(reply) for reply in replies]
    found = [region for region in named if region.user is None]
    return {
        "regions": [
            _shown(
                region,
                {str(turn): names[key] for turn, names in enumerate(labels) if key in names},
                key in doubted,
                twins,
                shapes[region.user - 1] if region.user else None,
            )
            for key, region in mentioned.items()
        ],
        "proposals": [_proposal(region) for region in found or proposals],
        "named": bool(found),
        "next": len(users) + 1,
        "colours": user_colours(),
        "turns": len(replies),
        "growing": pending is not None,
        "masks_by": next((reply.masks_by for reply in reversed(replies) if reply.masks_by), ""),
    }


def certainty(region: RegionRef) -> str:
    """How sure the model was, for people."""
    return f"{100 * region.score:.0f} % sure"


def is_hedged(reply: GroundedReply, span: GroundedSpan) -> bool:
    """Whether the sentence of a phrase says itself that it is not sure."""
    before, after = reply.text[: span.start], reply.text[span.end :]
    sentence = f"{_END.split(before)[-1]} … {_END.split(after)[0]}"
    return _HEDGE.search(sentence) is not None


def as_said(reply: GroundedReply) -> GroundedReply:
    """An answer in which what it is not sure of itself is no surer than the proposer was."""

    def unsure(region: RegionRef) -> RegionRef:
        return replace(region, score=min(region.score, region.objectness))

    spans = [
        replace(span, regions=tuple(map(unsure, span.regions))) if is_hedged(reply, span) else span
        for span in reply.spans
    ]
    return replace(reply, spans=tuple(spans))


def doubts(reply: GroundedReply, span: GroundedSpan, certain: float) -> list[RegionRef]:
    """Regions of a phrase that the model was not sure of, or says so; none if `certain` is 0.

    Where a phrase means several, each choice is shared with those that are still to be named: the
    first of three dogs is certain at a third of the score that a single dog needs.

    Args:
        reply: the answer.
        span: the phrase.
        certain: least score of a single region.
    """
    if certain and is_hedged(reply, span):
        return list(span.regions)
    to_name = range(len(span.regions), 0, -1)
    pairs = zip(span.regions, to_name, strict=True)
    return [region for region, share in pairs if region.score * share < certain]


def _owned(reply: GroundedReply, owners: Mapping[int, int]) -> GroundedReply:
    """A reply in which proposals that are the user's as well are the user's."""

    def own(region: RegionRef) -> RegionRef:
        is_own = region.user is None and region.id in owners
        return replace(region, user=owners[region.id]) if is_own else region

    spans = [replace(span, regions=tuple(map(own, span.regions))) for span in reply.spans]
    return replace(reply, spans=tuple(spans))


def _shown(
    region: RegionRef,
    labels: dict[str, str],
    is_uncertain: bool,
    twins: Mapping[int, int],
    shape: Shape | None,
) -> dict[str, Any]:
    colour = colour_of(region, twins)
    twin = twins.get(region.user or 0)
    mask = shape if isinstance(shape, Mask) else region.mask
    return {
        "key": region_key(region),
        "twin": "" if twin is None else f"r{twin}",
        "box": list(region.box),
        "polygons": mask and _contours(mask),
        "shape": None if shape is None or isinstance(shape, DrawnBox) else shape.to_json(),
        "user": region.user or 0,
        "colour": colour,
        "ink": text_colour(colour),
        "labels": labels,
        "label": next(reversed(labels.values()), ""),
        "score": certainty(region) if labels else "",
        # Where a box of the user is, is certain.
        "uncertain": is_uncertain and region.user is None,
    }


@lru_cache(maxsize=256)
def _contours(mask: Mask) -> list[list[list[float]]]:
    """Polygons, to a tenth of a pixel; an answer that is growing shows them again and again."""
    return [[[round(at, 1) for at in place] for place in polygon] for polygon in outlines(mask)]


def _proposal(region: Region) -> dict[str, Any]:
    colour = colour_of(region)
    return {
        "key": region_key(region),
        "box": [round(side, 1) for side in region.box],
        "colour": colour,
        "ink": text_colour(colour),
        "score": round(region.objectness, 3),
    }


def _phrases(reply: GroundedReply) -> dict[str, str]:
    """What each region is called in a reply: its first name there, made short."""
    spans = [(region, reply.phrase(span)) for span in reply.spans for region in span.regions]
    return {region_key(region): _short(phrase or "this") for region, phrase in reversed(spans)}


def _short(label: str) -> str:
    return label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1].rstrip() + "…"
