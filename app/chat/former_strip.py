"""Talks that a browser tab can go back to."""

from html import escape
from textwrap import shorten

from ..shared.sessions import Session

_TITLE = "Earlier talks"
_LONGEST = 100
"""Characters of a question."""


def render_former(talks: dict[str, Session]) -> str:
    """A strip of buttons, the newest talk first: pictures with first questions; "" without any.

    Args:
        talks: by their keys, the newest last.
    """
    if not talks:
        return ""
    buttons = "".join(_button(key, talks[key]) for key in reversed(talks))
    return (
        f'<div class="groma-strip" role="group" aria-label="{_TITLE}"><p>{_TITLE}</p>'
        f'<div class="groma-examples">{buttons}</div></div>'
    )


def _button(key: str, talk: Session) -> str:
    assert talk.picture is not None
    name = escape(talk.picture.name)
    question = escape(shorten(talk.turns[0].question, _LONGEST, placeholder=" …"))
    picture = f'<img alt="{name}" src="{talk.thumbnail}">' if talk.thumbnail else f"<b>{name}</b>"
    count = len(talk.turns)
    said = f"{count} question{'s' if count > 1 else ''}, {talk.adapter or talk.model}"
    return (
        f'<button type="button" data-former="{key}" title="{escape(said)}">'
        f"{picture}<span>{question}</span></button>"
    )
