"""What is broken in the field costs what it is in: a box, an item, never the source."""

import copy
import json
import logging
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from groma.data.sample import Phrase
from groma.data.sources import coco, flickr, grit, open_images, refer, sa1b, visual_genome
from groma.data.sources.items import BrokenItem, Samples, read_parts
from groma.types import GromaError
from tests.groma.data.reading import read

Change = Callable[[Any], object]


def changed(source: Path, target: Path, change: Change) -> Path:
    """A copy of a JSON file that is a little different."""
    data = json.loads(source.read_text())
    change(data)
    target.write_text(json.dumps(data))
    return target


def test_parts_that_can_be_used_are_read() -> None:
    lost: Counter[str] = Counter()
    assert read_parts(["1", None, "x", "2"], int, lost) == [1, 2]
    assert lost == {"a field of the wrong type": 2}
    with pytest.raises(BrokenItem, match="wrong type"):
        read_parts(["x", None], int, lost)
    with pytest.raises(BrokenItem, match="no box"):
        read_parts([], int, lost)


REFER: dict[str, tuple[Change, dict[str, int]]] = {
    "annotation without id": (
        lambda data: data["annotations"][-1].pop("id"),
        {"a thing that the instances do not hold": 4},
    ),
    "annotation with a list as id": (
        lambda data: data["annotations"][-1].update(id=[1], category_id=[1]),
        {"a thing that the instances do not hold": 4},
    ),
    "image without height": (
        lambda data: data["images"][0].pop("height"),
        {"a thing that the instances do not hold": 2, "no field 'height'": 2},
    ),
    "image without id": (
        lambda data: data["images"][0].pop("id"),
        {"a thing that the instances do not hold": 4},
    ),
    "annotation without box": (
        lambda data: data["annotations"][-1].update(bbox=None, segmentation=None),
        {"a thing that the instances do not hold": 2, "a field of the wrong type": 2},
    ),
}
"""The last annotation is the thing that the first ref means."""


@pytest.mark.parametrize("name", REFER)
def test_refs_whose_instance_is_broken_are_counted(public: Path, tmp_path: Path, name: str) -> None:
    change, wanted = REFER[name]
    instances = changed(public / "refcoco/instances.json", tmp_path / "instances.json", change)
    items = refer.open_refer(public / "refcoco/refs(unc).p", tmp_path, instances=instances)
    samples, broken = read(items)
    assert len(samples) == 2
    assert broken == wanted


@pytest.mark.parametrize(
    ("value", "reason", "lost"),
    [
        (None, "a field of the wrong type", 1),
        ([], "a field of the wrong type", 1),
        (5, "a field of the wrong type", 1),
        (["text", {"sent": "here"}], "an empty text", 1),
        ([{"sent": 5}, {}, {"sent": "here"}], "an empty text", 2),
    ],
)
def test_refs_whose_sentences_are_broken_are_counted(
    public: Path, tmp_path: Path, value: Any, reason: str, lost: int
) -> None:
    refs = pickle.loads((public / "refcoco/refs(unc).p").read_bytes())
    refs[0]["sentences"] = value
    (tmp_path / "refs(unc).p").write_bytes(pickle.dumps(refs))
    instances = public / "refcoco/instances.json"
    samples, broken = read(refer.open_refer(tmp_path / "refs(unc).p", None, instances=instances))
    assert broken == {reason: lost, "a thing that the instances do not hold": 2}
    assert len(samples) == (3 if isinstance(value, list) and value else 2)


TABLES: dict[str, tuple[Change, int]] = {
    "annotation without image_id": (lambda data: data["annotations"][0].pop("image_id"), 1),
    "annotation of no image": (lambda data: data["annotations"][0].update(image_id=None), 1),
    "annotation of a huge image": (lambda data: data["annotations"][0].update(image_id=2**70), 1),
    "annotation of another image": (lambda data: data["annotations"][0].update(image_id=77), 1),
    "annotation that is none": (lambda data: data["annotations"].__setitem__(0, "x"), 1),
    "annotation without box": (
        lambda data: data["annotations"][0].update(bbox=None, segmentation=None),
        0,
    ),
    "annotation of an unknown class": (lambda data: data["annotations"][0].pop("category_id"), 0),
    "class without name": (lambda data: data["categories"][0].pop("name"), 0),
    "class that is none": (lambda data: data["categories"].__setitem__(0, None), 0),
}


