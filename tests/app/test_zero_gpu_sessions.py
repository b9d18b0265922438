"""ZeroGPU: what runs on the GPU shares nothing but copies with the rest."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
import torch

from app.canvas.region_canvas import Drawing
from app.chat.chat_tab import ChatTab, Settings, View
from app.shared.gpu_memory import seconds_to_answer
from app.shared.models_at_hand import Models
from app.shared.zero_gpu_sessions import ZeroGpuSessions, estimate, is_zero_gpu
from groma.chat.conversation import Finish
from groma.types import GromaError
from tests.app.scripted import ScriptedGroma, picture

BOX = (300.0, 300.0, 460.0, 450.0)


def lend_copies(run: Callable[..., Any]) -> Callable[..., Any]:
    """Pass arguments and results on as ZeroGPU does: pickled, and errors as their bare names."""

    def once(*arguments: object) -> object:
        try:
            return pickle.loads(pickle.dumps(run(*pickle.loads(pickle.dumps(arguments)))))
        except Exception as error:
            raise gr.Error(type(error).__name__, title="ZeroGPU worker error") from error

    def stream(*arguments: object) -> Iterator[object]:
        try:
            for part in run(*pickle.loads(pickle.dumps(arguments))):
                yield pickle.loads(pickle.dumps(part))
        except Exception as error:
            raise gr.Error(type(error).__name__, title="ZeroGPU worker error") from error

    return stream if run.__name__ == "answer" else once


@pytest.fixture
def sessions() -> ZeroGpuSessions:
    other = ScriptedGroma(score_threshold=0.75)
    sessions = ZeroGpuSessions(Models("mini", ScriptedGroma(), {"other": lambda: other}))
    sessions._see, sessions._answer = lend_copies(sessions._see), lend_copies(sessions._answer)
    return sessions


@pytest.fixture
def drawing(tmp_path: Path) -> Drawing:
    picture().save(tmp_path / "scene.png")
    return Drawing(tmp_path / "scene.png", (BOX,))


def ask(tab: ChatTab, drawing: Drawing, question: str) -> View:
    return list(tab.ask("me", drawing, question, Settings()))[-1]


def test_a_whole_talk(sessions: ZeroGpuSessions, drawing: Drawing) -> None:
    tab = ChatTab(sessions)
    view = tab.open("me", drawing, Settings())
    assert len(view.shown["proposals"]) == 3
    ask(tab, drawing, "What is [1]?")
    view = ask(tab, Drawing(drawing.picture), "How many are beside [1]?")
    assert view.talk.count("groma-answer") == 2
    assert view.shown["next"] == 2
    assert sessions.num_bytes == 0
    assert list(tab.regenerate("me", Settings()))[-1].talk.count("groma-answer") == 2
    assert tab.rewrite("me", drawing, 0, Settings()).question == "What is [1]?"
    assert tab.restore("me", Drawing(), Settings()).talk.count("groma-answer") == 2
    assert tab.undo("me", drawing, Settings()).question == "How many are beside [1]?"
    assert tab.clear("me", drawing, Settings()).shown["regions"] == []


def test_who_comes_back_goes_on(sessions: ZeroGpuSessions, drawing: Drawing) -> None:
    tab = ChatTab(sessions)
    tab.open("me", drawing, Settings())
    ask(tab, drawing, "What is [1]?")
    view = tab.come_back("later", Drawing(), "", sessions.ticket("me"), Settings())
    assert view.talk.count("groma-answer") == 1
    question = tab.ask("later", view.drawing, "How many are beside [1]?", Settings())
    assert list(question)[-1].talk.count("groma-answer") == 2
    assert finishes(sessions) == ["stop"]


def test_another_model_is_there_from_the_beginning_and_answers(
    sessions: ZeroGpuSessions, drawing: Drawing
) -> None:
    tab = ChatTab(sessions)
    assert set(sessions.models._loaded) == {"mini", "other"}
    tab.open("me", drawing, Settings())
    ask(tab, drawing, "What is [1]?")
    *_, view = tab.switch("me", Drawing(drawing.picture), "other", Settings())
    assert len(view.shown["proposals"]) == 2
    assert list(map(list, view.drawing.regions)) == list(map(list, drawing.regions))
    other = sessions.models.get("other")
    num_encoded = len(other.encoded)
    assert ask(tab, drawing, "What is [1]?").talk.count("groma-answer") == 1
    assert len(other.encoded) == num_encoded + 1


def test_stop_keeps_what_was_said(sessions: ZeroGpuSessions, drawing: Drawing) -> None:
    tab = ChatTab(sessions)
    tab.open("me", drawing, Settings())
    ask(tab, drawing, "What is [1]?")
    stream = tab.ask("me", Drawing(drawing.picture), "a long story about [1]", Settings())
    next(stream)
    next(stream)
    tab.stop("me")
    view = list(stream)[-1]
    assert view.warning is None
    assert "stopped" in view.talk
    assert finishes(sessions) == ["stop", "cancelled"]
    last = sessions.get("me").conversation.turns[-1]
    assert last.question == "a long story about [1]"
    assert last.reply.text.startswith("w")
    ask(tab, Drawing(drawing.picture), "What is [1]?")
    assert finishes(sessions) == ["stop", "cancelled", "stop"]


def finishes(sessions: ZeroGpuSessions) -> list[Finish]:
    return [turn.reply.finish for turn in sessions.get("me").conversation.turns]


def test_mistakes_on_the_gpu_keep_their_sentence(
    sessions: ZeroGpuSessions, drawing: Drawing, monkeypatch: pytest.MonkeyPatch
) -> None:
    tab = ChatTab(sessions)
    (drawing.picture.parent / "bad.png").write_bytes(b"no picture")
    bad = Drawing(drawing.picture.parent / "bad.png")
    assert "is not a" in tab.open("me", bad, Settings()).warning
    tab.open("me", drawing, Settings())
    assert "no region [7]" in ask(tab, drawing, "What is [7]?").warning
    assert "no question" in tab.undo("me", drawing, Settings()).warning

    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(ScriptedGroma, "encode_image", fail)
    assert "memory is full" in tab.open("me", drawing, Settings()).warning
    view = ask(tab, drawing, "Describe")
    assert "memory is full" in view.warning
    assert (view.question, view.drawing) == ("Describe", drawing)


def test_what_zero_gpu_refuses_is_told(sessions: ZeroGpuSessions, drawing: Drawing) -> None:
    def refuse(*_: object) -> None:
        raise gr.Error("60 s are left.", title="Quota exceeded")

    sessions._see = refuse
    view = ChatTab(sessions).open("me", drawing, Settings())
    assert view.warning == "Quota exceeded: 60 s are left."


def test_no_picture(sessions: ZeroGpuSessions) -> None:
    with pytest.raises(GromaError, match="choose a picture"):
        next(sessions.stream("me", "Hi"))


def test_duration_grows_with_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [estimate("mini", Path(), None, "", (), {"max_new_tokens": n}) for n in (16, 1024)]
    assert 0 < seconds[0] < seconds[1] < 120
    default = seconds_to_answer({})
    assert default == seconds_to_answer({"max_new_tokens": 512})
    for odd in (None, [], "much", {"max_new_tokens": "many"}, {"max_new_tokens": None}):
        assert seconds_to_answer(odd) == default
    assert (
        0
        < seconds_to_answer({"max_new_tokens": -5})
        < seconds_to_answer({"max_new_tokens": 10**30})
        < 200
    )
    assert not is_zero_gpu()
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert is_zero_gpu()
