"""Pictures of test sets stay out of training, by whatever name they come."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from groma.cli import main as cli
from groma.data.mixture import Mixture, SourceConfig, read_mixture
from groma.data.records.left_out import list_pictures, read_left_out
from groma.data.sources.items import BrokenItem, LeftOut, Samples, picture_key
from groma.types import GromaError
from tests.groma.data.test_examples import only, talks
from tests.paths import DATA

COCO = "{:012}"
EVAL = DATA / "eval"


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("coco/train2017/000000000001.jpg", "000000000001"),
        ("COCO_train2014_000000000001.jpg", "000000000001"),
        ("COCO_train2014_000000000001_12.jpg", "000000000001"),
        ("val2014\\COCO_val2014_000000000001.JPG", "000000000001"),
        ("http://images.example.org/val2017/000000000001.jpg", "000000000001"),
        ("VG_100K_2/1.jpg", "1"),
        ("1000.jpeg", "1000"),
        ("1000", "1000"),
        ("a.b.png", "a.b"),
    ],
)
def test_a_picture_has_one_key(name: str, key: str) -> None:
    assert picture_key(name) == key


def keys(path: Path) -> set[str]:
    return {row["key"] for row in list_pictures(path)}


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("test.txt", "1000\n\n b.jpg \n", {"1000", COCO.format(1000), "b"}),
        ("ids.json", "[3, 7]", {"3", "7", COCO.format(3), COCO.format(7)}),
        ("names.json", '["train2017/ü.jpg"]', {"ü"}),
        ("items.json", '[{"image": "coco/1.jpg", "id": 5}]', {"1"}),
        ("lines.jsonl", '{"filename": "x.png"}\n\n{"filename": "y.png"}\n', {"x", "y"}),
        ("coco.json", '{"a": [1], "images": [{"id": 1, "file_name": "ü.jpg"}]}', {"ü"}),
        ("lvis.json", '{"images": [{"coco_url": "http://x.org/val2017/5.jpg"}]}', {"5"}),
    ],
)
def test_lists_come_in_many_forms(tmp_path: Path, name: str, text: str, wanted: set) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    assert keys(tmp_path / name) == wanted


def test_of_refs_all_splits_but_train_are_left_out(public: Path) -> None:
    for path in (public / "refcoco/refs(unc).p", public / "refcocog/refs(umd).json"):
        assert keys(path) == {COCO.format(3)}


def test_files_of_benchmarks_are_lists() -> None:
    pictures = {path.stem for path in (EVAL / "images").iterdir()}
    for name in ("lvis_test", "instances_val2017", "refcoco_val", "refcocog_cap_val"):
        assert keys(EVAL / f"{name}.json") & pictures
    assert len(keys(EVAL / "qa90_questions.jsonl")) >= 1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", '{"images": [{"id": 1}]}', "without the name of a picture"),
        ("x.json", "[[1], {}]", "without the name"),
        ("x.json", "[1, ", "does not go on as JSON"),
        ("x.json", "{}", "names no picture"),
        ("x.txt", "\n", "names no picture"),
        ("x.jsonl", "{", "is no list of pictures"),
        ("x.p", "", "cannot be read as a list of refs"),
    ],
)
def test_what_is_no_list_is_told(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(GromaError, match=message) as caught:
        read_left_out([tmp_path / name], None, None)
    assert name in str(caught.value)


def test_a_missing_list_and_a_false_image_data_are_told(tmp_path: Path) -> None:
    with pytest.raises(GromaError, match=r"left out: There is no file .*none\.txt"):
        read_left_out([tmp_path / "none.txt"], None, None)
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(GromaError, match=r"no `image_data\.json` of Visual Genome"):
        read_left_out([tmp_path / "a.txt"], _put(tmp_path / "x.json", [{"image_id": 1}]), None)


def _put(path: Path, data) -> Path:
    path.write_text(json.dumps(data))
    return path


def read(samples: Samples) -> tuple[set[str], int]:
    """The pictures that are learnt from, and how many items were left out."""
    pictures, left_out = set(), 0
    for index in range(len(samples)):
        try:
            pictures.add(samples[index].picture)
        except LeftOut:
            left_out += 1
        except BrokenItem:
            pass
    return pictures, left_out


def test_a_source_without_the_pictures_of_a_list(public: Path, tmp_path: Path) -> None:
    listed = _put(tmp_path / "test.json", ["COCO_val2014_000000000001.jpg"])
    for name in ("coco/instances.json", "objects365/instances.json"):
        source = SourceConfig("x", "coco", public / name, public / "coco/images")
        (plain,) = Mixture((source,)).opened
        (less,) = Mixture((replace(source, without=(listed,)),)).opened
        all_pictures, none = read(plain.samples)
        pictures, left_out = read(less.samples)
        assert none == 0
        assert len(less.samples) == len(plain.samples)
        gone = {p for p in all_pictures if p.endswith("/000000000001.jpg") or p == f"{1:012}.jpg"}
        assert all_pictures - pictures == gone
        assert left_out == len(gone) == (1 if name.startswith("coco") else 0)
        assert read(pickle.loads(pickle.dumps(less.samples))) == (pictures, left_out)


def test_pictures_of_coco_are_left_out_of_visual_genome_too(
    public: Path, conversations: Mixture, tmp_path: Path
) -> None:
    listed = _put(tmp_path / "test.json", [{"file_name": "COCO_val2014_000000000400.jpg"}])
    twins = public / "visual_genome/image_data.json"
    mixture = only(conversations, "vg-multi")
    assert read(mixture.opened[0].samples) == ({"VG_100K_2/1.jpg", "VG_100K/2.jpg"}, 0)
    for image_data, left_out in ((None, 0), (twins, 1)):
        less = replace(mixture, without=(listed,), image_data=image_data)
        pictures, count = read(less.opened[0].samples)
        assert count == left_out
        assert ("VG_100K_2/1.jpg" in pictures) == (not left_out)
    examples = talks(less, 1, passes=4)
    for index in range(len(examples)):
        assert examples[index]["ids"].ndim == 1
    assert examples.broken["vg-multi", "a picture that is to be left out"] > 0


CONFIG = """[mixture]
root = "{root}"
without = ["refcoco/refs(unc).p"]
[[sources]]
name = "refcoco"
format = "refer"
annotations = "refcoco/refs(unc).p"
instances = "refcoco/instances.json"
images = "refcoco/images"
without = ["extra.txt"]

