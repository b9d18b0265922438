"""The endpoint for programs that is mounted in the application."""

import base64
from io import BytesIO
from pathlib import Path

import httpx
import openai
import pytest
from PIL import Image

from app.launch import ENDPOINT_IS_OFF, build_parser, program_keys
from groma.limits import MOST_REQUEST_BYTES
from groma.serve import openai_routes
from tests.app.scripted import ScriptedGroma


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}v1", api_key="none is asked for", max_retries=0)


def asked(file: bytes, text: str) -> list[dict]:
    address = f"data:image/png;base64,{base64.b64encode(file).decode()}"
    picture = {"type": "image_url", "image_url": {"url": address}}
    return [{"role": "user", "content": [picture, {"type": "text", "text": text}]}]


def large(scene: Path) -> bytes:
    """The same picture in more bytes than a request of the page may have."""
    kept = BytesIO()
    with Image.open(scene) as picture:
        picture.convert("RGB").save(kept, "BMP")
    assert kept.tell() > MOST_REQUEST_BYTES
    return kept.getvalue()


def test_programs_and_page_share_a_model(
    client: openai.OpenAI, scene: Path, groma: ScriptedGroma
) -> None:
    messages = asked(large(scene), "Where is it?")
    answer = client.chat.completions.create(model="groma-mini", messages=messages)
    assert answer.choices[0].message.content == groma.chat(scene).ask("Where is it?").text
    assert [model.id for model in client.models.list()] == ["groma-mini"]


def test_a_stream_is_not_held_back(client: openai.OpenAI, url: str, scene: Path) -> None:
    messages = asked(scene.read_bytes(), "A long answer, please.")
    create = client.chat.completions.create
    stream = create(model="groma-mini", messages=messages, stream=True)
    words = [chunk.choices[0].delta.content for chunk, _ in zip(stream, range(9), strict=False)]
    assert "groma_answering 1.0" in httpx.get(f"{url}metrics").text
    stream.close()
    assert "".join(word or "" for word in words).startswith("word word")


def test_another_website_is_turned_away(url: str) -> None:
    foreign = {"Origin": "http://elsewhere.example"}
    assert httpx.get(f"{url}v1/models", headers=foreign).status_code == 403
    assert httpx.get(f"{url}v1/models", headers={"Origin": url.rstrip("/")}).status_code == 200
    elsewhere = {"Host": "elsewhere.example"}
    assert httpx.get(f"{url}v1/models", headers=elsewhere).status_code == 400


def test_what_is_too_much_is_refused_in_a_sentence(url: str) -> None:
    much = b"x" * (openai_routes.MOST_REQUEST_BYTES + 1)
    refused = httpx.post(f"{url}v1/chat/completions", content=much)
    assert refused.status_code == 413
    assert refused.json()["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "said", "expected"),
    [
        ([], "", ()),
        ([], "sesame, open", ("sesame", "open")),
        (["--share"], "", None),
        (["--host", "0.0.0.0"], " ,", None),
        (["--host", "0.0.0.0"], "sesame", ("sesame",)),
    ],
)
def test_strangers_need_a_key(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    arguments: list[str],
    said: str,
    expected: tuple[str, ...] | None,
) -> None:
    monkeypatch.setenv("GROMA_SERVE_KEYS", said)
    assert program_keys(build_parser().parse_args(arguments)) == expected
    assert (ENDPOINT_IS_OFF in caplog.text) is (expected is None)


def test_a_borrowed_gpu_answers_no_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROMA_SERVE_KEYS", "sesame")
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    assert program_keys(build_parser().parse_args([])) is None
