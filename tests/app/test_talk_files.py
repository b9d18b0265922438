"""What people take away from a talk, and bring back."""

import contextlib
import io
import json
import re
import zipfile
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from gradio.route_utils import delete_files_created_by_app
from playwright.sync_api import Page, expect
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from app.chat import talk_files as export
from app.chat.talk_page import to_page
from groma.chat.conversation import Conversation
from groma.drawing.outlines import outlines
from groma.masks.grabcut import GrabCut
from groma.shapes import Mask, parse_shape
from groma.types import GromaError
from tests.app.conftest import CHROMIUM
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


def drawn_talk(file: Path) -> Conversation:
    chat = ScriptedGroma().chat(file)
    shapes = [
        {"point": [400.0, 380.0]},
        {"scribble": [[[360, 350], [380, 400]], [[420, 390]]], "width": 9.6},
        {"polygon": [[480, 260], [570, 260], [560, 400]]},
        Mask.of(np.arange(480)[:, None] + np.arange(640) > 900).to_json(),
    ]
    chat.ask("Describe", [BOX], regions=[parse_shape(shape) for shape in shapes])
    return chat.conversation


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Gradio keeps files; it removes those that it has shown."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_coco_boxes_are_xywh_pixels(talk: Conversation) -> None:
    data = export.to_coco("scene.png", talk)
    width, height = SIZE
    assert data["images"] == [{"id": 1, "file_name": "scene.png", "height": height, "width": width}]
    names = {category["id"]: category["name"] for category in data["categories"]}
    found = {names[a["category_id"]]: a for a in data["annotations"]}
    x1, y1, x2, y2 = BALL
    assert found["ball"]["bbox"] == pytest.approx([x1, y1, x2 - x1, y2 - y1], abs=1e-3)
    assert found["ball"]["area"] == pytest.approx((x2 - x1) * (y2 - y1), abs=0.1)
    assert found["ball"]["phrase"] == "a red ball"
    assert [a["bbox"] for a in data["annotations"]].count([10, 20, 50, 80]) == 1


def test_coco_has_masks_as_outlines_and_as_run_lengths(
    talk: Conversation, file: Path, tmp_path: Path
) -> None:
    data = export.to_coco(file.name, talk.masked(GrabCut().look(picture())))
    (tmp_path / "coco.json").write_text(json.dumps(data))
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(tmp_path / "coco.json"))
    masked = [each for each in data["annotations"] if "mask" in each]
    assert len(masked) == 3
    for each in masked:
        outlined, pixels = coco.annToMask(each), coco_mask.decode(each["mask"])
        assert each["area"] == pixels.sum()
        assert (outlined >= pixels).all()
        assert (outlined != pixels).mean() < 0.01


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


def test_a_marked_picture_shows_what_was_drawn_as_it_was_drawn(file: Path) -> None:
    talk = drawn_talk(file)
    marked = np.asarray(export.mark(picture(), talk)).astype(int)
    changed = np.abs(marked - np.asarray(picture())).sum(axis=2) > 6
    _, _, scribble, lasso, mask = (region for region in talk.regions if region.user)
    for region in (scribble, lasso):
        assert region.shape is not None
        inside = region.shape.mask((SIZE[1], SIZE[0]))
        assert changed[inside].mean() > 0.95
    # Where the box of the lasso is, but not the lasso.
    assert not changed[390:398, 484:500].any()
    assert isinstance(mask.shape, Mask)
    covered = mask.shape.mask((SIZE[1], SIZE[0]))
    assert changed[covered].mean() > 0.95
    assert not changed[285:330, 425:440].any()  # in its box, but not in it
    assert changed[378:383, 398:403].all()  # the dot


def test_an_adopted_proposal_is_drawn_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[int, list[str]]] = []
    monkeypatch.setattr(
        export, "draw_boxes", lambda _, found, labels, __: drawn.append((len(found), labels))
    )
    chat = ScriptedGroma().chat(file)
    chat.ask("Describe")
    dog = next(region for region in chat.conversation.regions if region.id == 0)
    chat.ask("Describe [1]", [dog.box])
    export.mark(picture(), chat.conversation)
    ((count, labels),) = drawn
    assert count == len(labels) == 3
    assert [label.startswith("[1] a brown dog") for label in labels].count(True) == 1


