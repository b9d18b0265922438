"""Conversations as HTML, in one stable colour per region."""

import json
from collections.abc import Mapping, Sequence, Set
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
    as_said,
    certainty,
    colour_of,
    doubts,
    find_twins,
    region_key,
    user_colour,
)

_MENTION = compile(r"\[(\d{1,3})\]")
TOOLS = frozenset({"edit", "copy", "boxes", "correct"})
"""Buttons of a turn."""

NO_TOOLS: frozenset[str] = frozenset()
_ENDINGS = {"length": "cut off at the length limit", "cancelled": "stopped"}


def render_talk(
    conversation: Conversation | None,
    pending: Pending | None = None,
    certain: float = 0.0,
    note: str = "",
    can_restore: bool = False,
    tools: Set[str] = NO_TOOLS,
) -> str:
    """A whole conversation as HTML in which nothing but our own markup is markup.

    Args:
        conversation: what was said, or None without a picture.
        pending: the question being answered.
        certain: phrases whose score is below this are shown as uncertain.
        note: a sentence below the conversation.
        can_restore: whether the note has a button that brings the talk before back.
        tools: buttons of every turn, some of `TOOLS`; while an answer is growing, those alone that
            leave the conversation as it is.
    """
    turns = conversation.turns if conversation else ()
    twins = find_twins(conversation, pending.shapes if pending else ())
    ready = tools - {"edit", "correct"} if pending else tools
    parts = [
        render_turn(turn.question, turn.reply, certain, twins, place, ready)
        for place, turn in enumerate(turns)
    ]
    if pending:
        parts.append(render_turn(pending.question, pending.reply, certain, twins))
    if note or not parts:
        undo = _button("restore", 1, "Undo", "Undo: bring the talk before back")
        words = escape(note or _welcome(conversation))
        parts.append(f'<p class="groma-note">{words}{" " + undo if can_restore else ""}</p>')
    return (
        '<div class="groma-talk" role="log" aria-live="off" aria-label="Conversation">'
        f"{''.join(parts)}</div>"
    )


def render_turn(
    question: str,
    reply: GroundedReply | None,
    certain: float,
    twins: Mapping[int, int] = NO_TWINS,
    place: int = 0,
    tools: Set[str] = NO_TOOLS,
) -> str:
    """One question and what there is of its answer, with buttons for the turn at a place."""
    answer = '<span class="groma-wait">…</span>'
    if reply is not None:
        answer = render_reply(reply, certain, twins)
    edit = _button("edit", place, "Edit", f"Edit question {place + 1}") if "edit" in tools else ""
    return (
        '<div class="groma-turn"><div class="groma-asked">'
        f'<div class="groma-question" role="article" aria-label="You">'
        f"{render_question(question, twins)}</div>{edit}</div>"
        f'<div class="groma-answer" role="article" aria-label="Groma">{answer}</div>'
        f"{_answer_tools(reply, place, tools)}</div>"
    )


def _answer_tools(reply: GroundedReply | None, place: int, tools: Set[str]) -> str:
    names = {"copy": "Copy", "boxes": "Boxes", "correct": "Correct"}
    has_boxes = reply is not None and bool(reply.regions)
    buttons = [
        _button(tool, place, name, f"{name}: answer {place + 1}")
        for tool, name in names.items()
        if tool in tools and (has_boxes or tool != "boxes")
    ]
    return f'<div class="groma-turn-tools">{"".join(buttons)}</div>' if buttons else ""


def _button(tool: str, place: int, name: str, label: str) -> str:
    return f'<button type="button" data-{tool}="{place}" aria-label="{label}">{name}</button>'


def render_question(question: str, twins: Mapping[int, int] = NO_TWINS) -> str:
    """A question with its `[K]` as chips."""
    return _MENTION.sub(partial(_chip, twins=twins), _escape(question))


def render_reply(
    reply: GroundedReply, certain: float = 0.0, twins: Mapping[int, int] = NO_TWINS
) -> str:
    """An answer with its grounded phrases marked; model text is escaped before that."""
    text, at = "", 0
    for span in as_said(reply).spans:
        text += _escape(reply.text[at : span.start]) + _render_span(reply, span, certain, twins)
        at = span.end
    text += _escape(reply.text[at:])
    if reply.finish == "streaming":
        text += '<span class="groma-cursor"></span>'
    if reply.finish in _ENDINGS:
        text += f' <span class="groma-ending">({_ENDINGS[reply.finish]})</span>'
    if reply.adapter:
        text += (
            f'<span class="groma-author">answered by the adapter {_escape(reply.adapter)}</span>'
        )
    return text


def _render_span(
    reply: GroundedReply, span: GroundedSpan, certain: float, twins: Mapping[int, int]
) -> str:
    keys = regions_attribute(*(region_key(region) for region in span.regions))
    colours = list(dict.fromkeys(colour_of(region, twins) for region in span.regions))
    is_uncertain = bool(doubts(reply, span, certain))
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
