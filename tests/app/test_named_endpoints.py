"""The named endpoints, called as a program does."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import gradio as gr
import httpx
import pytest
import spaces
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from app.chat import named_endpoints as api
from app.shared.gpu_memory import seconds_to_answer
from groma.image import load_image
from groma.masks.grabcut import GrabCut
from tests.app.scripted import BALL, DOG, SIZE, ScriptedGroma


@pytest.fixture(scope="module")
def client(url: str) -> Client:
    return Client(url, verbose=False)


def test_only_two_endpoints_are_public(client: Client) -> None:
    assert set(client.view_api(return_format="dict")["named_endpoints"]) == {"/ask", "/regions"}


def test_ask_answers_as_the_command_line_does(
    client: Client, scene: Path, groma: ScriptedGroma
) -> None:
    settings = {"max_new_tokens": 200}
    answer = client.predict(
        handle_file(scene), "What is [1]?", [list(DOG)], settings, api_name="/ask"
    )
    assert answer == groma.chat(scene, **settings).ask("What is [1]?", [DOG]).to_dict()
    assert answer["spans"][0]["regions"][0]["user"] == 1


def test_ask_takes_any_shape(client: Client, scene: Path, groma: ScriptedGroma) -> None:
    drawn = [{"scribble": [[[360, 340], [440, 420]]], "width": 9}, {"point": [100, 200]}]
    asked = handle_file(scene), "What is [2]?", drawn, {"max_new_tokens": 200}
    answer = client.predict(*asked, api_name="/ask")
    chat = groma.chat(scene, max_new_tokens=200)
    assert answer == chat.ask("What is [2]?", regions=drawn).to_dict()
    (meant,) = answer["spans"][0]["regions"]
    assert meant["user"] == 2
    assert meant["box"] == pytest.approx(DOG, abs=1e-3)


def test_masks_are_made_where_they_are_asked_for(
    client: Client, scene: Path, groma: ScriptedGroma
) -> None:
    asked = handle_file(scene), "Describe it", [], {"masks": True}
    answer = client.predict(*asked, api_name="/ask")
    reply = groma.chat(scene).ask("Describe it")
    expected = reply.with_masks(load_image(scene), GrabCut()).to_dict()
    assert answer == json.loads(json.dumps(expected))
    assert all(region["mask"] for span in answer["spans"] for region in span["regions"])


def test_regions(client: Client, scene: Path) -> None:
    found = client.predict(handle_file(scene), {}, api_name="/regions")
    assert found["image_size"] == [SIZE[1], SIZE[0]]
    assert found["regions"][1]["box"] == pytest.approx(BALL, abs=1e-3)


@pytest.mark.parametrize(
    ("message", "regions", "settings", "sentence"),
    [
        ("", [], {}, "question is empty"),
        ("Hi", [[1, 2, 3]], {}, "four numbers"),
        ("Hi", [[700, 1, 800, 9]], {}, "outside the picture"),
        ("Hi", "boxes", {}, "four numbers"),
        ("Hi", [{"point": [700, 1]}], {}, "^Region 1: It lies outside the picture"),
        ("Hi", [{"scribble": [[[1, 1]]] * 10_000}], {}, "^Region 1: A scribble must be"),
        ("Hi", [{"mask": {"size": [480, 640], "counts": "1"}}], {}, "^Region 1: The mask's counts"),
        ("Hi", [], {"temperature": -1}, "temperature"),
        ("Hi", [], {"temperature": "hot"}, "^temperature must be a number, not 'hot'"),
        ("Hi", [], {"grounding": "yes"}, "^grounding must be true or false, not 'yes'"),
        ("Hi", [], {"max_new_tokens": 2.5}, "^max_new_tokens must be a whole number, not 2.5"),
        ("Hi", [], {"colour": 1}, "^There is no setting 'colour'; there are max_new_tokens, "),
        ("Hi", [], [1], "^The settings must be values by name"),
        ("Hi", [], {"masks": "yes"}, "^masks must be true or false"),
        ("What is [1]?", [], {}, r"^There is no region \[1\]; draw it first"),
        ("What is [7]?", [list(DOG)], {}, r"^There is no region \[7\]; draw it, or name \[1\]"),
    ],
)
def test_mistakes_are_one_sentence(
    client: Client, scene: Path, message: str, regions: object, settings: object, sentence: str
) -> None:
    with pytest.raises(AppError, match=sentence) as error:
        client.predict(handle_file(scene), message, regions, settings, api_name="/ask")
    assert "Traceback" not in str(error.value)


@pytest.mark.parametrize("failures", [1, 2])
def test_too_little_memory_is_freed_once_and_then_told(
    scene: Path, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    groma, left, freed = ScriptedGroma(), [None] * failures, []
    encode = groma.encode_image

    def look(*given: object, **options: object) -> object:
        if left:
            left.pop()
            raise torch.OutOfMemoryError("secret")
        return encode(*given, **options)

    monkeypatch.setattr(groma, "encode_image", look)
    requests = {
        "ask": lambda: [*api.ask(groma, str(scene), "Hi", [], {}, lambda: freed.append(1))][-1],
        "regions": lambda: api.find_regions(groma, str(scene), {}, lambda: freed.append(1)),
    }
    for request in requests.values():
        left[:], freed[:] = [None] * failures, []
        if failures == 1:
            assert request()["image_size"] == [SIZE[1], SIZE[0]]
        else:
            with pytest.raises(gr.Error, match="memory is full"):
                request()
        assert freed == [1]


def test_what_nobody_foresaw_is_one_sentence(scene: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret")

    groma = ScriptedGroma()
    monkeypatch.setattr(groma, "encode_image", fail)
    for request in (
        lambda: [*api.ask(groma, str(scene), "Hi", [], {})],
        lambda: api.find_regions(groma, str(scene), {}),
    ):
        with pytest.raises(gr.Error, match="Something went wrong here") as error:
            request()
        assert "secret" not in str(error.value)


def test_zero_gpu_lends_time_for_the_length_of_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    lent: list = []

    def lend(duration: object) -> object:
        lent.append(duration)
        return lambda run: run

    monkeypatch.setattr(spaces, "GPU", lend)
    with gr.Blocks():
        api.add(ScriptedGroma(), {})
    for settings in ({"max_new_tokens": 16}, {"max_new_tokens": 1024}, {}, None, ["odd"]):
        assert lent[0]("picture.png", "Hi", [], settings) == seconds_to_answer(settings)
    assert lent[0]("picture.png", "Hi", [], {"max_new_tokens": 1024}) > 90


def test_no_picture_and_no_such_picture(client: Client, tmp_path: Path) -> None:
    with pytest.raises(AppError, match="send a picture"):
        client.predict(None, "Hi", [], {}, api_name="/ask")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(AppError, match="The picture is not a"):
        client.predict(handle_file(tmp_path / "text.png"), "Hi", [], {}, api_name="/ask")


@pytest.mark.parametrize("path", ["/etc/passwd", str(Path(__file__)), "README.md", "../etc/passwd"])
def test_files_of_the_server_cannot_be_named(url: str, path: str) -> None:
    forged = {"path": path, "meta": {"_type": "gradio.FileData"}}
    address = f"{url}gradio_api/call/regions"
    event = httpx.post(address, json={"data": [forged, {}]}).json()["event_id"]
    answer = httpx.get(f"{address}/{event}", timeout=20).text
    assert answer.startswith("event: error")
    assert "not a" not in answer


def test_sixteen_at_once_get_their_own_boxes(url: str, tmp_path: Path) -> None:
    def ask(width: int) -> tuple[int, list[int]]:
        path = tmp_path / f"{width}.png"
        Image.new("RGB", (width, 100)).save(path)
        client = Client(url, verbose=False, httpx_kwargs={"timeout": 60})
        answer = client.predict(handle_file(path), "Describe", [], {}, api_name="/ask")
        return width, answer["image_size"]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(200, 216)))
    assert answers == [(width, [100, width]) for width in range(200, 216)]