[[sources]]
name = "find"
format = "coco"
task = "find"
annotations = "refcoco/instances.json"
images = "refcoco/images"

[[validation]]
name = "test"
format = "refer"
split = "testA"
annotations = "refcoco/refs(unc).p"
instances = "refcoco/instances.json"
images = "refcoco/images"
"""


def test_stats_count_what_was_left_out_and_show_the_validation(
    public: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (public / "extra.txt").write_text("COCO_train2014_000000000001.jpg\n")
    config = tmp_path / "config.toml"
    config.write_text(CONFIG.format(root=public))
    assert cli.main(["data", "stats", str(config)]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert "left out" in head
    # Items, a pass, read, boxes, lost boxes, turns, left out, broken.
    assert rows[0].split()[2:10] == [*"66620222"]
    assert rows[1].split()[2:4] == ["4", "4"]
    assert rows[1].split()[8:10] == ["0", "2"]
    assert rows[2].split()[:10] == [*("validation:", "test", "refer"), *"2222020"]
    mixture = read_mixture(config)
    assert mixture.validation is not None
    assert read(mixture.validation.opened[0].samples) == ({"COCO_train2014_000000000003.jpg"}, 0)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('without = ["extra.txt"]', 'without = "extra.txt"', "source refcoco: without must be a"),
        ('without = ["refcoco/refs(unc).p"]', "without = [3]", "without must be a list of files"),
        ('name = "test"', 'name = "test"\nformats = 1', "source test: .*no option 'formats'"),
        ("[[validation]]", "[validation]", r"tables \[\[sources\]\] and \[\[validation\]\]"),
        ('format = "refer"\nsplit = "testA"', 'format = "coco"', "source test: .*'instances'"),
    ],
)
def test_a_mistake_is_named(public: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    text = CONFIG.format(root=public)
    assert old in text
    (tmp_path / "config.toml").write_text(text.replace(old, new))
    with pytest.raises(GromaError, match=message):
        read_mixture(tmp_path / "config.toml")


def test_a_validation_of_another_kind_is_refused(public: Path, detection: Mixture) -> None:
    talk = SourceConfig(
        "find",
        "coco",
        public / "coco/instances.json",
        public / "coco/images",
        1.0,
        {"task": "find"},
    )
    with pytest.raises(GromaError, match="must be for detection"):
        replace(detection, validation=Mixture((talk,))).prepare()
