"""`groma annotate`: captions and boxes for a folder of pictures, and going on after an end."""

import json
from pathlib import Path

import pytest

from groma.cli import main as cli
from groma.data.sources.groma_instruct import parse_item
from groma.instruct.described_pictures import ProposalSource, list_pictures
from groma.instruct.region_choice import RegionChoice
from groma.instruction_sets.doctor.checking import check
from groma.instruction_sets.readers.reading import read_set
from groma.text.coco_names import COMPOUNDS
from groma.text.grammar import noun_of
from groma.types import GromaError
from tests import talk


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "deep/b.png", "c.png")):
        talk.picture(seed).save(folder / name)
    (folder / "d.png").write_bytes(b"broken")
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_is_annotated_once(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    save, loads = tmp_path / "out", []
    monkeypatch.setattr("groma.cli.annotate.load_model", lambda _: loads.append(1) or talk.groma())
    options = ("--max-new-tokens", "60", "--question", "What is here?")
    assert cli.main(["annotate", str(pictures), "--save", str(save), "--limit", "2", *options]) == 0
    first = (save / "journal.jsonl").read_text()
    assert cli.main(["annotate", str(pictures), "--save", str(save), *options]) == 0
    journal = (save / "journal.jsonl").read_text()
    assert journal.startswith(first)
    assert len(journal.splitlines()) == 1 + 4
    assert cli.main(["annotate", str(pictures), "--save", str(save), *options]) == 0
    assert (save / "journal.jsonl").read_text() == journal
    assert len(loads) == 2
    assert "4 pictures: 3 accepted, 1 rejected" in capsys.readouterr().out

    items = json.loads((save / "groma_instruct.json").read_text())
    coco = json.loads((save / "coco.json").read_text())
    names = ["a.png", "c.png", "deep/b.png"]
    assert [item["file_name"] for item in items] == names
    assert [image["file_name"] for image in coco["images"]] == names
    (refused,) = json.loads((save / "refused.json").read_text())
    assert refused["key"] == "d.png"
    expected = talk.groma().chat(pictures / "a.png").ask("What is here?", max_new_tokens=60)
    found = [a for a in coco["annotations"] if a["image_id"] == 1]
    spans = [(s, r) for s in expected.spans if expected.phrase(s).strip() for r in s.regions]
    assert {tuple(a["bbox"][:2]) for a in found} == {r.box[:2] for _, r in spans}
    scores = sorted({r.score for _, r in spans})
    # Who else computes at the time changes the last bits.
    assert sorted({a["score"] for a in found}) == pytest.approx(scores, rel=1e-4)
    categories = {category["id"]: category["name"] for category in coco["categories"]}
    assert len(found) == len({r.id for _, r in spans})
    assert {a["phrase"] for a in found} <= {expected.phrase(span).strip() for span, _ in spans}
    for annotation in coco["annotations"]:
        noun = noun_of(annotation["phrase"], COMPOUNDS)
        assert categories[annotation["category_id"]] == (noun or "region")
    assert spans
    for item in items:
        parse_item(item)
    instructions = read_set(save / "groma_instruct.json", pictures)
    assert len(instructions.items) == 3
    assert [each for each in check(instructions) if each.severity == "error"] == []

    other = ("--max-new-tokens", "61")
    assert cli.main(["annotate", str(pictures), "--save", str(save), *other]) == 2
    assert "of another run" in capsys.readouterr().err


def test_proposals_are_material(pictures: Path) -> None:
    choice = RegionChoice(fewest=1, most=4, min_area=0.0)
    source = ProposalSource(pictures, talk.tiny_groma(score_threshold=0.0), choice)
    assert source.keys == ["a.png", "c.png", "d.png", "deep/b.png"]
    material = source.material("deep/b.png")
    assert (material.picture, material.size) == ("deep/b.png", talk.SIZE)
    assert 1 <= len(material.boxes) == len(material.descriptions) <= 4
    assert all(0 <= x1 < x2 <= 1 and 0 <= y1 < y2 <= 1 for x1, y1, x2, y2 in material.boxes)
    with pytest.raises(GromaError):
        source.material("d.png")
    with pytest.raises(GromaError, match="no folder with pictures"):
        list_pictures(pictures / "none")
