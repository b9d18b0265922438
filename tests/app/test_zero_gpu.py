"""ZeroGPU: what runs on the GPU shares nothing but copies with the rest."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.canvas import Drawing
from app.chat_tab import ChatTab, Settings, View
from app.zero_gpu import ZeroGpuSessions, estimate, is_zero_gpu
from groma.types import GromaError
from tests.app.scripted import ScriptedGroma, picture

BOX = (300.0, 300.0, 460.0, 450.0)


def lend_copies(run: Callable[..., Any]) -> Callable[..., Any]:
    """Pass arguments and results on as ZeroGPU does: pickled."""

    def once(*arguments: object) -> object:
        return pickle.loads(pickle.dumps(run(*pickle.loads(pickle.dumps(arguments)))))

    def stream(*arguments: object) -> Iterator[object]:
        for part in run(*pickle.loads(pickle.dumps(arguments))):
            yield pickle.loads(pickle.dumps(part))

    return stream if run.__name__ == "answer" else once


@pytest.fixture
def sessions() -> ZeroGpuSessions:
    sessions = ZeroGpuSessions(ScriptedGroma())
    sessions._look, sessions._answer = lend_copies(sessions._look), lend_copies(sessions._answer)
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
    assert tab.edit("me", drawing, Settings()).question == "How many are beside [1]?"
    assert tab.clear("me", drawing, Settings()).shown["regions"] == []


def test_stop_gives_the_question_back(sessions: ZeroGpuSessions, drawing: Drawing) -> None:
    tab = ChatTab(sessions)
    tab.open("me", drawing, Settings())
    stream = tab.ask("me", drawing, "a long story", Settings())
    next(stream)
    next(stream)
    tab.stop("me")
    view = list(stream)[-1]
    assert (view.warning, view.question, view.drawing) == ("Stopped.", "a long story", drawing)


def test_no_picture(sessions: ZeroGpuSessions) -> None:
    with pytest.raises(GromaError, match="choose a picture"):
        next(sessions.stream("me", "Hi"))


def test_duration_grows_with_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = [estimate(Path(), None, "", (), {"max_new_tokens": n}) for n in (16, 1024)]
    assert 0 < seconds[0] < seconds[1] < 120
    assert not is_zero_gpu()
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert is_zero_gpu()
