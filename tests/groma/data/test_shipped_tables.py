"""The shipped stages of the paper find their data where each data set is published to lie."""

import json
import pickle
import shutil
import tomllib
from pathlib import Path

import pytest

from groma.cli import main as cli
from groma.data.mixture import read_mixture
from groma.train.configuration import find

STAGES = ("detection", "alignment", "instruction")
PICTURES = {
    "coco/images": ("coco/train2017", "coco/val2017", "visual-genome/images"),
    "refcoco/images": ("coco/train2014",),
    "objects365/images": ("objects365/train",),
    "openimages/images": ("openimages/train",),
    "v3det/images": ("v3det/images",),
    "sa1b": ("sa1b",),
    "flickr30k/images": ("flickr30k/images",),
    "visual_genome/VG_100K": ("visual-genome/images/VG_100K",),
    "visual_genome/VG_100K_2": ("visual-genome/images/VG_100K_2",),
    "grit/images": ("grit/images",),
}
"""Folder of the fixtures -> where they are unpacked."""
FILES = {
    "coco/instances.json": (
        "coco/annotations/instances_train2017.json",
        "coco/annotations/instances_val2017.json",
    ),
    "objects365/instances.json": ("objects365/zhiyuan_objv2_train.json",),
    "openimages/train-annotations-bbox.csv": ("openimages/oidv6-train-annotations-bbox.csv",),
    "v3det/instances.json": ("v3det/v3det_2023_v1_train.json",),
    "refcoco/instances.json": tuple(
        f"{name}/instances.json" for name in ("refcoco", "refcoco+", "refcocog")
    ),
    "visual_genome/region_descriptions.json": ("visual-genome/region_descriptions.json",),
    "visual_genome/image_data.json": ("visual-genome/image_data.json",),
    "grit/grit_filtered.json": ("grit/grit_filtered_10m.json",),
    "conversations/share-captioner.jsonl": (
        "sharegpt4v/share-captioner_coco_lcs_sam_1246k_1107.json",
    ),
    "conversations/sharegpt4v_instruct.json": (
        "sharegpt4v/sharegpt4v_instruct_gpt4-vision_cap100k.json",
    ),
    "conversations/llava_conversation_reasoning.json": ("llava/llava_conversation_reasoning.json",),
    "conversations/groma_instruct.json": ("groma-instruct/groma_instruct.json",),
}
"""File of the fixtures -> what its data set calls it."""
REFS = ("refcoco/refs(unc).p", "refcoco+/refs(unc).p", "refcocog/refs(umd).p")


@pytest.fixture(scope="module")
def data(public: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The fixtures, laid out as the data sets are."""
    root = tmp_path_factory.mktemp("data")
    for source, targets in PICTURES.items():
        for target in targets:
            shutil.copytree(public / source, root / target, dirs_exist_ok=True)
    for name in ("Sentences", "Annotations"):
        shutil.copytree(public / "flickr30k" / name, root / "flickr30k" / name)
    # ShareGPT4V names pictures of several data sets, below one folder.
    shutil.copytree(public / "coco/images", root / "sharegpt4v/data/coco/train2017")
    for source, targets in FILES.items():
        for target in targets:
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(public / source, root / target)
    (root / "flickr30k/train.txt").write_text("1000\n1002\n")
    (root / "flickr30k/val.txt").write_text("1001\n")
    write_refs(public, root)
    # Pictures of benchmarks, none of which is among the fixtures.
    picture = {"images": [{"id": 9, "file_name": f"{9:012}.jpg"}], "annotations": []}
    for name in ("lvis/lvis_test.json", "visual-genome/vg_test.json"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(json.dumps(picture))
    (root / "llava/qa90_questions.jsonl").write_text(json.dumps({"image": f"{9:012}.jpg"}) + "\n")
    return root


def write_refs(public: Path, root: Path) -> None:
    """The refs of the fixtures; their second one is of the split that is validated on."""
    refs = pickle.loads((public / "refcoco/refs(unc).p").read_bytes())
    refs[1]["split"] = "val"
    for name in REFS:
        (root / name).write_bytes(pickle.dumps(refs, protocol=2))


@pytest.mark.parametrize(
    ("stage", "turns"),
    [("alignment", {"grit": 1, "coco": 1}), ("instruction", {"visual-genome": 10, "coco": 1})],
)
def test_as_many_questions_as_in_the_released_training(stage: str, turns: dict[str, int]) -> None:
    sources = read_mixture(find(f"groma-7b/{stage}")).sources
    assert {s.name: s.options["turns"] for s in sources if "turns" in s.options} == turns


@pytest.mark.parametrize("stage", STAGES)
def test_every_source_of_a_shipped_stage_is_opened(
    data: Path, stage: str, capsys: pytest.CaptureFixture
) -> None:
    name = f"groma-7b/{stage}"
    assert cli.main(["data", "stats", name, "--root", str(data)]) == 0
    _, *rows = capsys.readouterr().out.splitlines()
    tables = tomllib.loads(find(name).read_text())
    named = [source["name"] for source in tables["sources"]]
    named += [f"validation: {source['name']}" for source in tables["validation"]]
    assert len(rows) == len(named)
    for row, source in zip(rows, named, strict=True):
        assert row.startswith(f"{source} ")
        cells = row.removeprefix(source).split()
        read, boxes, _, turns, left_out, broken = map(int, cells[3:9])
        assert read > left_out + broken, row
        assert boxes + turns > 0, row
        # One item of each set of conversations is about a picture that nobody has.
        assert row.count("a picture that is missing") == (source == "sharegpt4v"), row
