"""Sessions: whose is what, what is freed and when, what comes back."""

import asyncio
import gc
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from app.launch import tidying
from app.shared.models_at_hand import Models
from app.shared.sessions import Sessions
from groma.chat.chat import Chat
from groma.chat.conversation import GroundedReply
from groma.masks.grabcut import GrabCut
from groma.types import GromaError
from tests.app.scripted import ScriptedGroma, picture


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def groma() -> ScriptedGroma:
    return ScriptedGroma()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "scene.png"
    picture().save(path)
    return path


def ask(sessions: Sessions, tab: str, question: str = "Describe") -> GroundedReply:
    *_, reply = sessions.stream(tab, question)
    return reply


def held(sessions: Sessions) -> list[bool]:
    """Which sessions hold memory, least recently used first."""
    return [session.chat is not None for session in sessions._sessions.values()]


def test_two_tabs_never_mix(groma: ScriptedGroma, file: Path) -> None:
    sessions = Sessions(Models("mini", groma), budget=10**9)
    for tab in ("a", "b"):
        sessions.open(tab, file)
    ask(sessions, "a")
    assert len(sessions.get("a").conversation.turns) == 1
    assert sessions.get("b").conversation.turns == ()
    assert sessions.get("a").chat is not sessions.get("b").chat


def test_budget_frees_the_least_recently_used_and_it_comes_back(
    groma: ScriptedGroma, file: Path
) -> None:
    sessions = Sessions(Models("mini", groma), budget=10**9)
    sessions.open("a", file)
    one = sessions.num_bytes
    sessions = Sessions(Models("mini", groma), budget=int(2.5 * one))
    for tab in ("a", "b", "c"):
        sessions.open(tab, file)
        ask(sessions, tab)
    assert held(sessions) == [False, True, True]
    assert sessions.num_bytes <= 2.5 * one
    before = len(groma.encoded)
    ask(sessions, "a", "How many?")
    assert len(groma.encoded) == before + 1
    assert [turn.question for turn in sessions.get("a").conversation.turns] == [
        "Describe",
        "How many?",
    ]
    assert held(sessions) == [False, True, True]


def test_the_tab_at_work_may_exceed_the_budget(groma: ScriptedGroma, file: Path) -> None:
    sessions = Sessions(Models("mini", groma), budget=1)
    sessions.open("a", file)
    assert ask(sessions, "a").spans
    assert held(sessions) == [True]


def test_leaving_frees_memory_but_not_the_talk(groma: ScriptedGroma, file: Path) -> None:
    sessions = Sessions(Models("mini", groma), budget=10**9)
    sessions.open("a", file)
    ask(sessions, "a")
    sessions.leave("a")
    sessions.leave("nobody")
    assert sessions.num_bytes == 0
    ask(sessions, "a")
    assert len(sessions.get("a").conversation.turns) == 2


def test_leaving_during_an_answer_frees_memory_when_it_ends(
    groma: ScriptedGroma, file: Path
) -> None:
    sessions = Sessions(Models("mini", groma), budget=10**9)
    sessions.open("a", file)
    stream = sessions.stream("a", "Describe")
    next(stream)
    sessions.leave("a")
    assert held(sessions) == [True]
    assert [reply.finish for reply in stream] == ["cancelled"]
    assert held(sessions) == [False]
    ask(sessions, "a")
    assert held(sessions) == [True]


def test_memory_is_freed_after_a_rest_and_silently_made_again(
    groma: ScriptedGroma, file: Path
) -> None:
    clock = Clock()
    sessions = Sessions(Models("mini", groma), budget=10**9, rest=60, clock=clock)
    for tab in ("a", "b"):
        sessions.open(tab, file)
        ask(sessions, tab)
    clock.now = 50
    sessions.get("b")
    clock.now = 100
    assert held(sessions) == [True, True]
    sessions.tidy()
    assert held(sessions) == [False, True]
    before = len(groma.encoded)
    ask(sessions, "a", "How many?")
    assert len(groma.encoded) == before + 1
    assert len(sessions.get("a").conversation.turns) == 2


