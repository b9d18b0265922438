"""What Groma writes is what the oldest pycocotools that may be installed needs (2.0.10)."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from app.chat.talk_files import to_coco
from groma.cli import annotate
from groma.cli import main as cli
from tests import talk

NEEDED: dict[str, dict[str, type]] = {
    "images": {"id": int, "file_name": str, "height": int, "width": int},
    "categories": {"id": int, "name": str},
    "annotations": {
        **{"id": int, "image_id": int, "category_id": int, "iscrowd": int},
        **{"bbox": list, "segmentation": list, "area": float},
    },
}
"""Fields that pycocotools reads, and their types in JSON."""


def _annotated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (folder / "pictures").mkdir()
    for seed in (0, 1):
        talk.picture(seed).save(folder / "pictures" / f"{seed}.png")
    monkeypatch.setattr(annotate, "load_model", lambda _: talk.groma())
    assert cli.main(["annotate", str(folder / "pictures"), "--save", str(folder / "out")]) == 0
    return json.loads((folder / "out" / "coco.json").read_text())


def _talked(_folder: Path, _monkeypatch: pytest.MonkeyPatch) -> Any:
    chat = talk.groma().chat(talk.picture())
    chat.ask("What is here?")
    return json.loads(json.dumps(to_coco("scene.png", chat.conversation)))


@pytest.mark.parametrize("make", [_annotated, _talked])
def test_exports_have_what_pycocotools_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    data = make(tmp_path, monkeypatch)
    assert isinstance(data["info"], dict)
    for table, fields in NEEDED.items():
        assert data[table], table
        ids = [entry["id"] for entry in data[table]]
        assert ids == list(range(1, len(ids) + 1))
        for entry in data[table]:
            kinds = {name: type(entry[name]) for name in fields}
            assert kinds == fields | {n: int for n in ("area",) if kinds.get(n) is int}
    for entry in data["annotations"]:
        assert [type(side) in (int, float) for side in entry["bbox"]] == [True] * 4
        assert min(entry["bbox"][2:]) > 0
    file = tmp_path / "export.json"
    file.write_text(json.dumps(data))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(file))
        fields = ("image_id", "category_id", "bbox", "score")
        found = [{name: entry[name] for name in fields} for entry in data["annotations"]]
        results = COCOeval(truth, truth.loadRes(found), "bbox")
        for step in (results.evaluate, results.accumulate, results.summarize):
            step()
    assert results.stats[0] == pytest.approx(1)
