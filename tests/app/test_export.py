"""What people take away from a talk, and bring back."""

import json
from pathlib import Path

import numpy as np
import pytest

from app import export
from groma.conversation import Conversation
from groma.types import GromaError
from tests.app.scripted import BALL, DOG, SIZE, ScriptedGroma, picture

BOX = (10.0, 20.0, 60.0, 100.0)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "a <b> scene.png"
    picture().save(path)
    return path


@pytest.fixture(scope="module")
def talk(file: Path) -> Conversation:
    chat = ScriptedGroma().chat(file)
    chat.ask("What is [1]?", [BOX])
    chat.ask("Describe <b>it</b>")
    return chat.conversation


def test_coco_boxes_are_xywh_pixels(talk: Conversation) -> None:
    data = export.to_coco("scene.png", talk)
    width, height = SIZE
    assert data["images"] == [{"id": 1, "file_name": "scene.png", "height": height, "width": width}]
    names = {category["id"]: category["name"] for category in data["categories"]}
    found = {names[a["category_id"]]: a for a in data["annotations"]}
    x1, y1, x2, y2 = BALL
    assert found["a red ball"]["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1e-3)
    assert found["a red ball"]["area"] == pytest.approx((x2 - x1) * (y2 - y1), abs=0.1)
    assert [a["bbox"] for a in data["annotations"]].count([10, 20, 50, 80]) == 1


def test_instruct_answers_have_one_index_per_box(talk: Conversation) -> None:
    item = export.to_instruct("scene.png", talk)
    said = item["conversation"]
    assert [part["from"] for part in said] == ["human", "gpt"] * 2
    for part in said[1::2]:
        assert part["value"].count("<ground_box>") == len(part["box_inds"])
    assert said[3]["value"].startswith("There is <p>a brown dog</p><roi><ground_box></roi> next to")
    assert said[0]["box_inds"] == [0]
    assert item["boxes"][0] == [10, 20, 50, 80]
    x, y, width, height = item["boxes"][said[3]["box_inds"][0]]
    assert (x, y, x + width, y + height) == pytest.approx(DOG, abs=1e-3)


def test_marked_picture_has_every_region(talk: Conversation) -> None:
    marked = np.asarray(export.mark(picture(), talk)).astype(int)
    changed = np.abs(marked - np.asarray(picture())).sum(axis=2) > 30
    for x1, y1, x2, y2 in (BOX, BALL):
        edge = changed[int(y1) - 2 : int(y2) + 3, int(x1) - 2 : int(x1) + 3]
        assert edge.any(axis=1).mean() > 0.8
        assert not changed[int((y1 + y2) / 2), int((x1 + x2) / 2)]


def test_page_is_self_contained_and_safe(talk: Conversation, file: Path) -> None:
    page = export.to_page(file, picture(), talk)
    assert "@@" not in page
    assert "http" not in page
    assert "<b>" not in page
    assert page.count("groma-label") >= 4
    assert "data:image/jpeg;base64," in page


def test_talk_comes_back(talk: Conversation, file: Path, tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text(json.dumps(export.to_talk(file, talk)))
    found, conversation = export.read_talk(tmp_path / "talk.json", tmp_path)
    assert conversation == talk
    chat = ScriptedGroma().chat(found, conversation)
    assert chat.ask("What about [1]?").spans


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "{}", '{"picture": "????", "conversation": {}}', '{"picture": 3}', "null"],
)
def test_bad_files_are_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text(text)
    with pytest.raises(GromaError, match="talk"):
        export.read_talk(tmp_path / "talk.json", tmp_path)


def test_forged_picture_is_refused(talk: Conversation, tmp_path: Path) -> None:
    data = {"picture": "aGVsbG8=", "conversation": talk.to_dict()}
    (tmp_path / "talk.json").write_text(json.dumps(data))
    with pytest.raises(GromaError, match="not a"):
        export.read_talk(tmp_path / "talk.json", tmp_path)


def test_every_form_is_written(talk: Conversation, file: Path) -> None:
    files = export.write_files(file, talk)
    assert {path.name for path in files} == {
        *("marked.png", "coco.json", "groma_instruct.json", "talk.html", "talk.json")
    }
    assert all(path.stat().st_size for path in files)