def test_what_is_at_work_is_not_tidied(groma: ScriptedGroma, file: Path) -> None:
    clock = Clock()
    sessions = Sessions(Models("mini", groma), budget=10**9, rest=60, lifetime=600, clock=clock)
    sessions.open("a", file)
    stream = sessions.stream("a", "Describe")
    next(stream)
    clock.now = 1000
    sessions.tidy()
    assert held(sessions) == [True]
    *_, reply = stream
    assert reply.finish == "stop"


def test_the_server_tidies_by_itself_until_it_ends(groma: ScriptedGroma, file: Path) -> None:
    clock = Clock()
    sessions = Sessions(Models("mini", groma), budget=10**9, rest=60, clock=clock)
    sessions.open("a", file)

    async def serve() -> None:
        async with tidying(sessions, 0.01)(None):
            clock.now = 59
            await asyncio.sleep(0.1)
            assert held(sessions) == [True]
            clock.now = 61
            for _ in range(500):
                await asyncio.sleep(0.01)
                if held(sessions) == [False]:
                    break
        assert len(asyncio.all_tasks()) == 1

    with ThreadPoolExecutor(1) as pool:  # playwright leaves a loop running in this thread
        pool.submit(asyncio.run, serve()).result()
    assert held(sessions) == [False]


def test_talks_are_forgotten_after_their_lifetime(groma: ScriptedGroma, file: Path) -> None:
    clock = Clock()
    sessions = Sessions(Models("mini", groma), budget=10**9, lifetime=600, clock=clock)
    sessions.open("a", file)
    ask(sessions, "a")
    clock.now = 500
    sessions.open("b", file)
    clock.now = 1000
    sessions.tidy()
    assert len(sessions) == 1
    assert sessions.get("b").picture == file
    clock.now = 5000
    assert sessions.get("b").picture is None


@pytest.mark.parametrize(
    "request_something",
    [ask, Sessions.undo, Sessions.clear, Sessions.propose],
)
def test_who_comes_back_too_late_is_told(
    groma: ScriptedGroma, file: Path, request_something: Callable
) -> None:
    clock = Clock()
    sessions = Sessions(Models("mini", groma), budget=10**9, lifetime=600, clock=clock)
    for tab in ("a", "b"):
        sessions.open(tab, file)
    ask(sessions, "a")
    clock.now = 1000
    for _ in range(2):
        with pytest.raises(GromaError, match="left alone for too long and is forgotten"):
            request_something(sessions, "a")
    with pytest.raises(GromaError, match="choose a picture"):
        request_something(sessions, "b")  # nothing was said there
    sessions.open("a", file)
    assert ask(sessions, "a").finish == "stop"