def test_a_proposal_that_nothing_but_its_user_means_is_drawn(file: Path) -> None:
    chat = ScriptedGroma().chat(file)
    chat.ask("Where is nothing like [1]?", [BALL])
    x1, y1, x2, _ = map(int, BALL)
    marked = np.asarray(export.mark(picture(), chat.conversation)).astype(int)
    changed = np.abs(marked - np.asarray(picture())).sum(axis=2) > 30
    assert changed[y1 - 2 : y1 + 3, x1:x2].any(axis=0).mean() > 0.8


def test_the_page_shows_the_outlines_of_masks(talk: Conversation, file: Path) -> None:
    masked = talk.masked(GrabCut().look(picture()))
    page = to_page(file, picture(), masked)
    assert "<path" not in to_page(file, picture(), talk)
    drawn = {
        key: [
            [place.split(",") for place in line.split()]
            for line in path.removesuffix("Z").removeprefix("M").split("ZM")
        ]
        for key, path in re.findall(r'<path [^>]*data-key="(\w+)"[^>]* d="([^"]+)"/>', page)
    }
    wanted = {
        f"r{region.id}": outlines(region.mask)
        for turn in masked.turns
        for region in turn.reply.regions
        if region.mask
    }
    assert len(wanted) == len(drawn) == 3
    for key, polygons in wanted.items():
        assert len(polygons) == len(drawn[key])
        for polygon, line in zip(polygons, drawn[key], strict=True):
            assert np.array(line, dtype=float) == pytest.approx(np.array(polygon), abs=0.06)


def test_a_page_shows_what_was_drawn_as_it_was_drawn(file: Path) -> None:
    page = to_page(file, picture(), drawn_talk(file))
    paths = dict(re.findall(r'<path class="(\w+)" data-key="(u\d)"', page))
    assert paths == {"stroke": "u3", "contour": "u5"}
    stroke, lasso = re.findall(r'data-key="u[34]"[^>]* d="([^"]+)"', page)
    assert stroke == "M360,350 380,400M420,390h.01"
    assert lasso == "M480,260 570,260 560,400Z"
    assert "stroke-width:9.6" in page
    assert page.count('class="groma-dot"') == 1
    # A box has no outline, all others have, but for the point of which the thing is boxed.
    classes = re.findall(r'<div class="groma-box ([^"]+)"[^>]* data-key="u(\d)"', page)
    assert sorted(number for look, number in classes if "outlined" in look) == ["3", "4", "5"]


def test_what_is_uncertain_is_marked_and_what_is_too_uncertain_left_out(
    talk: Conversation, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = next(r for turn in talk.turns for r in turn.reply.regions if r.id == 2)
    assert tree.score < 0.5
    page = to_page(file, picture(), talk, certain=0.5)
    assert 'groma-uncertain" tabindex="0" role="mark" data-regions="[&quot;r2&quot;]' in page
    assert "a tree?</span>" in page
    assert "uncertain" not in to_page(file, picture(), talk).partition("</style>")[2]
    labels: list[str] = []
    monkeypatch.setattr(export, "draw_boxes", lambda *drawn: labels.extend(drawn[2]))
    export.mark(picture(), talk, certain=0.5)
    assert [label.partition("?")[0] for label in labels if "?" in label] == ["a tree"]
    sure = export.surer(talk, 0.5)
    assert [turn.reply.text for turn in sure.turns] == [turn.reply.text for turn in talk.turns]
    names = [category["name"] for category in export.to_coco("scene.png", sure)["categories"]]
    assert "thing" in names
    assert "tree" not in names
    assert export.surer(talk, 0) == talk
    assert {r.user for r in sure.regions} >= {1}


@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="no chromium")
def test_a_page_shows_its_picture_and_masks_where_they_are(
    talk: Conversation, file: Path, tmp_path: Path, page: Page
) -> None:
    masked = talk.masked(GrabCut().look(picture()))
    shown = tmp_path / "page.html"
    shown.write_text(to_page(file, picture(), masked), encoding="utf-8")
    page.goto(shown.as_uri())
    expect(page.locator(".groma-stage img")).to_be_visible()
    frame = page.locator(".groma-stage img").bounding_box()
    drawn = page.locator('path[data-key="r1"]').evaluate(
        """path => {
          const { x, y, width, height } = path.getBBox(), { a, d, e, f } = path.getScreenCTM();
          return [a * x + e, d * y + f, a * (x + width) + e, d * (y + height) + f];
        }"""
    )
    ball = next(r for turn in masked.turns for r in turn.reply.regions if r.id == 1)
    assert frame is not None
    assert ball.mask is not None
    scale = frame["width"] / SIZE[0]
    left, top, right, bottom = (scale * side for side in ball.mask.box(ball.mask.size))
    x, y = frame["x"], frame["y"]
    assert drawn == pytest.approx([x + left, y + top, x + right, y + bottom], abs=1.5)


