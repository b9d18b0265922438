"""Nothing that is asked is unbounded, and who leaves ends the work."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError

from app.shared.sessions import Sessions
from groma.chat.conversation import Conversation
from groma.cli import ask
from groma.cli import main as cli
from groma.limits import LONGEST_QUESTION, MOST_BOXES, MOST_REQUEST_BYTES, MOST_WAITING
from groma.types import GromaError
from tests.app import scripted
from tests.app.scripted import ANSWERS, DOG, ScriptedGroma
from tests.attacks.caller import SETTINGS, Caller

LONG = "x" * (LONGEST_QUESTION + 1)

ASKED: list[tuple[Any, Any, Any, str]] = [
    (LONG, [], {}, "4,001 characters; at most 4,000"),
    ("Hi", [list(DOG)] * (MOST_BOXES + 1), {}, "101 regions are too many: at most 100"),
    ("Hi", 5, {}, "The regions must be a list"),
    ("Hi", {"x": 1}, {}, "The regions must be a list"),
    ("Hi", [], {"max_new_tokens": 10**6}, "max_new_tokens must be between 1 and 1024"),
    ("Hi", [], {"max_new_tokens": 10**400}, "max_new_tokens must be between 1 and 1024"),
    ("Hi", [], {"temperature": 10}, "temperature must be 0, or between 0.01 and 2"),
]


@pytest.fixture
def unseeing(monkeypatch: pytest.MonkeyPatch, groma: ScriptedGroma) -> None:
    """No picture is looked at: what is refused is refused before any work."""
    monkeypatch.setattr(groma, "encode_image", lambda *_, **__: pytest.fail("encoded"))
    monkeypatch.setattr(
        "app.chat.named_endpoints.read_picture",
        lambda *_: pytest.fail("the picture was read"),
    )


@pytest.mark.usefixtures("unseeing")
@pytest.mark.parametrize(("message", "boxes", "settings", "sentence"), ASKED)
def test_programs_are_refused_before_any_work(
    caller: Caller, scene: Path, message: str, boxes: Any, settings: dict, sentence: str
) -> None:
    assert sentence in caller.fault("ask", caller.upload(scene), message, boxes, settings)


@pytest.mark.usefixtures("unseeing")
def test_the_page_refuses_the_same(caller: Caller, scene: Path) -> None:
    canvas, ask = (
        {"image": caller.upload(scene), "regions": []},
        caller.number("Question", "submit"),
    )
    assert "4,001 characters" in caller.warnings(ask, canvas, LONG, *SETTINGS)[0]
    for place, wrong, most in ((1, 10, "2.0"), (3, 10**6, "1024")):
        settings = [*SETTINGS]
        settings[place] = wrong
        error = caller.fire(ask, canvas, "Hi", *settings)[-2]["output"]["error"]
        assert error == f"Value {wrong} is greater than maximum value {most}."


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((LONG,), "4,001 characters"),
        (("Hi", *["--box", "1,2,30,40"] * (MOST_BOXES + 1)), "101 regions are too many"),
        (("Hi", "--max-new-tokens", "1000000"), "max_new_tokens must be between"),
        (("Hi", "--temperature", "10"), "temperature must be 0"),
    ],
)
def test_the_command_line_refuses_the_same(
    arguments: tuple, sentence: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ask, "load_model", lambda *_: pytest.fail("the model was loaded"))
    assert cli.main(["ask", "none.png", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def _trickle(size: int) -> Iterator[bytes]:
    yield b'{"data": [null, "'
    for _ in range(size // 1000):
        yield b"x" * 1000
    yield b'", [], {}]}'


@pytest.mark.parametrize("path", ["call/ask", "queue/join", "component_server", "run/ask"])
def test_what_brings_too_much_is_not_read(caller: Caller, path: str) -> None:
    headers = {"Content-Type": "application/json"}
    try:
        content = _trickle(2 * MOST_REQUEST_BYTES)
        answer = caller.http.post(f"{caller.api}{path}", content=content, headers=headers)
        assert answer.status_code in (400, 413)
    except httpx.TransportError:
        pass  # the server hung up while it was still being told
    address = httpx.URL(f"{caller.api}{path}")
    for length in ("1000000000000", "-1", "9" * 400):
        head = f"POST {address.path} HTTP/1.1\r\nHost: {address.netloc.decode()}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        with socket.create_connection((address.host, address.port), timeout=60) as line:
            line.sendall(head.encode())
            status = line.recv(100).split()[1]
        assert status in (b"400", b"413"), length


def test_uploads_are_bounded_all_together(caller: Caller) -> None:
    files = [("files", (f"{i}.png", b"x" * 9_000_000)) for i in range(3)]
    assert caller.http.post(f"{caller.api}upload", files=files).status_code == 413


def test_a_full_queue_is_told(caller: Caller, scene: Path) -> None:
    picture = caller.upload(scene)
    most = MOST_WAITING + Sessions.at_once
    answers = [caller.join("ask", picture, "long", [], {}) for _ in range(most + 3)]
    refused = [answer for answer in answers if answer.status_code == 503]
    try:
        # The first may not wait any more.
        assert 3 <= len(refused) <= 3 + Sessions.at_once
        assert "Queue is full" in refused[0].json()["detail"]
        client = Client(caller.url, verbose=False)
        with pytest.raises(QueueError, match="Queue is full! Please try again"):
            client.predict(handle_file(scene), "Hi", [], {}, api_name="/ask")
    finally:
        for answer in answers:
            if answer.status_code == 200:
                leave(caller, answer.json()["event_id"])
    assert caller.call("ask", picture, "Where", [], {})[-1][0] == "complete"


def leave(caller: Caller, event: str, after: str = "") -> None:
    """Begin to listen to an answer, and leave, at once or after a line."""
    with caller.http.stream("GET", f"{caller.api}call/ask/{event}") as answer:
        for line in answer.iter_lines() if after else ():
            if line.startswith(after):
                return


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every token that is generated."""
    tokens: list[int] = []
    generate = scripted._ScriptedDecoder.generate

    def noting(*given: Any) -> Iterator[tuple]:
        for token, logits in generate(*given):
            tokens.append(token)
            yield token, logits

    monkeypatch.setattr(scripted._ScriptedDecoder, "generate", noting)
    return tokens


