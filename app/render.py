"""Conversations as HTML and as boxes for the canvas, in one stable colour per region."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path
from re import Match, compile
from typing import Any

from groma.chat.conversation import Conversation, GroundedReply
from groma.config import NUM_REGION_TOKENS
from groma.drawing.boxes import region_colour, text_colour
from groma.types import Box, GroundedSpan, Region, RegionRef

HERE = Path(__file__).parent
STYLES = ("canvas.css", "talk.css", "finetune.css")

LONGEST_LABEL = 28
"""Characters of a label on the canvas."""

SAME_SIDE = 1.0
"""Pixels by which the sides of one box, told twice, may differ."""

NO_TWINS: Mapping[int, int] = {}

_MENTION = compile(r"\[(\d{1,3})\]")
_ENDINGS = {"length": "cut off at the length limit", "cancelled": "stopped"}


def read_styles() -> str:
    """All style sheets; for the page's head, because Gradio rewrites those it is given."""
    return "\n".join((HERE / name).read_text("utf-8") for name in STYLES)


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


def user_colours() -> list[dict[str, str]]:
    """Colour of each of the user's regions, from [1] on, and of text on it."""
    numbers = range(1, NUM_REGION_TOKENS + 1)
    colours = [region_colour(NUM_REGION_TOKENS - number) for number in numbers]
    return [{"colour": colour, "ink": text_colour(colour)} for colour in colours]


def render_talk(
    conversation: Conversation | None,
    pending: Pending | None = None,
    certain: float = 0.0,
    note: str = "",
    teaches: bool = False,
) -> str:
    """A whole conversation as HTML in which nothing but our own markup is markup.

    Args:
        conversation: what was said, or None without a picture.
        pending: the question being answered.
        certain: phrases whose score is below this are shown as uncertain.
        note: a sentence above the conversation.
        teaches: whether each answer that is ready has a button to correct it, as long as no other
            one is growing.
    """
    turns = conversation.turns if conversation else ()
    twins = find_twins(conversation, pending.boxes if pending else ())
    ready = teaches and not pending
    parts = [
        render_turn(turn.question, turn.reply, certain, twins, place if ready else None)
        for place, turn in enumerate(turns)
    ]
    if pending:
        parts.append(render_turn(pending.question, pending.reply, certain, twins))
    if note or not parts:
        parts.insert(0, f'<p class="groma-note">{escape(note or _welcome(conversation))}</p>')
    return f'<div class="groma-talk" role="log" aria-label="Conversation">{"".join(parts)}</div>'


def render_turn(
    question: str,
    reply: GroundedReply | None,
    certain: float,
    twins: Mapping[int, int] = NO_TWINS,
    place: int | None = None,
) -> str:
    """One question and what there is of its answer; `place` of the turn if it can be corrected."""
    answer = '<span class="groma-wait">…</span>'
    if reply is not None:
        answer = render_reply(reply, certain, twins)
    if place is not None:
        answer += _correct_button(place)
    return (
        f'<div class="groma-question">{render_question(question, twins)}</div>'
        f'<div class="groma-answer">{answer}</div>'
    )


def _correct_button(place: int) -> str:
    return (
        f'<button type="button" class="groma-correct" data-correct="{place}" '
        'aria-label="Correct this answer" title="Correct it and keep it as an example"></button>'
    )


def render_question(question: str, twins: Mapping[int, int] = NO_TWINS) -> str:
    """A question with its `[K]` as chips."""
    return _MENTION.sub(partial(_chip, twins=twins), _escape(question))


def render_reply(
    reply: GroundedReply, certain: float = 0.0, twins: Mapping[int, int] = NO_TWINS
) -> str:
    """An answer with its grounded phrases marked; model text is escaped before that."""
    text, at = "", 0
    for span in reply.spans:
        text += _escape(reply.text[at : span.start]) + _render_span(reply, span, certain, twins)
        at = span.end
    text += _escape(reply.text[at:])
    if reply.finish == "streaming":
        text += '<span class="groma-cursor"></span>'
    if reply.finish in _ENDINGS:
        text += f' <span class="groma-ending">({_ENDINGS[reply.finish]})</span>'
    return text


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
        certain: see `render_talk`.

    Returns:
        JSON: `regions` that the user drew or a reply points to, `proposals`, whether those are
        `named` for good, `next` number of a user region and the `colours` of the user's regions.
        A proposal that is the user's as well is one region with both names in its key.
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
        "key": region_key(region) + ("" if twin is None else f" r{twin}"),
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


def _render_span(
    reply: GroundedReply, span: GroundedSpan, certain: float, twins: Mapping[int, int]
) -> str:
    keys = " ".join(region_key(region) for region in span.regions)
    colours = list(dict.fromkeys(colour_of(region, twins) for region in span.regions))
    is_uncertain = bool(doubts(span, certain))
    tip = _tip(span, is_uncertain)
    return (
        f'<span class="groma-phrase{" groma-uncertain" if is_uncertain else ""}" tabindex="0" '
        f'role="mark" data-regions="{keys}" data-tip="{tip}" aria-description="{tip}" '
        f'style="--colour: {colours[0]}; --stripes: {_stripes(colours)}">'
        f"{_escape(reply.phrase(span)) or '▢'}</span>"
    )


def _tip(span: GroundedSpan, is_uncertain: bool) -> str:
    scores = [certainty(region) for region in span.regions]
    shown = ", ".join(scores[:4]) + (" …" if len(scores) > 4 else "")
    return f"{'uncertain: ' if is_uncertain else ''}{shown}"


def _stripes(colours: Sequence[str]) -> str:
    """A line with an equal part of every colour, as a CSS gradient."""
    width = 100 / len(colours)
    parts = [f"{c} {width * i:.1f}% {width * (i + 1):.1f}%" for i, c in enumerate(colours)]
    return f"linear-gradient(90deg, {', '.join(parts)})"


def _chip(mention: Match[str], twins: Mapping[int, int]) -> str:
    number = int(mention[1])
    if not 1 <= number <= NUM_REGION_TOKENS:
        return mention[0]
    colour = region_colour(_user_colour_id(number, twins))
    return (
        f'<span class="groma-phrase groma-number" tabindex="0" data-regions="u{number}" '
        f'style="--colour: {colour}; --ink: {text_colour(colour)}">{number}</span>'
    )


def _escape(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def _welcome(conversation: Conversation | None) -> str:
    if conversation is None:
        return "Choose a picture to begin."
    return "Ask anything about the picture. Words in colour show what they mean."
