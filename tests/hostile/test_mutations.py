"""Whatever becomes of a file, every reader ends in a result, or says in a sentence why not.

`HOSTILE` in the environment is how many files are made; `make hostile` makes 100,000.
"""

import os
import resource
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from app.chat.talk_files import read_talk
from app.shared.picture_files import displayable
from groma.checkpoint import load as loading
from groma.checkpoint.load import weight_files
from groma.data.records.left_out import list_pictures
from groma.data.sources import coco, flickr, grit, open_images, refer, sa1b
from groma.data.sources import llava as conversations
from groma.data.sources import visual_genome as vg
from groma.eval.benchmarks.detection_benchmark import Detection
from groma.eval.benchmarks.lvis_ground import LvisGround
from groma.eval.benchmarks.region_caption import RegionCaption
from groma.image import load_image
from groma.instruct.described_pictures import _read_captions, _read_questions
from groma.instruction_sets.doctor.checking import check, repair
from groma.instruction_sets.readers.reading import read_set
from groma.instruction_sets.readers.set_items import left_out, to_samples
from groma.instruction_sets.readers.writing import to_json
from groma.run_journal import RunJournal
from groma.types import GromaError
from tests.groma.data.reading import read
from tests.hostile.mutations import BYTES, VALUES, Step, mutate, steps

PUBLIC, EVAL = Path("tests/data/public"), Path("tests/data/eval")
SETS = Path("tests/data/sets")
VG, REFCOCO = PUBLIC / "visual_genome", PUBLIC / "refcoco"

Reader = Callable[[Path, Path], Any]
"""Takes the changed file and an empty folder beside it."""


def _learn(path: Path, _: Path) -> None:
    """What `groma data check` and a training do with a set; whatever is left out is said."""
    found = read_set(path)
    assert all(note.sentence.endswith(".") for note in found.notes)
    wrong = {finding.item for finding in check(found) if finding.severity == "error"}
    assert None in wrong or wrong >= left_out(found).keys()
    assert len(to_samples(found)) + len(left_out(found)) == len(found)
    to_json(repair(found)).encode()


def _among(name: str, file: str) -> tuple[Path, Reader]:
    """A set that is a folder, of which one file is changed."""

    def look(path: Path, folder: Path) -> None:
        shutil.copytree(SETS / name, folder / "set")
        shutil.copy("tests/data/cases/picture.png", folder / "set" / "a.png")
        shutil.copy(path, folder / "set" / file)
        _learn(folder / "set", folder)

    return SETS / name / file, look


def _source(open_source: Callable[..., Any]) -> Reader:
    return lambda path, folder: read(open_source(path, folder / "index"))


def _folder(open_source: Callable[..., Any], name: str) -> Reader:
    """A source that is a folder, of which one file is changed."""

    def look(path: Path, folder: Path) -> None:
        target = folder / "all" / name
        target.parent.mkdir(parents=True)
        shutil.copy(path, target)
        read(open_source(folder / "all", folder / "index"))

    return look


def _flickr(path: Path, folder: Path) -> None:
    for name in ("Sentences", "Annotations"):
        shutil.copytree(PUBLIC / "flickr30k" / name, folder / "all" / name)
    shutil.copy(path, folder / "all" / "Annotations/1000.xml")
    shutil.copy(path, folder / "all" / "Sentences/1001.txt")
    read(flickr.open_flickr30k(folder / "all", folder / "index"))


def _config(path: Path, folder: Path) -> None:
    shutil.copy(path, folder / "config.json")
    loading.read_config(folder)


def _weights(path: Path, folder: Path) -> None:
    shutil.copy(path, folder / "model.safetensors.index.json")
    weight_files(folder)


def _shown(path: Path, _: Path) -> None:
    seen = load_image(path)
    assert load_image(displayable(path)).size == seen.size