@pytest.mark.parametrize("task", ["detection", "find"])
@pytest.mark.parametrize("name", TABLES)
def test_a_broken_entry_of_a_table_costs_a_box(
    public: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, task: Any
) -> None:
    change, told = TABLES[name]
    whole, _ = read(coco.open_coco(public / "coco/instances.json", tmp_path, task=task))
    file = changed(public / "coco/instances.json", tmp_path / "x.json", change)
    with caplog.at_level(logging.WARNING):
        samples, broken = read(coco.open_coco(file, tmp_path, task=task))
    assert broken == {"no box": 2}
    assert [sample.picture for sample in samples] == [sample.picture for sample in whole]
    lost = [len(a.boxes) - len(b.boxes) for a, b in zip(whole, samples, strict=True)]
    assert sorted(lost)[-1] >= 1
    assert all(set(b.boxes) <= set(a.boxes) for a, b in zip(whole, samples, strict=True))
    assert len(caplog.records) == told
    assert all("1 of" in record.getMessage() for record in caplog.records)


def test_an_image_without_id_is_a_broken_item(public: Path, tmp_path: Path) -> None:
    file = changed(
        public / "coco/instances.json",
        tmp_path / "x.json",
        lambda data: data["images"][0].update(id=["x"]),
    )
    samples, broken = read(coco.open_coco(file, tmp_path))
    assert broken == {"no box": 2, "a picture without id": 1}
    assert len(samples) == 1


@pytest.mark.parametrize(("table", "field"), [("images", "id"), ("annotations", "image_id")])
def test_a_table_without_any_number_is_of_another_format(
    public: Path, tmp_path: Path, table: str, field: str
) -> None:
    def strip(data: Any) -> None:
        for entry in data[table]:
            del entry[field]

    file = changed(public / "coco/instances.json", tmp_path / "x.json", strip)
    with pytest.raises(GromaError, match=f"no entry of `{table}` has a number `{field}`"):
        len(coco.open_coco(file, tmp_path))


def test_a_picture_without_size_costs_its_regions(public: Path, tmp_path: Path) -> None:
    folder = public / "visual_genome"
    descriptions = folder / "region_descriptions.json"
    for number, change in enumerate(
        (
            lambda data: data[0].update(height=None),
            lambda data: data[0].update(width="?"),
            lambda data: data[0].pop("url"),
            lambda data: data.__setitem__(0, None),
        )
    ):
        file = changed(folder / "image_data.json", tmp_path / f"{number}.json", change)
        items = visual_genome.open_visual_genome(
            descriptions, tmp_path, image_data=file, rounds="multi"
        )
        samples, broken = read(items)
        assert [sample.picture for sample in samples] == ["VG_100K/2.jpg"]
        assert broken == {"a picture that image_data does not know": 1, "no box": 1}
    for text in ("[]", "{}", "3", "nonsense"):
        (tmp_path / "none.json").write_text(text)
        with pytest.raises(GromaError, match=r"is no `image_data\.json`"):
            visual_genome.read_pictures(tmp_path / "none.json")


def test_a_file_of_sa1b_that_is_gone_is_a_broken_item(public: Path, tmp_path: Path) -> None:
    shutil.copytree(public / "sa1b", tmp_path / "sa1b")
    items = sa1b.open_sa1b(tmp_path / "sa1b", tmp_path / "cache")
    before, _ = read(items)
    (tmp_path / "sa1b/sa_000000/sa_2.json").unlink()
    samples, broken = read(items)
    assert samples == before[:1]
    assert broken == {"no box": 1, "not JSON": 1, "a file that cannot be read": 1}


def spoil(entry: dict[str, Any]) -> dict[str, Any]:
    """A copy of an annotation whose box has no width."""
    x, y, _, height = entry["bbox"]
    return copy.deepcopy(entry) | {"bbox": [x, y, 0, height]}


def with_spoilt_segments(public: Path, folder: Path) -> Samples:
    shutil.copytree(public / "sa1b", folder / "sa1b")
    file = folder / "sa1b/sa_000000/sa_1.json"
    changed(file, file, lambda data: data["annotations"].insert(0, spoil(data["annotations"][0])))
    return sa1b.open_sa1b(folder / "sa1b", folder)


def with_spoilt_row(public: Path, folder: Path) -> Samples:
    lines = (public / "openimages/train-annotations-bbox.csv").read_text().splitlines()
    cells = lines[1].split(",")
    cells[5] = cells[4]
    (folder / "x.csv").write_text("\n".join([lines[0], ",".join(cells), *lines[1:]]) + "\n")
    return open_images.open_images(folder / "x.csv", folder)