def test_a_program_that_leaves_ends_its_answer(
    caller: Caller, scene: Path, groma: ScriptedGroma, spoken: list[int]
) -> None:
    picture = caller.upload(scene)
    event = caller.join("ask", picture, "long", [], {}).json()["event_id"]
    leave(caller, event, "event: generating")
    assert caller.call("ask", picture, "Where", [], {})[-1][0] == "complete"
    assert 0 < len(spoken) < len(groma.template.plain.encode(ANSWERS["long"])) / 2


def test_a_page_that_is_closed_ends_its_answer(
    caller: Caller, scene: Path, groma: ScriptedGroma, spoken: list[int]
) -> None:
    picture, tab = caller.upload(scene), "closed"
    canvas, number = {"image": picture, "regions": []}, caller.number("Question", "submit")
    said = {"data": [canvas, "long", *SETTINGS], "fn_index": number, "session_hash": tab}
    caller.http.post(f"{caller.api}queue/join", json=said)
    with caller.http.stream("GET", f"{caller.api}queue/data", params={"session_hash": tab}) as page:
        for line in page.iter_lines():
            if "process_generating" in line:
                break
    assert caller.call("ask", picture, "Where", [], {})[-1][0] == "complete"
    assert 0 < len(spoken) < len(groma.template.plain.encode(ANSWERS["long"])) / 2


def test_a_talk_in_a_file_is_bounded() -> None:
    reply = {"text": "x" * 3000, "spans": [], "image_size": [9, 9], "finish": "stop"}
    turn = {"question": "x", "regions": [], "settings": {}, "reply": reply}
    assert Conversation.from_dict({"image_size": [9, 9], "turns": [turn] * 60}).turns
    short = turn | {"reply": reply | {"text": "x"}}
    for turns in ([turn] * 70, [short] * 2000):
        with pytest.raises(GromaError, match="no conversation that Groma saved"):
            Conversation.from_dict({"image_size": [9, 9], "turns": turns})