def test_page_is_self_contained_and_safe(talk: Conversation, file: Path) -> None:
    page = to_page(file, picture(), talk)
    assert "@@" not in page
    assert "http" not in page
    assert "<b>" not in page
    assert page.count("groma-label") >= 4
    assert "data:image/jpeg;base64," in page


def test_talk_comes_back(talk: Conversation, file: Path, tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text(json.dumps(export.to_talk(file, talk)))
    found, conversation = export.read_talk(tmp_path / "talk.json")
    assert conversation == talk
    chat = ScriptedGroma().chat(found, conversation)
    assert chat.ask("What about [1]?").spans


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "{}", "null", '{"picture": 3}'),
        '{"picture": "????", "conversation": {}}',
        '{"picture": ' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
    ids=range(8),
)
def test_bad_files_are_one_sentence(text: str, tmp_path: Path) -> None:
    (tmp_path / "talk.json").write_text(text)
    with pytest.raises(GromaError, match="talk"):
        export.read_talk(tmp_path / "talk.json")


def test_a_talk_about_another_picture_is_refused_and_leaves_nothing(
    talk: Conversation, cache: Path, tmp_path: Path
) -> None:
    picture().resize((64, 48)).save(tmp_path / "other.png")
    data = export.to_talk(tmp_path / "other.png", talk)
    (tmp_path / "talk.json").write_text(json.dumps(data))
    with pytest.raises(GromaError, match="another size"):
        export.read_talk(tmp_path / "talk.json")
    assert not cache.exists()


def test_forged_picture_is_refused(talk: Conversation, tmp_path: Path) -> None:
    data = {"picture": "aGVsbG8=", "conversation": talk.to_dict()}
    (tmp_path / "talk.json").write_text(json.dumps(data))
    with pytest.raises(GromaError, match="not a"):
        export.read_talk(tmp_path / "talk.json")


def test_files_go_when_gradio_clears_its_cache(
    talk: Conversation, file: Path, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "talk.json").write_text(json.dumps(export.to_talk(file, talk)))
    files = [*export.write_files(file, talk), export.read_talk(tmp_path / "talk.json")[0]]
    with gr.Blocks() as blocks:
        shown = gr.File(file_count="multiple")
    kept = [shown.move_resource_to_block_cache(path) for path in files]
    assert kept == [str(path) for path in files]
    delete_files_created_by_app(blocks, age=None)
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_every_form_is_written(talk: Conversation, file: Path) -> None:
    whole, *files = export.write_files(file, talk, least=0.5)
    assert {path.name for path in files} == {
        *("marked.png", "coco.json", "groma_instruct.json", "talk.html", "talk.json")
    }
    assert all(path.stat().st_size for path in files)
    assert whole.name == "a <b> scene.zip"
    with zipfile.ZipFile(whole) as archive:
        packed = {name: archive.read(name) for name in archive.namelist()}
    assert packed.pop("images/a <b> scene.png") == file.read_bytes()
    assert packed == {path.name: path.read_bytes() for path in files}
    # What goes on later goes on with all of it.
    assert export.read_talk(whole.with_name("talk.json"))[1] == talk