def test_a_talk_that_made_room_for_others_is_told_as_well(
    groma: ScriptedGroma, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.shared.sessions.MOST_FORGOTTEN", 2)
    sessions = Sessions(Models("mini", groma), budget=10**9, capacity=1)
    for tab in "abcd":
        sessions.open(tab, file)
        ask(sessions, tab)
    assert sessions.get("c").is_forgotten
    assert not sessions.get("a").is_forgotten


def test_who_comes_back_goes_on_and_so_does_a_page_that_is_still_there(
    groma: ScriptedGroma, file: Path
) -> None:
    sessions = Sessions(Models("mini", groma), budget=10**9)
    sessions.open("a", file)
    ask(sessions, "a")
    session = sessions.come_back("b", sessions.ticket("a"))
    assert session is sessions.get("b")
    assert session.conversation == sessions.get("a").conversation
    assert session.proposals == sessions.get("a").proposals
    ask(sessions, "b", "How many?")
    sessions.undo("a")
    assert [turn.question for turn in sessions.get("b").conversation.turns] == [
        "Describe",
        "How many?",
    ]
    assert sessions.get("a").conversation.turns == ()


def test_an_adapter_comes_back_with_its_talk(groma: ScriptedGroma, file: Path) -> None:
    sessions = Sessions(Models("mini", ScriptedGroma()), budget=10**9)
    sessions.open("a", file)
    sessions.switch("a", groma, "mine")
    sessions.come_back("b", sessions.ticket("a"))
    assert (sessions.get("b").adapted, sessions.peek("b").adapter) == (groma, "mine")


def test_who_comes_back_does_not_lose_what_was_begun_meanwhile(
    groma: ScriptedGroma, file: Path
) -> None:
    sessions = Sessions(Models("mini", groma), budget=10**9)
    for tab in ("a", "b"):
        sessions.open(tab, file)
    ask(sessions, "a")
    assert sessions.come_back("b", sessions.ticket("a")) is None
    assert sessions.get("b").conversation.turns == ()


def test_nobody_comes_back_by_guessing(groma: ScriptedGroma, file: Path) -> None:
    sessions, others = (
        Sessions(Models("mini", groma), budget=10**9),
        Sessions(Models("mini", groma), budget=10**9),
    )
    sessions.open("a", file)
    ticket = sessions.ticket("a")
    for guess in ("", "a", "a.", ticket[:-1], ticket[1:], f"b{ticket[1:]}", "ä", "\ud800"):
        assert sessions.come_back("b", guess) is None
    assert sessions.come_back("b", others.ticket("a")) is None
    assert sessions.come_back("b", sessions.ticket("nobody")) is None
    assert len(sessions) == 1


def test_who_comes_back_during_an_answer_finds_what_was_said_until_then(
    groma: ScriptedGroma, file: Path
) -> None:
    sessions = Sessions(Models("mini", groma), budget=10**9)
    sessions.open("a", file)
    stream = sessions.stream("a", "Describe")
    next(stream)
    sessions.leave("a")
    with ThreadPoolExecutor(1) as pool:
        returning = pool.submit(sessions.come_back, "b", sessions.ticket("a"))
        assert [reply.finish for reply in stream] == ["cancelled"]
        (turn,) = returning.result().conversation.turns
    assert turn.reply.finish == "cancelled"


def test_who_comes_back_to_a_forgotten_talk_is_told_until_there_is_a_new_one(
    groma: ScriptedGroma, file: Path
) -> None:
    clock = Clock()
    sessions = Sessions(Models("mini", groma), budget=10**9, lifetime=600, clock=clock)
    for tab in ("a", "b"):
        sessions.open(tab, file)
    ask(sessions, "a")
    clock.now = 1000
    for page in ("c", "d"):
        with pytest.raises(GromaError, match="left alone for too long and is forgotten"):
            sessions.come_back(page, sessions.ticket("a"))
    assert sessions.come_back("c", sessions.ticket("b")) is None  # nothing was said there
    assert sessions.get("a").is_forgotten
    with pytest.raises(GromaError, match="left alone for too long and is forgotten"):
        sessions.come_back("c", sessions.ticket("a"))
    sessions.open("a", file)
    assert sessions.come_back("c", sessions.ticket("a")).picture == file


def test_an_uploaded_picture_stays_as_long_as_its_talk(
    groma: ScriptedGroma, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    (tmp_path / "uploads").mkdir()
    uploaded, other = tmp_path / "uploads" / "scene.png", tmp_path / "scene.png"
    sessions = Sessions(Models("mini", groma), budget=10**9)

    def is_touched(path: Path, action: Callable[[], object]) -> bool:
        os.utime(path, (0, 0))
        action()
        return path.stat().st_mtime > 0

    for tab, path in (("a", uploaded), ("b", other)):
        picture().save(path)
        sessions.open(tab, path)
    assert is_touched(uploaded, lambda: ask(sessions, "a"))
    assert is_touched(uploaded, lambda: sessions.come_back("c", sessions.ticket("a")))
    assert not is_touched(uploaded, lambda: ask(sessions, "b"))
    assert not is_touched(other, lambda: ask(sessions, "b"))  # Gradio does not remove it.
    uploaded.unlink()
    sessions.leave("a")
    with pytest.raises(GromaError, match="picture is gone"):
        ask(sessions, "a")


def test_number_of_sessions_is_limited(groma: ScriptedGroma) -> None:
    sessions = Sessions(Models("mini", groma), budget=1, capacity=3)
    first = sessions.get("0")
    for tab in range(1, 10):
        sessions.get(str(tab))
    assert len(sessions) == 3
    assert sessions.get("9") is sessions.get("9")
    assert sessions.get("0") is not first


def test_one_answer_at_a_time_in_a_tab(groma: ScriptedGroma, file: Path) -> None:
    sessions = Sessions(Models("mini", groma), budget=10**9)
    with pytest.raises(GromaError, match="choose a picture"):
        ask(sessions, "a")
    sessions.open("a", file)
    stream = sessions.stream("a", "Describe")
    next(stream)
    with pytest.raises(GromaError, match="still answering"):
        ask(sessions, "a")
    with pytest.raises(GromaError, match="still answering"):
        sessions.open("a", file)
    sessions.free()
    assert held(sessions) == [True]
    stream.close()
    assert [turn.reply.finish for turn in sessions.get("a").conversation.turns] == ["cancelled"]
    assert ask(sessions, "a").finish == "stop"


def test_bad_picture_changes_nothing(groma: ScriptedGroma, file: Path, tmp_path: Path) -> None:
    sessions = Sessions(Models("mini", groma), budget=10**9)
    sessions.open("a", file)
    ask(sessions, "a")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(GromaError, match="is not a"):
        sessions.open("a", tmp_path / "bad.png")
    assert sessions.get("a").picture == file
    assert len(sessions.get("a").conversation.turns) == 1


def test_out_of_memory_frees_everything_and_tries_once_more(
    groma: ScriptedGroma, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [1, 2, 3]
    answer = Chat.stream

    def stream(self: Chat, *args: object, **settings: object) -> Iterator[GroundedReply]:
        replies = answer(self, *args, **settings)
        yield next(replies)
        if failures:
            failures.pop()
            raise torch.OutOfMemoryError
        yield from replies

    monkeypatch.setattr(Chat, "stream", stream)
    sessions = Sessions(Models("mini", groma), budget=10**9)
    for tab in ("a", "b"):
        sessions.open(tab, file)
    with pytest.raises(GromaError, match="memory is full"):
        ask(sessions, "a")
    assert not sessions.get("b").chat
    assert ask(sessions, "a").finish == "stop"
    assert failures == []


def test_many_threads(groma: ScriptedGroma, file: Path) -> None:
    sessions = Sessions(Models("mini", groma), budget=1)
    errors: list[Exception] = []

    def work(tab: str) -> None:
        try:
            for _ in range(3):
                sessions.open(tab, file)
                ask(sessions, tab)
                assert len(sessions.get(tab).conversation.turns) == 1
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(str(i),)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize("action", ["open", "propose", "come back"])
@pytest.mark.parametrize("failures", [1, 2])
def test_looking_at_a_picture_survives_too_little_memory(
    groma: ScriptedGroma,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    action: str,
    failures: int,
) -> None:
    sessions = Sessions(Models("mini", groma), budget=10**9)
    for tab in ("a", "b"):
        sessions.open(tab, file)
    ask(sessions, "a")
    left = [None] * failures
    name = "chat" if action == "come back" else "regions"
    real = getattr(groma, name)

    def look(*given: object, **settings: object) -> object:
        if left:
            left.pop()
            raise torch.OutOfMemoryError
        return real(*given, **settings)

    monkeypatch.setattr(groma, name, look)

    def act() -> None:
        if action == "open":
            sessions.open("a", file)
        elif action == "propose":
            sessions.propose("a")
        else:
            sessions.leave("a")
            sessions.undo("a")

    if failures == 1:
        act()
    else:
        with pytest.raises(GromaError, match="memory is full"):
            act()
        assert len(sessions.get("a").conversation.turns) == 1
    assert sessions.get("b").chat is None
    assert not sessions.get("a").busy.locked()
    assert ask(sessions, "a").finish == "stop"


def test_whose_memory_was_freed_goes_on_with_the_model_that_was_chosen(
    groma: ScriptedGroma, file: Path
) -> None:
    other = ScriptedGroma()
    sessions = Sessions(Models("mini", groma, {"other": lambda: other}), budget=10**9)
    sessions.open("a", file)
    sessions.open("b", file)
    sessions.choose("a", "other")
    assert (sessions.get("a").model, sessions.get("b").model) == ("other", "mini")
    num_encoded = len(groma.encoded), len(other.encoded)
    sessions.free()
    ask(sessions, "a")
    assert (len(groma.encoded), len(other.encoded)) == (num_encoded[0], num_encoded[1] + 1)
    image = other.encoded[-1]
    sessions.choose("a", "mini")
    gc.collect()
    assert image() is None
    assert sessions.get("a").conversation.turns == ()


def test_an_adapter_ends_with_another_model_and_begins_with_its_own(
    groma: ScriptedGroma, file: Path
) -> None:
    sessions = Sessions(Models("mini", groma, {"other": ScriptedGroma}), budget=10**9)
    adapted = ScriptedGroma()
    sessions.open("a", file)
    sessions.switch("a", adapted, "mine")
    sessions.choose("a", "other")
    session = sessions.get("a")
    assert (session.adapted, session.adapter, session.model) == (None, "", "other")
    sessions.switch("a", adapted, "mine")
    assert (session.adapter, session.model) == ("mine", "mini")
    assert sessions.answering(session) is adapted


def test_a_forgotten_talk_does_not_forget_the_model(groma: ScriptedGroma, file: Path) -> None:
    clock = Clock()
    models = Models("mini", groma, {"other": ScriptedGroma})
    sessions = Sessions(models, budget=10**9, lifetime=600, clock=clock)
    sessions.open("a", file)
    sessions.choose("a", "other")
    ask(sessions, "a")
    clock.now = 1000.0
    sessions.tidy()
    assert (sessions.get("a").is_forgotten, sessions.get("a").model) == (True, "other")


def test_looking_at_a_session_is_no_use_of_it(groma: ScriptedGroma) -> None:
    sessions = Sessions(Models("mini", groma), budget=10**9)
    assert sessions.peek("nobody").model == "mini"
    assert len(sessions) == 0


@pytest.mark.parametrize("is_given", [False, True])
def test_masks_are_made_by_the_maker_of_the_model_that_answers(
    groma: ScriptedGroma, file: Path, is_given: bool
) -> None:
    maker = GrabCut()
    looked: list[object] = []
    maker.look = lambda image: looked.append(image) or GrabCut().look(image)  # ty: ignore
    answering = groma.with_masks(maker) if is_given else groma
    sessions = Sessions(Models("mini", answering), budget=10**9)
    sessions.open("a", file)
    reply = ask(sessions, "a")
    for _ in range(2):
        sessions.make_masks("a")
    (turn,) = sessions.get("a").conversation.turns
    assert turn.reply == reply.with_masks(picture(), GrabCut())
    assert len(looked) == is_given


def test_work_for_a_tab_waits_for_other_work_for_it(file: Path) -> None:
    sessions = Sessions(Models("mini", ScriptedGroma(delay=0.02)), budget=10**9, patience=30)
    sessions.open("me", file)
    replies = sessions.stream("me", "Describe")
    next(replies)
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(lambda: list(sessions.stream("me", "How many?")))
        assert not second.done()
        list(replies)
        assert second.result(30)
    assert [turn.question for turn in sessions.get("me").turns] == ["Describe", "How many?"]
