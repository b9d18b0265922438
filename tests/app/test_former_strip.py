"""The strip of earlier talks, as HTML."""

from pathlib import Path

from app.chat.former_strip import render_former
from app.shared.sessions import Session
from groma.chat.conversation import Conversation
from tests.app.scripted import ScriptedGroma, picture


def kept(question: str, thumbnail: str = "data:,x") -> Session:
    conversation: Conversation = ScriptedGroma().chat(picture()).conversation
    chat = ScriptedGroma().chat(picture(), conversation)
    chat.ask(question)
    file = Path("/somewhere/a <b> scene.png")
    return Session("mini", file, chat.conversation, thumbnail=thumbnail)


def test_the_newest_comes_first_and_nothing_becomes_markup() -> None:
    talks = {"k1": kept("What is <i>this</i>?"), "k2": kept("long " * 700, thumbnail="")}
    html = render_former(talks)
    assert html.index("k2") < html.index("k1")
    assert "<i>" not in html
    assert html.count("<b>") == 1  # the name of a picture that is gone
    assert 'alt="a &lt;b&gt; scene.png"' in html
    assert "somewhere" not in html
    assert len(html) < 2000
    assert render_former({}) == ""
