"""Conversations as HTML, in one stable colour per region."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from re import Match, compile

from groma.chat.conversation import Conversation, GroundedReply
from groma.config import NUM_REGION_TOKENS
from groma.drawing.boxes import text_colour
from groma.named_regions import GroundedSpan

from ..canvas.shown_boxes import (
    NO_TWINS,
    Pending,
    certainty,
    colour_of,
    doubts,
    find_twins,
    region_key,
    user_colour,
)

_MENTION = compile(r"\[(\d{1,3})\]")
_ENDINGS = {"length": "cut off at the length limit", "cancelled": "stopped"}


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


def _render_span(
    reply: GroundedReply, span: GroundedSpan, certain: float, twins: Mapping[int, int]
) -> str:
    keys = regions_attribute(*(region_key(region) for region in span.regions))
    colours = list(dict.fromkeys(colour_of(region, twins) for region in span.regions))
    is_uncertain = bool(doubts(span, certain))
    tip = _tip(span, is_uncertain)
    return (
        f'<span class="groma-phrase{" groma-uncertain" if is_uncertain else ""}" tabindex="0" '
        f'role="mark" {keys} data-tip="{tip}" aria-description="{tip}" '
        f'style="--colour: {colours[0]}; --stripes: {_stripes(colours)}">'
        f"{_escape(reply.phrase(span)) or '▢'}</span>"
    )


def regions_attribute(*keys: str) -> str:
    """What ties an element to regions, by their names."""
    return f'data-regions="{escape(json.dumps(keys))}"'


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
    colour = user_colour(number, twins)
    return (
        f'<span class="groma-phrase groma-number" tabindex="0" {regions_attribute(f"u{number}")} '
        f'style="--colour: {colour}; --ink: {text_colour(colour)}">{number}</span>'
    )


def _escape(text: str) -> str:
    return escape(text).replace("\n", "<br>")


def _welcome(conversation: Conversation | None) -> str:
    if conversation is None:
        return "Choose a picture to begin."
    return "Ask anything about the picture. Words in colour show what they mean."
