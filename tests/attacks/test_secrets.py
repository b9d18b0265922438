"""A key never leaves for a log, a journal or a note, whatever the server says."""

import json
from pathlib import Path

import pytest

from groma.endpoint import ChatEndpoint, EndpointError, masked
from groma.types import GromaError
from tests.groma.instruct import run_maker
from tests.groma.instruct.fake_server import Reply, completion, serving, status

KEY = "sk-live/0123456789+abcdef"
HELLO = [{"role": "user", "content": "Hello?"}]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROMA_API_KEY", KEY)


def echoing(code: int, before: str = "") -> Reply:
    said = json.dumps({"error": f"{before} Authorization: Bearer {KEY}"})
    return code, said.replace("/", "\\/").encode(), {}


def holds_key(text: str) -> bool:
    return KEY[8:20] in text or KEY in text.replace("\\/", "/")


def kept(folder: Path) -> str:
    files = [file for file in folder.rglob("*") if file.is_file()]
    return "\n".join(file.read_text(errors="replace") for file in files)


@pytest.mark.parametrize("code", [302, 400, 401, 402, 403, 404, 405, 418, 429, 500, 503])
@pytest.mark.parametrize("before", ["", "x" * 160])
def test_no_status_prints_it(tmp_path: Path, code: int, before: str) -> None:
    with serving(lambda *_: echoing(code, before)) as server:
        endpoint = ChatEndpoint(server.url, "m", tmp_path, attempts=1, requests_per_minute=1e6)
        with pytest.raises(EndpointError) as error:
            endpoint.complete(HELLO)
        assert server.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert f"status {code}" in str(error.value)
    assert not holds_key(str(error.value))
    assert not holds_key(kept(tmp_path))


def test_no_answer_keeps_it(tmp_path: Path) -> None:
    with serving(lambda *_: completion(f"You sent {KEY}.")) as server:
        endpoint = ChatEndpoint(server.url, "m", tmp_path, requests_per_minute=1e6)
        assert endpoint.complete(HELLO) == "You sent …."
    assert not holds_key(kept(tmp_path))


@pytest.mark.parametrize("code", [400, 401])
def test_neither_terminal_nor_journal_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture, scene: Path, code: int
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(scene.read_bytes())
    with serving(lambda *_: echoing(code)) as server:
        run_maker.main(server.url, tmp_path / "in", tmp_path / "out")
    told = "".join(capsys.readouterr()) + kept(tmp_path / "out")
    assert f"status {code}" in told
    assert not holds_key(told)


@pytest.mark.parametrize("odd", ["two words", "line\nbreak", "schlüssel", "nul\0"])
def test_what_is_no_key_is_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: str
) -> None:
    if "\0" in odd:
        monkeypatch.setattr("os.environ", {"GROMA_API_KEY": odd})
    else:
        monkeypatch.setenv("GROMA_API_KEY", odd)
    with pytest.raises(GromaError, match="GROMA_API_KEY holds is no key") as error:
        ChatEndpoint("http://127.0.0.1:9/v1", "m", tmp_path)
    assert odd not in str(error.value)


def test_a_word_for_a_key_may_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROMA_API_KEY", "EMPTY")
    with serving(lambda *_: completion("The box is EMPTY.")) as server:
        endpoint = ChatEndpoint(server.url, "m", tmp_path, requests_per_minute=1e6)
        assert endpoint.complete(HELLO) == "The box is EMPTY."
    with serving(lambda *_: status(400)) as server:
        assert masked("EMPTY", "Bearer EMPTY") == "Bearer …"


@pytest.mark.parametrize("spelt", ["a/b+c", r"a\/b+c", r"a\u002Fb\u002bc", "a%2Fb%2bc"])
def test_every_spelling_is_masked(spelt: str) -> None:
    assert masked("a/b+c", f"<{spelt}>") == "<…>"
    assert masked("", spelt) == spelt
