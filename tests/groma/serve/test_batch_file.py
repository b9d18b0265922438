import json
from pathlib import Path
from typing import Any

import pytest

from groma.serve.batch_file import answer_batch
from groma.serve.engine import Engine
from groma.types import GromaError
from tests import talk
from tests.groma.serve.test_openai import message

COUNT = 5


def line(name: str, content: Any = None, **body: Any) -> dict[str, Any]:
    asked = content or message("What is this?", seed=len(name))
    whole = {"model": "tiny", "max_tokens": 8, "messages": [asked]} | body
    return {
        "custom_id": name,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": whole,
    }


def write(path: Path, lines: list[dict]) -> Path:
    path.write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    return path


def read(path: Path) -> dict[str, dict]:
    lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    assert len({each["custom_id"] for each in lines}) == len(lines)
    return {each["custom_id"]: each["response"] for each in lines}


@pytest.fixture
def engine():
    made = Engine(talk.tiny_groma(), at_once=3)
    yield made
    made.close()


def test_every_request_is_answered_once_over_several_runs(engine: Engine, tmp_path: Path) -> None:
    requests = write(tmp_path / "requests.jsonl", [line("x" * (i + 1)) for i in range(COUNT)])
    answers = tmp_path / "answers.jsonl"
    assert answer_batch(engine, requests, answers) == COUNT
    first = read(answers)
    for name, response in first.items():
        alone = talk.groma().chat(talk.picture(len(name)), max_new_tokens=8).ask("What is this?")
        assert response["status_code"] == 200
        assert response["body"]["choices"][0]["message"]["content"] == alone.text
    text = answers.read_text(encoding="utf-8")
    answers.write_text(text[: text.rstrip().rfind("\n") + 30], encoding="utf-8")  # killed meanwhile
    assert answer_batch(engine, requests, answers) == 1
    again = read(answers)
    assert {name: r["body"]["choices"] for name, r in again.items()} == {
        name: r["body"]["choices"] for name, r in first.items()
    }
    assert answer_batch(engine, requests, answers) == 0


def test_a_wrong_request_is_answered_with_a_sentence(engine: Engine, tmp_path: Path) -> None:
    talk.picture(1).save(tmp_path / "mine.png")
    by_path = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "mine.png"}}]}
    by_path["content"].append({"type": "text", "text": "What is this?"})
    lost = json.loads(json.dumps(by_path).replace("mine.png", "lost.png"))
    lines = [line("good", by_path), line("lost", lost), line("n", n=3), line("kind", messages=7)]
    answers = tmp_path / "answers.jsonl"
    assert answer_batch(engine, write(tmp_path / "requests.jsonl", lines), answers) == 4
    given = read(answers)
    assert {name: response["status_code"] for name, response in given.items()} == {
        "good": 200,
        "lost": 400,
        "n": 400,
        "kind": 400,
    }
    assert "cannot be read" in given["lost"]["body"]["error"]["message"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{}", "request 1: custom_id"),
        ("[", "request 1 is no JSON"),
        ("\n".join([json.dumps(line("a"))] * 2), "two requests"),
    ],
)
def test_a_file_that_is_no_batch(engine: Engine, tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "requests.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(GromaError, match=sentence):
        answer_batch(engine, tmp_path / "requests.jsonl", tmp_path / "answers.jsonl")
