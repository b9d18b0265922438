import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
import uvicorn

from groma.masks.grabcut import GrabCut
from groma.serve.engine import Engine
from groma.serve.openai_routes import MOST_REQUEST_BYTES, Service, make_app
from groma.shapes import Scribble
from tests import talk
from tests.groma.serve.test_engine import file
from tests.talk import DOG

KEY = "sesame"
MODEL = "tiny"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    engine = Engine(talk.tiny_groma(), at_once=4)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    app = make_app(Service(engine, MODEL), keys=(KEY, "other"))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()
    engine.close()


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)


def picture(seed: int = 0) -> dict[str, Any]:
    data = base64.b64encode(file(seed)).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}


def message(text: str, seed: int | None = 0, boxes: Any = ()) -> dict[str, Any]:
    shown = [] if seed is None else [picture(seed)]
    content = [*shown, {"type": "text", "text": text}]
    return {"role": "user", "content": content, "bbox_list": [list(box) for box in boxes]}


def create(client: openai.OpenAI, *messages: dict, **options: Any) -> Any:
    return client.chat.completions.create(
        model=MODEL, messages=list(messages), max_tokens=24, **options
    )


def test_the_client_of_openai_talks(client: openai.OpenAI) -> None:
    answer = create(client, message("What is [1]?", boxes=[DOG]))
    said = answer.choices[0].message
    expected = talk.groma().chat(talk.picture(0), max_new_tokens=24).ask("What is [1]?", [DOG])
    assert said.content == expected.text
    assert said.groma["text"] == expected.text
    assert [span["start"] for span in said.groma["spans"]] == [s.start for s in expected.spans]
    assert answer.choices[0].finish_reason == expected.finish
    assert answer.usage.completion_tokens == 24
    assert answer.usage.prompt_tokens > 24
    assert [model.id for model in client.models.list()] == [MODEL]


def test_a_stream_is_the_same_answer(client: openai.OpenAI) -> None:
    asked = message("What is [1]?", boxes=[DOG])
    whole = create(client, asked).choices[0].message
    chunks = list(create(client, asked, stream=True, stream_options={"include_usage": True}))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == whole.content
    assert deltas[-1].groma["text"] == whole.content
    streamed = [
        span for delta in deltas[:-1] for span in getattr(delta, "groma", {"spans": []})["spans"]
    ]
    assert [span["start"] for span in streamed] == [s["start"] for s in whole.groma["spans"]]
    assert chunks[-1].usage.completion_tokens == 24


def test_turns_and_a_second_picture(client: openai.OpenAI) -> None:
    first = message("What is [1]?", boxes=[DOG])
    said = create(client, first).choices[0].message.model_dump()
    second = create(client, first, said, message("And [1] again?", seed=None))
    chat = talk.groma().chat(talk.picture(0), max_new_tokens=24)
    chat.ask("What is [1]?", [DOG])
    assert second.choices[0].message.content == chat.ask("And [1] again?").text
    other = create(client, first, said, message("What is this?", seed=1))
    alone = talk.groma().chat(talk.picture(1), max_new_tokens=24).ask("What is this?")
    assert other.choices[0].message.content == alone.text


def test_regions_of_any_shape_come_after_the_boxes(client: openai.OpenAI) -> None:
    line = Scribble((((12, 12), (30, 40)),), width=4)
    drawn = {"regions": [line.to_json(), {"polygon": [[5, 5], [60, 5], [60, 50]]}]}
    first = message("Is [2] by [1]?", boxes=[DOG]) | drawn
    said = create(client, first).choices[0].message
    chat = talk.groma().chat(talk.picture(0), max_new_tokens=24)
    assert said.content == chat.ask("Is [2] by [1]?", [DOG], **drawn).text
    again = create(client, first, said.model_dump(), message("And [3]?", seed=None))
    assert again.choices[0].message.content == chat.ask("And [3]?").text


def test_masks_come_with_the_whole_answer(client: openai.OpenAI) -> None:
    asked = message("What is this?", boxes=[DOG])
    plain = talk.groma().chat(talk.picture(0), max_new_tokens=24).ask("What is this?", [DOG])
    expected = json.loads(json.dumps(plain.with_masks(talk.picture(0), GrabCut()).to_dict()))
    options = {"extra_body": {"masks": True}}
    given = create(client, asked, **options).choices[0].message
    assert without_scores(given.groma) == without_scores(expected)
    assert given.groma["masks_by"] == "GrabCut (rough)"
    *_, last = create(client, asked, stream=True, **options)
    assert without_scores(last.choices[0].delta.groma) == without_scores(expected)
    assert "masks_by" not in create(client, asked).choices[0].message.groma
    again = create(client, asked, given.model_dump(), message("And?", seed=None))
    assert again.choices[0].message.content


def without_scores(answer: dict[str, Any]) -> dict[str, Any]:
    regions = [region for span in answer["spans"] for region in span["regions"]]
    assert regions
    return answer | {"spans": [region | {"score": 0} for region in regions]}


