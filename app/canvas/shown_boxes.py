"""What the canvas shows of a talk: boxes with one stable colour per region, as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from groma.chat.conversation import Conversation, GroundedReply
from groma.config import NUM_REGION_TOKENS
from groma.drawing.boxes import region_colour, text_colour
from groma.named_regions import GroundedSpan, Region, RegionRef
from groma.types import Box

LONGEST_LABEL = 28
"""Characters of a label on the canvas."""

SAME_SIDE = 1.0
"""Pixels by which the sides of one box, told twice, may differ."""

NO_TWINS: Mapping[int, int] = {}


@dataclass(frozen=True)
class Pending:
    """A question whose answer is growing.

    Attributes:
        question: as typed.
        boxes: drawn with it, xyxy in pixels.
        reply: the answer so far, or None before it begins.
    """

    question: str
    boxes: Sequence[Box] = ()
    reply: GroundedReply | None = None


def region_key(region: RegionRef | Region) -> str:
    """Name of a region in the page: "u2" is the user's [2], "r7" the proposal `<r7>`."""
    return f"r{region.id}" if region.user is None else f"u{region.user}"


def find_twins(conversation: Conversation | None, boxes: Sequence[Box] = ()) -> dict[int, int]:
    """The user's regions that have the box of a proposal with a name, such as an adopted one.

    Args:
        conversation: what was said.
        boxes: drawn since then, xyxy in pixels.

    Returns:
        Number of the user's region -> id of the proposal.
    """
    named = conversation.regions if conversation else ()
    found = {region.id: region.box for region in named if region.user is None}
    drawn = [region.box for region in named if region.user is not None]
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
        `named` for good, `next` number of a user region and the `colours` of the user's regions.
        A proposal that is the user's as well is one region, whose `twin` is its other name.
    """
    named = conversation.regions if conversation else ()
    replies = [turn.reply for turn in conversation.turns] if conversation else []
    users = [region.ref(1.0) for region in named if region.user is not None]
    if pending:
        users += [
            RegionRef(-1, box, 1.0, 1.0, user=number)
            for number, box in enumerate(pending.boxes, start=len(users) + 1)
        ]
        replies.append(pending.reply or GroundedReply("", (), (1, 1)))
    twins = find_twins(conversation, pending.boxes if pending else ())
    owners = {twin: number for number, twin in twins.items()}
    replies = [_owned(reply, owners) for reply in replies]
    latest = {region_key(region) for region in (replies[-1].regions if replies else ())}
    mentioned = {region_key(region): region for region in users}
    doubted: set[str] = set()
    for reply in replies:
        mentioned |= {region_key(region): region for region in reply.regions}
        doubted -= {region_key(region) for region in reply.regions}
        doubted |= {region_key(r) for span in reply.spans for r in doubts(span, certain)}
    labels = _phrases(replies)
    found = [region for region in named if region.user is None]
    return {
        "regions": [
            _shown(region, labels.get(key, ""), key in latest, key in doubted, twins)
            for key, region in mentioned.items()
        ],
        "proposals": [_proposal(region) for region in found or proposals],
        "named": bool(found),
        "next": len(users) + 1,
        "colours": user_colours(),
    }


def certainty(region: RegionRef) -> str:
    """How sure the model was, for people."""
    return f"{100 * region.score:.0f} % sure"


def doubts(span: GroundedSpan, certain: float) -> list[RegionRef]:
    """Regions of a phrase that the model was not sure of.

    Where a phrase means several, each choice is shared with those that are still to be named: the
    first of three dogs is certain at a third of the score that a single dog needs.

    Args:
        span: the phrase.
        certain: least score of a single region.
    """
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
    region: RegionRef, label: str, is_latest: bool, is_uncertain: bool, twins: Mapping[int, int]
) -> dict[str, Any]:
    colour = colour_of(region, twins)
    twin = twins.get(region.user or 0)
    short = label if len(label) <= LONGEST_LABEL else label[: LONGEST_LABEL - 1].rstrip() + "…"
    return {
        "key": region_key(region),
        "twin": "" if twin is None else f"r{twin}",
        "box": list(region.box),
        "user": region.user or 0,
        "colour": colour,
        "ink": text_colour(colour),
        "label": short,
        "score": certainty(region) if label else "",
        "latest": is_latest,
        # Where a box of the user is, is certain.
        "uncertain": is_uncertain and region.user is None,
    }


def _proposal(region: Region) -> dict[str, Any]:
    colour = colour_of(region)
    return {
        "key": region_key(region),
        "box": [round(side, 1) for side in region.box],
        "colour": colour,
        "ink": text_colour(colour),
        "score": round(region.objectness, 3),
    }


def _phrases(replies: Sequence[GroundedReply]) -> dict[str, str]:
    """What each region was called last; its first name in that reply."""
    names: dict[str, str] = {}
    for reply in replies:
        spans = [(region, reply.phrase(span)) for span in reply.spans for region in span.regions]
        names |= {region_key(region): phrase or "this" for region, phrase in reversed(spans)}
    return names
