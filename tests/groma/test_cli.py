import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from groma.chat.conversation import GroundedReply
from groma.cli import main as cli
from groma.cli.ask import _format_reply
from groma.masks.maker import load_maker
from groma.shapes import Mask, Polygon
from tests import talk


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("model")
    groma = talk.groma()
    groma.model.save_pretrained(target)
    talk.toy.tokenizer("llama").save_pretrained(target)
    return target


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    talk.picture().save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def run(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


@pytest.fixture
def model(folder: Path) -> tuple[str, ...]:
    return ("--model", str(folder), "--device", "cpu", "--dtype", "float32")


def test_ask_prints_json(picture: Path, model: tuple, capsys: pytest.CaptureFixture) -> None:
    arguments = ("What is [1]?", "--box", "10,10,40,50", "--max-new-tokens", 30)
    assert run("ask", picture, *arguments, "--json", *model) == 0
    reply = GroundedReply.from_dict(json.loads(capsys.readouterr().out))
    chat = talk.groma().chat(picture)
    expected = chat.ask("What is [1]?", [talk.DOG], max_new_tokens=30)
    assert reply.text == expected.text
    assert [r.box for r in reply.regions] == [r.box for r in expected.regions]
    assert reply.image_size == talk.SIZE


def test_ask_prints_text_and_saves_a_picture(
    picture: Path, model: tuple, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out.png"
    options = ("--temperature", 1, "--seed", 4, "--top-p", 0.9, "--no-grounding", "--save", out)
    assert run("ask", picture, "What is this?", "--max-new-tokens", 9, *options, *model) == 0
    assert capsys.readouterr().out.strip()
    assert Image.open(out).size == (80, 60)


def test_regions_lists_and_draws(
    picture: Path, model: tuple, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out.jpg"
    assert run("regions", picture, "--json", "--max-regions", 4, "--save", out, *model) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["image_size"] == [60, 80]
    assert [region["id"] for region in found["regions"]] == [0, 1, 2, 3]
    assert Image.open(out).size == (80, 60)
    assert run("regions", picture, *model) == 0
    head, first, *_ = capsys.readouterr().out.splitlines()
    assert head.split() == ["id", "box", "objectness"]
    assert first.startswith("r0 ")


def test_info_and_convert(
    folder: Path, picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    target = tmp_path / "converted"
    assert run("convert", folder, target) == 0
    assert run("info", target) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["part", "parameters", "types", "memory"]
    *_, total, blank, automatic = lines
    assert total.startswith("total") and not blank
    assert automatic.startswith("It computes in float32 here, on c")
    arguments = ("x", "--max-new-tokens", 2, "--model", target, "--device", "cpu")
    assert run("ask", picture, *arguments) == 0


def test_text_carries_the_names_of_regions(capsys: pytest.CaptureFixture) -> None:
    region = {"id": 4, "box": [1, 2, 3, 4], "score": 0.5, "objectness": 0.25, "user": None}
    spans = [
        {"start": 9, "end": 14, "regions": [region]},
        {"start": 20, "end": 20, "regions": [region | {"id": 9, "user": 1}, region]},
    ]
    data = {"text": "There is a dog here.", "spans": spans, "image_size": [5, 6], "finish": "stop"}
    text, table = _format_reply(GroundedReply.from_dict(data)).split("\n\n")
    assert text == "There is a dog [r4] here. [r9] [r4]"
    assert table.splitlines() == [
        "id        phrase  box                 score  objectness",
        "r4        a dog   1.0, 2.0, 3.0, 4.0  0.500  0.250",
        "r9 = [1]          1.0, 2.0, 3.0, 4.0  0.500  0.250",
        "r4                1.0, 2.0, 3.0, 4.0  0.500  0.250",
    ]
    assert capsys.readouterr().out == ""


def test_a_model_cannot_command_the_terminal() -> None:
    reply = GroundedReply("a\x1b[2Jb\nc\x07", (), (5, 6))
    assert _format_reply(reply) == "a [2Jb\nc "


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ask", "none.png", "x"), "no file"),
        (("ask", "{picture}", " ", "--model", "{folder}"), "empty"),
        (("ask", "{picture}", "x", "--model", "nowhere"), "nowhere"),
        (("ask", "{picture}", "x", "--box", "90,9,99,20", "--model", "{folder}"), "outside"),
        (("ask", "{picture}", "x", "--point", "90,9", "--model", "{folder}"), "outside"),
        (("ask", "{picture}", "x", "--mask", "none.png", "--model", "{folder}"), "no file none"),
        (("ask", "{picture}", "x", "--max-new-tokens", "0", "--model", "{folder}"), "between 1"),
        (("ask", "{picture}", "x", "--masks", "nowhere"), "segmenter nowhere cannot be loaded"),
        (("ask", "{picture}", "x", "--save", "out.xyz"), "ending"),
        (("ask", "{picture}", "x", "--save", "none/out.png"), "no folder"),
        (("regions", "{folder}"), "folder, not a picture"),
        (("info", "nowhere"), "nowhere"),
        (("convert", "{folder}", "{folder}"), "exists"),
    ],
)
def test_mistakes_cost_one_sentence(
    arguments: tuple, message: str, picture: Path, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    filled = [argument.format(picture=picture, folder=folder) for argument in arguments]
    assert run(*filled) == 2
    output = capsys.readouterr()
    assert output.out == ""
    (sentence,) = [line for line in output.err.splitlines() if line.startswith("groma: ")]
    assert message in sentence
    assert sentence.endswith(".")
    assert "Traceback" not in output.err


def test_regions_are_numbered_in_the_order_of_the_command_line(
    picture: Path, model: tuple, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    place, pixels = talk.place(), Polygon(((5, 5), (60, 5), (60, 50))).mask((60, 80))
    Image.fromarray(pixels).save(tmp_path / "mask.png")
    given = (
        "--mask",
        tmp_path / "mask.png",
        "--point",
        f"{place.x},{place.y}",
        "--box",
        "10,10,40,50",
    )
    options = ("--score-threshold", "0", "--max-new-tokens", 30, "--json", *model)
    run("ask", picture, "Is [3] near [1]?", *given, *options)
    chat = talk.groma().chat(picture, score_threshold=0.0, max_new_tokens=30)
    drawn = [Mask.of(pixels), place, (10, 10, 40, 50)]
    expected = chat.ask("Is [3] near [1]?", regions=drawn)
    assert json.loads(capsys.readouterr().out)["text"] == expected.text


def test_masks_are_made_where_they_are_asked_for(
    picture: Path, model: tuple, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out.png"
    asked = ("ask", picture, "What is this?", "--max-new-tokens", 30, *model, "--json")
    assert run(*asked) == 0
    plain = GroundedReply.from_dict(json.loads(capsys.readouterr().out))
    assert run(*asked, "--masks", "--save", out) == 0
    masked = GroundedReply.from_dict(json.loads(capsys.readouterr().out))
    assert plain.regions
    assert masked == plain.with_masks(talk.picture(), load_maker())
    assert Image.open(out).tobytes() == masked.draw(talk.picture()).tobytes()
    assert _format_reply(masked).endswith("\n\nMasks by GrabCut (rough).")


@pytest.mark.parametrize("place", ["1", "a,b", "1,2,3"])
def test_a_point_is_two_numbers(place: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        run("ask", "x.png", "x", "--point", place)
    assert "two numbers x,y" in capsys.readouterr().err


@pytest.mark.parametrize("box", ["1,2,3", "a,b,c,d", "", "1,2,3,4,5"])
def test_a_box_is_four_numbers(box: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        run("ask", "x.png", "x", "--box", box)
    assert end.value.code == 2
    assert "four numbers" in capsys.readouterr().err


def test_interrupting_is_quiet(
    picture: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("groma.checkpoint.load.load", interrupt)
    assert run("ask", picture, "x") == 130
    assert capsys.readouterr() == ("", "")


def test_a_file_that_cannot_be_written_is_named(
    picture: Path, model: tuple, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "out.png").mkdir()
    arguments = ("--max-new-tokens", 1, "--save", tmp_path / "out.png")
    assert run("ask", picture, "x", *arguments, *model) == 2
    assert "out.png cannot be used" in capsys.readouterr().err


def test_help_is_quick() -> None:
    code = "import sys; from groma.cli.main import build_parser; build_parser(); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    shown = subprocess.run(
        [sys.executable, "-m", "groma", "--help"], capture_output=True, text=True, check=True
    )
    for command in ("ask", "regions", "convert", "info"):
        assert command in shown.stdout


def test_a_batch_of_questions(model: tuple, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    talk.picture().save(tmp_path / "picture.png")
    parts = [
        {"type": "image_url", "image_url": {"url": "picture.png"}},
        {"type": "text", "text": "What is this?"},
    ]
    body = {"model": "x", "max_tokens": 8, "messages": [{"role": "user", "content": parts}]}
    requests, answers = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
    requests.write_text(json.dumps({"custom_id": "a", "body": body}), encoding="utf-8")
    assert run("ask-batch", requests, "--save", answers, *model) == 0
    assert capsys.readouterr().out.startswith("1 requests were answered")
    assert json.loads(answers.read_text(encoding="utf-8"))["response"]["status_code"] == 200
    assert run("ask-batch", tmp_path / "none.jsonl", "--save", answers, *model) == 2


def test_nothing_is_served_to_everybody_by_accident(
    model: tuple, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GROMA_SERVE_KEYS", raising=False)
    assert run("serve", "--host", "0.0.0.0", *model) == 2
    assert "GROMA_SERVE_KEYS" in capsys.readouterr().err
    for option, said in (("--at-once", 0), ("--replicas", "3-2")):
        with pytest.raises(SystemExit):
            run("serve", option, said, *model)
        assert f"must be {'1 or more' if said == 0 else 'like 2 or 1-8'}" in capsys.readouterr().err


def test_other_websites_ask_nothing_of_a_server_of_this_machine(
    model: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages in the same browser (`Origin`), and other names of this machine (DNS rebinding)."""
    monkeypatch.delenv("GROMA_HOSTS", raising=False)
    started: list[Any] = []
    monkeypatch.setattr("uvicorn.run", lambda app, **_: started.append(app))
    site = "groma.example.org"
    assert run("serve", *model) == 0
    assert run("serve", "--hosts", site, *model) == 0
    assert run("serve", "--host", "0.0.0.0", "--no-key", *model) == 0
    asked = [
        {"host": "127.0.0.1:8000"},
        {"host": "localhost", "origin": "http://localhost"},
        {"host": "localhost", "origin": "http://evil.example"},
        {"host": site, "origin": f"https://{site}"},
        {"host": "evil.example"},
    ]
    answers = [[TestClient(app).get("/v1/models", headers=h) for h in asked] for app in started]
    codes = [[answer.status_code for answer in each] for each in answers]
    assert codes == [[200, 200, 403, 400, 400], [200, 200, 403, 200, 400], [200] * 5]
    assert "Another website" in answers[0][2].json()["error"]["message"]


def test_replicas_say_what_they_need(
    model: tuple, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert run("serve", "--replicas", "1-3", *model) == 2
    assert 'pip install "groma[ray]"' in capsys.readouterr().err