def test_many_clients_are_not_mixed_up(client: openai.OpenAI) -> None:
    expected = [
        talk.groma().chat(talk.picture(seed), max_new_tokens=24).ask("What is this?").text
        for seed in range(6)
    ]
    with ThreadPoolExecutor(12) as pool:
        given = list(
            pool.map(lambda i: create(client, message("What is this?", seed=i % 6)), range(12))
        )
    assert [answer.choices[0].message.content for answer in given] == expected * 2


@pytest.mark.parametrize("is_stream", [True, False])
def test_leaving_ends_the_answer(url: str, is_stream: bool) -> None:
    asked = {"messages": [message("Describe it.", seed=3)], "max_tokens": 900}
    body = json.dumps({"model": MODEL, "stream": is_stream} | asked)
    head = f"Authorization: Bearer {KEY}\r\nContent-Type: application/json"
    request = f"POST /v1/chat/completions HTTP/1.1\r\nHost: here\r\n{head}"
    before, where = figures(url)["groma_tokens"], httpx.URL(url)
    with socket.create_connection((where.host, where.port)) as caller:
        caller.sendall(f"{request}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        wait_until(lambda: figures(url)["groma_tokens"] > before)
    wait_until(lambda: figures(url)["groma_answering"] == 0)
    assert figures(url)["groma_tokens"] < before + 800


def wait_until(happens: Callable[[], bool]) -> None:
    for _ in range(400):
        if happens():
            return
        time.sleep(0.02)
    pytest.fail("It does not happen.")


def figures(url: str) -> dict[str, float]:
    text = httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {KEY}"}).text
    rows = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in rows}


def test_health_needs_no_key_and_the_rest_does(url: str) -> None:
    assert httpx.get(f"{url}/health").json() == {"status": "ok"}
    for path in ("/v1/models", "/metrics"):
        refused = httpx.get(url + path, headers={"Authorization": "Bearer wrong"})
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("change", "status", "sentence"),
    [
        ({"model": "gpt"}, 404, "no model"),
        ({"messages": []}, 400, "messages"),
        ({"messages": [{"role": "user", "content": "Hi"}]}, 400, "no picture"),
        ({"messages": [{"role": "assistant", "content": "Hi"}]}, 400, "in turn"),
        ({"messages": 3}, 400, "messages"),
        ({"n": 2}, 400, "n is not served"),
        ({"tools": [{}]}, 400, "tools"),
        ({"temperature": 9}, 400, "temperature"),
        ({"max_tokens": 10**6}, 400, "max_new_tokens"),
        ({"seed": 1.5}, 400, "seed"),
    ],
)
def test_mistakes_are_sentences(url: str, change: dict, status: int, sentence: str) -> None:
    body = {"model": MODEL, "messages": [message("What is this?")], "max_tokens": 4} | change
    answer = httpx.post(
        f"{url}/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {KEY}"}
    )
    assert answer.status_code == status
    assert sentence in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (message("[2]?", boxes=[DOG]), "[2]"),
        (message("What?", boxes=[(0, 0, 9)]), "four numbers"),
        (message("What?", boxes=[DOG] * 101), "bbox_list"),
        (message("What?") | {"regions": [{"point": [1, 999]}]}, "Region 1: It lies outside"),
        (message("What?") | {"regions": [{"circle": 3}]}, "point, scribble, polygon, mask"),
        (message(" "), "empty"),
        (message("x" * 5000), "characters"),
        ({"role": "user", "content": [picture(), picture(1)]}, "several pictures"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]},
            "base64",
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,é"}},
                    {"type": "text", "text": "What?"},
                ],
            },
            "no valid base64",
        ),
        (
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    {"type": "text", "text": "What?"},
                ],
            },
            "picture",
        ),
        (
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/a.png"}}],
            },
            "not fetched here",
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_questions_that_make_no_sense(
    client: openai.OpenAI, asked: dict, sentence: str, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError, match=sentence.replace("[", r"\[")):
        create(client, asked, stream=stream)


def test_too_much_is_refused_before_it_is_read(url: str) -> None:
    answer = httpx.post(
        f"{url}/v1/chat/completions",
        content=b"x" * (MOST_REQUEST_BYTES + 1),
        headers={"Authorization": f"Bearer {KEY}"},
    )
    assert answer.status_code == 413
    assert json.loads(answer.text)["error"]["message"]


def test_regions_and_groundings(url: str) -> None:
    body = {"image": picture()["image_url"]["url"]}
    headers = {"Authorization": f"Bearer {KEY}"}
    regions = httpx.post(f"{url}/v1/regions", json=body, headers=headers).json()
    assert regions["image_size"] == list(talk.SIZE)
    expected = talk.groma().regions(talk.picture(0))
    assert [region["id"] for region in regions["regions"]] == [r.id for r in expected]
    asked = body | {"phrases": ["the dog", "a cat."]}
    found = httpx.post(f"{url}/v1/groundings", json=asked, headers=headers, timeout=60).json()
    assert [each["phrase"] for each in found["groundings"]] == asked["phrases"]
    alone = talk.groma().chat(talk.picture(0)).ask("Where is a cat?")
    assert found["groundings"][1]["answer"] == alone.text
