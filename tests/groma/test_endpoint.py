"""The client for OpenAI-compatible endpoints, against a server that misbehaves."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from groma.endpoint import (
    _LONGEST_PAUSE,
    ChatEndpoint,
    EndpointError,
    UnusableEndpointError,
    _Pace,
    _read_pause,
)
from groma.types import GromaError
from tests.groma.instruct.fake_server import (
    TRICKLE,
    FakeServer,
    Reply,
    completion,
    serving,
    slowly,
    status,
)

HELLO = [{"role": "user", "content": "Hello?"}]
FAST = {"requests_per_minute": 1e6, "patience": 0.01}


def connect(server: FakeServer, store: Path, **options: object) -> ChatEndpoint:
    return ChatEndpoint(server.url, "model", store, **(FAST | options))


def scripted(*replies: Reply):
    """Answers the n-th time with the n-th reply, and with the last from then on."""
    return lambda _, before: replies[min(before, len(replies) - 1)]


def test_an_answer_is_kept_and_its_request_never_sent_again(tmp_path: Path) -> None:
    with serving(scripted(completion("Hi."))) as server:
        endpoint = connect(server, tmp_path, settings={"temperature": 0.5})
        assert not endpoint.is_known(HELLO)
        assert endpoint.complete(HELLO) == endpoint.complete(HELLO) == "Hi."
        assert connect(server, tmp_path, settings={"temperature": 0.5}).complete(HELLO) == "Hi."
        assert endpoint.is_known(HELLO)
        assert len(server.bodies) == 1
        assert server.bodies[0] == {"model": "model", "messages": HELLO, "temperature": 0.5}
        # Another setting is another request.
        connect(server, tmp_path, settings={"temperature": 0.6}).complete(HELLO)
        assert len(server.bodies) == 2


def test_threads_with_one_request_send_it_once(tmp_path: Path) -> None:
    with (
        serving(lambda *_: slowly(0.1, completion("Hi."))) as server,
        ThreadPoolExecutor(6) as pool,
    ):
        endpoint = connect(server, tmp_path)
        assert [*pool.map(endpoint.complete, [HELLO] * 6)] == ["Hi."] * 6
        assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "bad",
    [
        status(429),
        status(429, Retry_After="0.01"),
        status(500),
        status(503, Retry_After="nonsense"),
        (200, b'{"choices": [', {}),
        (200, b"[]", {}),
        (200, b'{"choices": [{"message": {"content": null}}]}', {}),
        (200, b'{"choices": [{"message": {"content": " "}}]}', {}),
        (200, b"\xff\x00", {}),
    ],
    ids=str,
)
def test_what_may_pass_is_tried_again(tmp_path: Path, bad: Reply) -> None:
    with serving(scripted(bad, bad, completion("Hi."))) as server:
        assert connect(server, tmp_path).complete(HELLO) == "Hi."
        assert len(server.bodies) == 3


def test_it_gives_up_with_a_reason_and_may_ask_again_later(tmp_path: Path) -> None:
    with serving(scripted(status(500), status(500), completion("Hi."))) as server:
        endpoint = connect(server, tmp_path, attempts=2)
        with pytest.raises(
            EndpointError, match=r"model at 127\.0\.0\.1 failed 2 times: status 500"
        ):
            endpoint.complete(HELLO)
        assert endpoint.complete(HELLO) == "Hi."


@pytest.mark.parametrize("code", [401, 404])
def test_a_refusal_that_will_not_pass_is_not_repeated(tmp_path: Path, code: int) -> None:
    with serving(scripted(status(code))) as server:
        with pytest.raises(UnusableEndpointError, match=f"status {code}"):
            connect(server, tmp_path).complete(HELLO)
        assert len(server.bodies) == 1


def test_a_bad_request_concerns_itself_alone(tmp_path: Path) -> None:
    with serving(scripted(status(400))) as server:
        with pytest.raises(EndpointError, match=r"status 400, .*told to") as error:
            connect(server, tmp_path).complete(HELLO)
        assert not isinstance(error.value, UnusableEndpointError)
        assert len(server.bodies) == 1


def test_silence_ends_with_its_time(tmp_path: Path) -> None:
    with serving(lambda *_: slowly(1.0, completion("Late."))) as server:
        endpoint = connect(server, tmp_path, timeout=0.2, attempts=2)
        with pytest.raises(EndpointError, match="2 times: it did not answer in time"):
            endpoint.complete(HELLO)
        assert len(server.bodies) == 2


def test_trickling_ends_with_its_time(tmp_path: Path) -> None:
    code, data, _ = completion("Slow.")
    with serving(scripted((code, data, {TRICKLE: "yes"}))) as server:
        endpoint = connect(server, tmp_path, timeout=0.3, attempts=1)
        with pytest.raises(EndpointError, match="did not answer in time"):
            endpoint.complete(HELLO)


def test_a_server_that_is_not_there_is_unusable(tmp_path: Path) -> None:
    with serving(scripted(completion("Hi."))) as server:
        pass
    with pytest.raises(UnusableEndpointError, match="cannot be reached"):
        connect(server, tmp_path, attempts=2).complete(HELLO)


def test_a_request_that_was_on_its_way_is_not_sent_again_unasked(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with serving(scripted(completion("Hi."))) as server:
        endpoint = connect(server, tmp_path)
        endpoint._send = die  # as SIGKILL would end it
        with pytest.raises(Killed):
            endpoint.complete(HELLO)
        with pytest.raises(EndpointError, match="on its way"):
            connect(server, tmp_path).complete(HELLO)
        assert not server.bodies
        assert connect(server, tmp_path, resend=True).complete(HELLO) == "Hi."
        assert connect(server, tmp_path).complete(HELLO) == "Hi."
        assert len(server.bodies) == 1


def test_the_key_goes_to_the_server_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SOME_KEY", "sk-secret")
    caplog.set_level(logging.DEBUG)
    echo = (400, b"bad key sk-secret", {})
    with serving(scripted(echo, completion("Hi."))) as server:
        endpoint = connect(server, tmp_path, key_variable="SOME_KEY")
        with pytest.raises(EndpointError) as error:
            endpoint.complete(HELLO)
        endpoint.complete(HELLO)
        with pytest.raises(EndpointError):
            connect(server, tmp_path).complete([{"role": "user", "content": "No key"}])
    assert [headers.get("Authorization") for headers in server.headers] == [
        "Bearer sk-secret",
        "Bearer sk-secret",
        None,
    ]
    written = "".join(path.read_text(errors="replace") for path in tmp_path.rglob("*.*"))
    assert "Hi." in written
    assert "sk-secret" not in f"{error.value}{caplog.text}{written}{endpoint!r}"


def test_pace_spreads_requests_and_rests_together() -> None:
    now, slept = [0.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = _Pace(30, clock=lambda: now[0], sleep=sleep)
    for _ in range(4):
        pace.wait()
    assert slept == [2.0] * 3
    pace.rest(10, everyone=False)
    pace.wait()
    assert slept == [2.0] * 3 + [10.0]
    other = threading.Thread(target=pace.rest, args=(1e9, True))
    other.start()
    other.join()
    assert slept[-1] == _LONGEST_PAUSE


def test_waiting_ends_when_everything_is_stopped(tmp_path: Path) -> None:
    with serving(scripted(status(429, Retry_After="200"))) as server:
        endpoint = connect(server, tmp_path)
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(endpoint.complete, HELLO)
            while not server.bodies:
                threading.Event().wait(0.01)
            endpoint.stop()
            with pytest.raises(EndpointError, match="ended"):
                answer.result()


def test_retry_after_reads_seconds_and_dates() -> None:
    assert _read_pause("1.5") == 1.5
    soon = _read_pause(format_datetime(datetime.now(UTC) + timedelta(seconds=60)))
    assert 50 < soon <= 60
    assert [_read_pause(text) for text in ("", "-3", "nan", "soon")] == [0.0] * 4
    assert _read_pause("1e9") == _LONGEST_PAUSE


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:1", "http://h:1/v1/chat/completions"),
        ("http://h/v1/", "http://h/v1/chat/completions"),
        ("https://h/api/chat/completions?a=b", "https://h/api/chat/completions?a=b"),
    ],
)
def test_addresses(tmp_path: Path, url: str, expected: str) -> None:
    assert ChatEndpoint(url, "model", tmp_path).url == expected


@pytest.mark.parametrize("url", ["", "h/v1", "ftp://h", "http://", "http://h:x", "http://a:b@h"])
def test_other_addresses_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(GromaError):
        ChatEndpoint(url, "model", tmp_path)


def test_a_file_that_holds_no_answers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "answers.sqlite").write_text("a letter, and no table of anything")
    with pytest.raises(GromaError, match=r"answers\.sqlite cannot be used"):
        ChatEndpoint("http://h", "model", tmp_path)
