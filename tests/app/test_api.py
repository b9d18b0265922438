"""The named endpoints, called as a program does."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

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
        ("Hi", [], {"temperature": -1}, "temperature"),
        ("Hi", [], {"temperature": "hot"}, "settings"),
        ("Hi", [], {"colour": 1}, "settings"),
        ("Hi", [], [1], "settings"),
    ],
)
def test_mistakes_are_one_sentence(
    client: Client, scene: Path, message: str, regions: object, settings: object, sentence: str
) -> None:
    with pytest.raises(AppError, match=sentence) as error:
        client.predict(handle_file(scene), message, regions, settings, api_name="/ask")
    assert "Traceback" not in str(error.value)


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