FILES: dict[str, tuple[Path, Reader]] = {
    "coco": (PUBLIC / "coco/instances.json", _source(coco.open_coco)),
    "coco-find": (PUBLIC / "coco/instances.json", _source(partial(coco.open_coco, task="find"))),
    "expressions": (REFCOCO / "refcoco_train.json", _source(coco.open_expressions)),
    "region-captions": (REFCOCO / "refcocog_cap_train.json", _source(coco.open_region_captions)),
    "flickr-json": (
        PUBLIC / "flickr30k/flickr_entities_train.json",
        _source(coco.open_flickr_json),
    ),
    "flickr-xml": (PUBLIC / "flickr30k/Annotations/1000.xml", _flickr),
    "flickr-txt": (PUBLIC / "flickr30k/Sentences/1001.txt", _flickr),
    "conversations": (
        PUBLIC / "conversations/llava_conversation_reasoning.json",
        _source(conversations.open_conversations),
    ),
    "json-lines": (
        PUBLIC / "conversations/share-captioner.jsonl",
        _source(conversations.open_conversations),
    ),
    "groma-instruct": (
        PUBLIC / "conversations/groma_instruct.json",
        _source(conversations.open_groma_instruct),
    ),
    "grit": (PUBLIC / "grit/grit_filtered.json", _source(grit.open_grit)),
    "sa1b": (PUBLIC / "sa1b/sa_000000/sa_1.json", _folder(sa1b.open_sa1b, "sa_1.json")),
    "open-images": (
        PUBLIC / "openimages/train-annotations-bbox.csv",
        _source(open_images.open_images),
    ),
    "open-images-classes": (
        PUBLIC / "openimages/class-descriptions-boxable.csv",
        lambda path, _: open_images.read_classes(path),
    ),
    "vg": (
        VG / "region_descriptions.json",
        _source(partial(vg.open_visual_genome, image_data=VG / "image_data.json")),
    ),
    "vg-pictures": (VG / "image_data.json", lambda path, _: vg.read_pictures(path)),
    "vg-questions": (VG / "region_descriptions.json", lambda path, _: _read_questions(path)),
    "captions": (
        PUBLIC / "coco/instances.json",
        lambda path, _: _read_captions(path, VG / "image_data.json"),
    ),
    "refs": (
        PUBLIC / "refcocog/refs(umd).json",
        _source(partial(refer.open_refer, instances=REFCOCO / "instances.json")),
    ),
    "refs-pickle": (
        REFCOCO / "refs(unc).p",
        _source(partial(refer.open_refer, instances=REFCOCO / "instances.json")),
    ),
    "left-out": (REFCOCO / "refcoco_train.json", lambda path, _: list_pictures(path)),
    "detection": (EVAL / "instances_val2017.json", lambda path, _: Detection(path)),
    "lvis": (EVAL / "lvis_test.json", lambda path, _: LvisGround(path)),
    "region-caption": (EVAL / "refcocog_cap_val.json", lambda path, _: RegionCaption(path)),
    "set-coco": (PUBLIC / "coco/instances.json", _learn),
    "set-groma": (PUBLIC / "conversations/groma_instruct.json", _learn),
    "set-llava": (PUBLIC / "conversations/sharegpt4v_instruct.json", _learn),
    "set-lines": (PUBLIC / "conversations/share-captioner.jsonl", _learn),
    "set-parts": (Path("tests/data/cases/picture-in-content/url.json"), _learn),
    "set-masks": (Path("tests/data/cases/masks/set.json"), _learn),
    "set-zip": (Path("tests/data/cases/unicode-names/flag-nfd.zip"), _learn),
    "set-old-zip": (Path("tests/data/cases/deflate64/set.zip"), _learn),
    "set-yolo": _among("yolo", "train/labels/a.txt"),
    "set-yolo-names": _among("yolo", "data.yaml"),
    "set-yolo-classes": _among("yolo-flat", "classes.txt"),
    "set-voc": _among("voc", "Annotations/a.xml"),
    "set-cvat": _among("cvat", "annotations.xml"),
    "set-cvat-coco": _among("cvat-coco", "annotations/instances_default.json"),
    "set-roboflow": _among("roboflow", "train/_annotations.coco.json"),
    "set-label-studio": _among("label-studio", "tasks.json"),
    "set-label-studio-min": _among("label-studio-min", "min.json"),
    "set-labelme": _among("labelme", "labels/a.json"),
    "set-supervisely": _among("supervisely", "day/ann/a.png.json"),
    "set-via": _among("via", "via.json"),
    "config": (Path("weights/groma-mini/config.json"), _config),
    "weights": (Path("weights/groma-mini/model.safetensors.index.json"), _weights),
    "picture-jpg": (Path("tests/data/cases/orientation/xmp.jpg"), _shown),
    "picture-png": (Path("tests/data/cases/orientation/xmp.png"), _shown),
    "picture-webp": (Path("tests/data/cases/orientation/exif.webp"), _shown),
    "talk": (Path("tests/data/cases/masks/set.json"), lambda path, _: read_talk(path)),
    "journal": (
        PUBLIC / "conversations/share-captioner.jsonl",
        lambda path, _: RunJournal.resume(path, {"begun": 1}),
    ),
    "answers": (EVAL / "qa90_questions.jsonl", lambda path, _: RunJournal.read(path)),
}
"""Files, and what reads them."""

MOST_SECONDS, MOST_MB = 5, 300
"""What one file may take: time of the processor, and memory beyond what was ever taken before."""
NUMBER = int(os.environ.get("HOSTILE", "1000")) // len(FILES)


@pytest.mark.parametrize("name", FILES)
def test_readers_end_in_a_result_or_a_sentence(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    source, reader = FILES[name]
    data = source.read_bytes()
    kinds = BYTES + VALUES if source.suffix == ".json" else BYTES

    def read_one(changes: list[Step]) -> None:
        folder = tmp_path_factory.mktemp(name)
        path = folder / source.name
        path.write_bytes(mutate(data, changes))
        (folder / "beside").mkdir()
        try:
            reader(path, folder / "beside")
        except GromaError as error:
            sentence = str(error)
            assert sentence.strip(), changes
            assert "\n" not in sentence
            sentence.encode()
        finally:
            shutil.rmtree(folder)

    # What is imported and remembered by the first one is no cost of a changed one.
    read_one([])

    @given(steps(kinds))
    @settings(
        max_examples=NUMBER,
        database=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    def try_one(changes: list[Step]) -> None:
        began, had = time.process_time(), _peak()
        read_one(changes)
        assert time.process_time() - began < MOST_SECONDS
        assert _peak() - had < MOST_MB

    try_one()


def _peak() -> float:
    """The most memory that this process ever had, in MB."""
    unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def test_a_pickle_is_given_no_room_that_it_does_not_fill(tmp_path: Path) -> None:
    path = tmp_path / "refs.p"
    path.write_bytes(b"\x80\x02]r\xff\xff\xff\x7f.")
    with pytest.raises(GromaError, match="place 2,147,483,647"):
        refer.read_refs(path)