def with_spoilt_regions(public: Path, folder: Path) -> Samples:
    def spoil_regions(data: Any) -> None:
        regions = data[0]["regions"]
        regions[:0] = [regions[0] | {"width": 0}, regions[0] | {"phrase": " "}, {}]

    descriptions = public / "visual_genome/region_descriptions.json"
    file = changed(descriptions, folder / "x.json", spoil_regions)
    data = public / "visual_genome/image_data.json"
    return visual_genome.open_visual_genome(file, folder, image_data=data, rounds="multi")


def spoil_annotations(data: Any) -> None:
    data["annotations"].insert(0, spoil(data["annotations"][0]))


def with_spoilt_captions(public: Path, folder: Path) -> Samples:
    file = changed(
        public / "refcoco/refcocog_cap_train.json",
        folder / "x.json",
        spoil_annotations,
    )
    return coco.open_region_captions(file, folder)


def with_spoilt_phrases(public: Path, folder: Path) -> Samples:
    file = changed(
        public / "flickr30k/flickr_entities_train.json",
        folder / "x.json",
        spoil_annotations,
    )
    return coco.open_flickr_json(file, folder)


def with_spoilt_expressions(public: Path, folder: Path) -> Samples:
    def spoil_first(data: Any) -> None:
        first = data[0]["ref_exps"][0]
        data[0]["ref_exps"].insert(0, [*first[:4], first[2], *first[5:]])

    file = changed(public / "grit/grit_filtered.json", folder / "x.json", spoil_first)
    return grit.open_grit(file, folder, task="caption")


def with_spoilt_xml(public: Path, folder: Path) -> Samples:
    shutil.copytree(public / "flickr30k", folder / "flickr30k")
    file = folder / "flickr30k/Annotations/1000.xml"
    start, thing, rest = file.read_text().partition("<object>")
    spoilt = "<object><name>50</name><bndbox><xmin>9</xmin><ymin>9</ymin><xmax>8</xmax>"
    file.write_text(f"{start}{spoilt}<ymax>20</ymax></bndbox></object>\n{thing}{rest}")
    return flickr.open_flickr30k(folder / "flickr30k", folder)


PLAIN: dict[Callable[[Path, Path], Samples], Callable[[Path, Path], Samples]] = {
    with_spoilt_segments: lambda public, cache: sa1b.open_sa1b(public / "sa1b", cache),
    with_spoilt_row: lambda public, cache: open_images.open_images(
        public / "openimages/train-annotations-bbox.csv", cache
    ),
    with_spoilt_regions: lambda public, cache: visual_genome.open_visual_genome(
        public / "visual_genome/region_descriptions.json",
        cache,
        image_data=public / "visual_genome/image_data.json",
        rounds="multi",
    ),
    with_spoilt_captions: lambda public, cache: coco.open_region_captions(
        public / "refcoco/refcocog_cap_train.json", cache
    ),
    with_spoilt_phrases: lambda public, cache: coco.open_flickr_json(
        public / "flickr30k/flickr_entities_train.json", cache
    ),
    with_spoilt_expressions: lambda public, cache: grit.open_grit(
        public / "grit/grit_filtered.json", cache, task="caption"
    ),
    with_spoilt_xml: lambda public, cache: flickr.open_flickr30k(public / "flickr30k", cache),
}


@pytest.mark.parametrize("spoilt", PLAIN, ids=lambda function: function.__name__)
def test_a_box_without_area_costs_that_box_alone(
    public: Path, tmp_path: Path, spoilt: Callable[[Path, Path], Samples]
) -> None:
    """Each file has a broken box more than the fixture; what is read of both is the same."""
    assert read(spoilt(public, tmp_path)) == read(PLAIN[spoilt](public, tmp_path))


def test_a_phrase_whose_box_is_broken_stays_words(public: Path, tmp_path: Path) -> None:
    def spoil_first(data: Any) -> None:
        data[0]["ref_exps"][0][2] = None

    file = changed(public / "grit/grit_filtered.json", tmp_path / "x.json", spoil_first)
    sample = grit.open_grit(file, tmp_path, task="caption")[0]
    (whole, *_), _ = read(
        grit.open_grit(public / "grit/grit_filtered.json", tmp_path, task="caption")
    )
    assert sample.boxes == whole.boxes[1:]
    phrases = [piece for piece in sample.turns[0].answer if isinstance(piece, Phrase)]
    assert [phrase.regions for phrase in phrases] == [(i,) for i in range(len(sample.boxes))]
