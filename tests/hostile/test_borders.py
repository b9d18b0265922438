"""No text and no name stops a run or a tab: the application, its API, and folders of pictures."""

import json
import os
import shutil
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from groma.cli import annotate
from groma.cli import main as cli
from groma.data.sources.llava import open_conversations
from groma.foreign import load_json
from groma.instruction_sets.doctor.checking import check, repair
from groma.instruction_sets.readers.reading import read_set
from groma.instruction_sets.readers.set_items import to_samples
from groma.serve.engine import Engine
from groma.serve.openai_routes import Service, make_app
from tests import talk
from tests.app.scripted import ScriptedGroma, picture
from tests.attacks.caller import SETTINGS, Caller
from tests.groma.data.reading import read

HALVES = ["What is \ud83d here?", "\udc00\ud83d", "a\0b", "\u202eabc\u2028def\u200f", "\ufeff"]


@pytest.fixture(scope="module")
def caller() -> Iterator[Caller]:
    from app.launch import launch
    from app.shared.models_at_hand import Models

    url = launch(Models("groma-mini", ScriptedGroma()), prevent_thread_lock=True, quiet=True)
    with Caller(url) as calling:
        yield calling


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    picture().save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


@pytest.mark.parametrize("question", HALVES)
def test_no_question_wedges_a_tab(caller: Caller, scene: Path, question: str) -> None:
    canvas, tab = {"image": caller.upload(scene), "boxes": []}, f"tab{len(question)}"
    ask = caller.number("Question", "submit")
    for asked in (question, "What is here?"):
        last = [m for m in caller.fire(ask, canvas, asked, *SETTINGS, tab=tab) if "output" in m][-1]
        assert last["success"], last
        json.dumps(last, ensure_ascii=False).encode()


@pytest.mark.parametrize("question", HALVES)
def test_no_question_of_a_program_goes_unanswered(
    caller: Caller, scene: Path, question: str
) -> None:
    event, _ = caller.call("ask", caller.upload(scene), question, [], {})[-1]
    assert event == "complete"


def test_the_picture_of_a_name_that_is_no_text_is_annotated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    folder, save = tmp_path / "pictures", tmp_path / "out"
    folder.mkdir()
    for seed, name in enumerate((b"good.png", b"ros\xe9.png", b"zebra.png")):
        talk.picture(seed).save(tmp_path / "picture.png")
        shutil.move(tmp_path / "picture.png", folder / os.fsdecode(name))
    monkeypatch.setattr(annotate, "load_model", lambda _: talk.groma())
    for _ in range(2):
        assert cli.main(["annotate", str(folder), "--save", str(save)]) == 0
    assert "3 pictures: 3 accepted" in capsys.readouterr().out
    items = load_json((save / "groma_instruct.json").read_bytes())
    assert [item["file_name"] for item in items] == ["good.png", r"ros\xe9.png", "zebra.png"]
    found = read_set(save / "groma_instruct.json", folder)
    assert all(found.picture(item).path for item in found.items)


@pytest.fixture(scope="module")
def served() -> Iterator[TestClient]:
    engine = Engine(talk.tiny_groma(), at_once=2)
    with TestClient(make_app(Service(engine, "tiny"), keys=())) as client:
        yield client
    engine.close()


@pytest.mark.parametrize("text", HALVES)
def test_no_text_of_a_request_stops_the_server(served: TestClient, scene: Path, text: str) -> None:
    url = f"data:image/png;base64,{b64encode(scene.read_bytes()).decode()}"
    shown = {"type": "image_url", "image_url": {"url": url}}
    for asked in (text, "What is here?"):
        said = {"role": "user", "content": [shown, {"type": "text", "text": asked}]}
        body = {"model": "tiny", "messages": [said], "max_tokens": 4}
        for stream in (False, True):
            answer = served.post(
                "/v1/chat/completions",
                content=json.dumps(body | {"stream": stream}),
                headers={"Content-Type": "application/json"},
            )
            assert answer.status_code == 200, answer.text
            answer.content.decode()


def test_lines_of_four_megabytes(tmp_path: Path) -> None:
    shutil.copy("tests/data/cases/picture.png", tmp_path / "a.png")
    long, said = "x " * (1 << 21), {"from": "human", "value": "What?"}
    items = [
        {"image": "a.png", "conversations": [said, {"from": "gpt", "value": words}]}
        for words in (long, "A box.")
    ]
    path = tmp_path / "set.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    found = read_set(path)
    assert len(to_samples(found)) == len(found) == 2
    check(repair(found))
    assert len(read(open_conversations(path, tmp_path / "index"))[0]) == 2
