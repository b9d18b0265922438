"""Two replicas on this machine; Ray is an extra."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import psutil
import pytest

from groma.types import GromaError
from tests import talk
from tests.groma.serve.test_openai import message, picture

pytest.importorskip("ray.serve", reason='Ray is not installed: pip install "groma[ray]"')

KEY = "sesame"
HEADERS = {"Authorization": f"Bearer {KEY}"}
PICTURES = 6


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    import ray
    from ray import serve

    from groma.serve.ray_app import RaySettings, build

    folder = tmp_path_factory.mktemp("tiny")
    talk.groma().model.save_pretrained(folder)
    talk.toy.tokenizer("llama").save_pretrained(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"GROMA_SERVE_KEYS": KEY, "RAY_USAGE_STATS_ENABLED": "0"}
    settings = RaySettings(
        model=str(folder), name="tiny", min_replicas=2, max_replicas=2, cpus=0.5, at_once=4
    )
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(build(settings))
    del os.environ["GROMA_SERVE_KEYS"]
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()
    ray.shutdown()


@pytest.fixture
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=2)


def ask(client: openai.OpenAI, *messages: dict, **options: Any) -> Any:
    return client.chat.completions.create(
        model="tiny", messages=list(messages), max_tokens=24, **options
    )


def figures(url: str) -> dict[str, dict[str, float]]:
    """Figures of each replica."""
    told: dict[str, dict[str, float]] = {}
    for line in httpx.get(f"{url}/metrics", headers=HEADERS).text.splitlines():
        if not line.startswith("#"):
            name, _, rest = line.partition("{")
            labels, _, value = rest.rpartition("} ")
            replica = dict(label.split("=") for label in labels.split(","))["replica"]
            told.setdefault(replica, {})[name] = float(value)
    return told


def alone(seed: int) -> str:
    return talk.groma().chat(talk.picture(seed), max_new_tokens=24).ask("What is this?").text


def test_the_client_of_openai_talks_to_replicas(client: openai.OpenAI) -> None:
    asked = message("What is this?")
    whole = ask(client, asked).choices[0].message
    assert whole.content == alone(0)
    stream = list(ask(client, asked, stream=True))
    assert len(stream) > 3
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole.content
    chat = talk.groma().chat(talk.picture(0), max_new_tokens=24)
    chat.ask("What is this?")
    more = ask(client, asked, whole.model_dump(), message("And that?", seed=None))
    assert more.choices[0].message.content == chat.ask("And that?").text


def test_a_picture_belongs_to_one_replica(client: openai.OpenAI, url: str) -> None:
    before = sum(each["groma_pictures"] for each in figures(url).values())
    for seed in range(10, 10 + PICTURES):
        for _ in range(3):
            ask(client, message("What is this?", seed=seed))
            time.sleep(0.3)  # until the entrance knows
    told = figures(url)
    assert len(told) == 2
    assert sum(each["groma_pictures"] for each in told.values()) == before + PICTURES
    for each in told.values():
        assert each["process_resident_memory_bytes"] > 1e8
        assert "groma_tokens" in each


def test_mistakes_are_sentences(client: openai.OpenAI, url: str) -> None:
    assert httpx.get(f"{url}/health").json() == {"status": "ok"}
    assert httpx.get(f"{url}/v1/models").status_code == 401
    assert [model.id for model in client.models.list()] == ["tiny"]
    with pytest.raises(openai.BadRequestError, match="picture"):
        ask(client, {"role": "user", "content": "Hi"})
    found = httpx.post(
        f"{url}/v1/regions", json={"image": picture(1)["image_url"]["url"]}, headers=HEADERS
    ).json()
    expected = talk.groma().regions(talk.picture(1))
    assert [region["id"] for region in found["regions"]] == [r.id for r in expected]


def test_leaving_ends_the_answer(client: openai.OpenAI, url: str) -> None:
    stream = ask(client, message("Describe it.", seed=3), stream=True)
    next(iter(stream))
    stream.close()
    for _ in range(200):
        if not any(each["groma_answering"] for each in figures(url).values()):
            return
        time.sleep(0.05)
    pytest.fail("It goes on for nobody.")


def test_no_request_is_lost_with_a_replica(client: openai.OpenAI) -> None:
    seeds = list(range(20, 20 + PICTURES)) * 8
    expected = {seed: alone(seed) for seed in seeds}
    first = ask(client, message("What is this?", seed=20)).choices[0].message
    with ThreadPoolExecutor(8) as pool:
        given = [
            pool.submit(lambda s: ask(client, message("What is this?", seed=s)), seed)
            for seed in seeds
        ]
        given[4].result()
        os.kill(replicas()[0].pid, signal.SIGKILL)
        texts = [each.result().choices[0].message.content for each in given]
    assert texts == [expected[seed] for seed in seeds]
    asked = message("What is this?", seed=20)
    more = ask(client, asked, first.model_dump(), message("And that?", seed=None))
    chat = talk.groma().chat(talk.picture(20), max_new_tokens=24)
    chat.ask("What is this?")
    assert more.choices[0].message.content == chat.ask("And that?").text


def replicas() -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [each for each in children if "ServeReplica:default:Replica" in " ".join(each.cmdline())]


def test_a_cluster_without_a_key_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from groma.serve.ray_app import RaySettings, build

    monkeypatch.delenv("GROMA_SERVE_KEYS", raising=False)
    with pytest.raises(GromaError, match="GROMA_SERVE_KEYS"):
        build(RaySettings())


def test_bounds_of_autoscaling_are_a_setting() -> None:
    from groma.serve.ray_app import RaySettings, build

    made = build(RaySettings(min_replicas=2, max_replicas=5, no_key=True))
    (replicas_of,) = made._bound_deployment.init_args[:1]
    kept = replicas_of._bound_deployment._deployment_config.autoscaling_config
    assert (kept.min_replicas, kept.max_replicas) == (2, 5)
