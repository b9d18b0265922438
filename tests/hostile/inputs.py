"""Files of every kind that people bring, and what reads each of them."""

import json
import logging
import shutil
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import save
from torch import ones

from app.chat.talk_files import read_talk, to_talk
from app.shared.picture_files import displayable
from groma.chat.conversation import Conversation, GroundedReply, Turn
from groma.chat.settings import GenerationSettings
from groma.checkpoint import load as loading
from groma.checkpoint.adapters import Fingerprint, read_adapter
from groma.data.mixture import read_mixture
from groma.data.records.left_out import list_pictures
from groma.data.sample import QA, GroundedSample, Phrase
from groma.data.sources import coco, flickr, grit, open_images, refer, sa1b
from groma.data.sources import llava as conversations
from groma.data.sources import visual_genome as vg
from groma.data.sources.items import BrokenItem, Samples
from groma.eval.benchmarks.chat_judge import ChatJudge
from groma.eval.benchmarks.detection_benchmark import Detection
from groma.eval.benchmarks.gcg import GroundedGeneration, read_folder
from groma.eval.benchmarks.lvis_ground import LvisGround
from groma.eval.benchmarks.region_caption import RegionCaption
from groma.finetune.run_folder import RunFolder
from groma.foreign import load_json
from groma.image import load_image
from groma.instruct.described_pictures import _read_captions, _read_questions
from groma.instruct.draft_notation import read_draft
from groma.instruction_sets.doctor.checking import check, repair
from groma.instruction_sets.readers.reading import read_set
from groma.instruction_sets.readers.set_items import left_out, to_samples
from groma.instruction_sets.readers.writing import to_json
from groma.named_regions import GroundedSpan, Region
from groma.run_journal import RunJournal
from groma.serve.batch_file import _known, _read_requests
from groma.serve.openai_messages import ChatRequest, read_data_url, read_question
from groma.train.configuration import Configuration, read_configuration
from groma.types import GromaError

PUBLIC, EVAL = Path("tests/data/public"), Path("tests/data/eval")
SETS, CASES = Path("tests/data/sets"), Path("tests/data/cases")
VG, REFCOCO = PUBLIC / "visual_genome", PUBLIC / "refcoco"
PICTURE = CASES / "picture.png"


class Read(NamedTuple):
    """What became of a file.

    Attributes:
        used: how much of it is used.
        said: the reasons that are given for what is not.
    """

    used: int
    said: Counter[str]


Reader = Callable[[Path, Path], Read | None]
"""Takes the changed file and an empty folder beside it; None where nothing is counted."""


class Input(NamedTuple):
    """A file and what reads it."""

    name: str
    data: bytes
    read: Reader


@contextmanager
def listening() -> Iterator[list[logging.LogRecord]]:
    """What the library warns of."""
    heard: list[logging.LogRecord] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = heard.append
    logger = logging.getLogger("groma")
    logger.addHandler(handler)
    try:
        yield heard
    finally:
        logger.removeHandler(handler)


def learn(path: Path, _: Path) -> Read:
    """What `groma data check` and a training do with a set; whatever is left out is said."""
    found = read_set(path)
    assert all(note.sentence.endswith(".") for note in found.notes)
    findings = check(found)
    wrong = {finding.item for finding in findings if finding.severity == "error"}
    lost = left_out(found)
    assert None in wrong or wrong >= lost.keys()
    samples = to_samples(found)
    assert len(samples) + len(lost) == len(found)
    to_json(repair(found)).encode()
    boxes = {(sample.picture, box) for sample in samples for box in sample.boxes}
    turns = sum(len(sample.turns) for sample in samples if not sample.boxes)
    return Read(len(boxes) + turns, Counter(finding.sentence for finding in findings))


def _among(name: str, file: str) -> Input:
    """A set that is a folder, of which one file is changed."""

    def look(path: Path, folder: Path) -> Read:
        shutil.copytree(SETS / name, folder / "set")
        shutil.copy(PICTURE, folder / "set" / "a.png")
        (folder / "set" / file).unlink()
        shutil.copy(path, (folder / "set" / file).with_name(path.name))
        return learn(folder / "set", folder)

    return Input(Path(file).name, (SETS / name / file).read_bytes(), look)


def _all(source: Samples) -> Read:
    lost, used = Counter[str](), 0
    for index in range(len(source)):
        try:
            used += 1 + len(source.read(index, lost).boxes)
        except BrokenItem as error:
            lost[str(error)] += 1
    return Read(used, lost)


def _source(path: Path, open_source: Callable[..., Any]) -> Input:
    def look(path: Path, folder: Path) -> Read:
        with listening() as heard:
            read = _all(open_source(path, folder / "index"))
        return Read(read.used, read.said + Counter(record.getMessage() for record in heard))

    return Input(path.name, path.read_bytes(), look)


def _sa1b(path: Path, folder: Path) -> Read:
    target = folder / "all" / path.name
    target.parent.mkdir(parents=True)
    shutil.copy(path, target)
    return _all(sa1b.open_sa1b(folder / "all", folder / "index"))


def _flickr(path: Path, folder: Path) -> None:
    for name in ("Sentences", "Annotations"):
        shutil.copytree(PUBLIC / "flickr30k" / name, folder / "all" / name)
    shutil.copy(path, folder / "all" / "Annotations/1000.xml")
    shutil.copy(path, folder / "all" / "Sentences/1001.txt")
    _all(flickr.open_flickr30k(folder / "all", folder / "index"))


def _file(path: Path, reader: Reader) -> Input:
    return Input(path.name, path.read_bytes(), reader)


def _plain(path: Path, read: Callable[[Path], Any]) -> Input:
    """A file that is read alone."""
    return _file(path, lambda path, _: void(read(path)))


def void(_: Any) -> None:
    """Nothing is counted."""


def _named(name: str, read: Callable[[Path], Any]) -> Reader:
    """What reads a folder in which a file has a name of its own."""

    def look(path: Path, folder: Path) -> None:
        shutil.copy(path, folder / name)
        void(read(folder))

    return look


def _shown(path: Path, _: Path) -> None:
    seen = load_image(path)
    assert load_image(displayable(path)).size == seen.size


def _pictures() -> Iterator[tuple[str, Input]]:
    image = Image.open(PICTURE).convert("RGB").resize((64, 48))
    more = {"save_all": True, "append_images": [image.rotate(180)]}
    options: dict[str, dict[str, Any]] = {"GIF": more, "MPO": more, "AVIF": more, "WEBP": more}
    kinds = ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "PPM", "MPO"]
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        pass
    else:
        register_heif_opener()
        kinds.append("HEIF")
    for kind in kinds:
        file = BytesIO()
        image.save(file, kind, **options.get(kind, {}))
        name = f"picture-{kind.lower()}"
        yield name, Input(f"{name}.bin", file.getvalue(), _shown)


def _talk() -> bytes:
    region = Region(0, (10.0, 10.0, 300.0, 400.0), (0.02, 0.02, 0.5, 0.8), 0.5)
    spans = (GroundedSpan(0, 2, (region.ref(0.9),)),)
    turn = Turn(
        "Where?", (region,), GenerationSettings(), GroundedReply("It is red.", spans, (480, 640))
    )
    talk = Conversation((480, 640), (turn,))
    return json.dumps(to_talk(PICTURE, talk)).encode()


def _adapter(path: Path, folder: Path) -> None:
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.safetensors").write_bytes(_adapter_weights())
    shutil.copy(path, folder / path.name)
    void(read_adapter(folder).name.encode())


def _adapter_weights() -> bytes:
    key = "base_model.model.language_model.model.layers.0.mlp.up_proj.lora_A.weight"
    base = Fingerprint("tiny", {"width": 4}, "0" * 64, (0.5, 0.25))
    described = json.dumps({"base": asdict(base), "card": {"name": "red"}})
    return save({key: ones(4, 2)}, {"format": "pt", "groma": described})


def _run(name: str) -> Reader:
    """A run's folder as the page with all runs reads it."""

    def look(path: Path, folder: Path) -> None:
        for file, data in RUN.items():
            (folder / file).write_bytes(data)
        shutil.copy(path, folder / name)
        run = RunFolder.open(folder)
        void((run.state, run.progress(), run.samples, run.knowledge, run.scores, run.num_examples))

    return look


_SAMPLE = GroundedSample(
    "pictures/a.png",
    (480, 640),
    ((0.1, 0.1, 0.5, 0.5),),
    ("box",),
    (QA(("Where is it?",), ("Here is ", Phrase("the box", (0,)), ".")),),
).to_dict()
_LOG = [{"step": step, "seconds": float(step), "loss": 2.0 / step} for step in (1, 2)]
RUN: dict[str, bytes] = {
    "settings.json": b'{"model": "groma-mini", "rank": 4, "epochs": 3.0, "lr": 0.01}',
    "examples.json": json.dumps([_SAMPLE]).encode(),
    "state.json": b'{"state": "training", "steps": 6, "message": "", "process": 1}',
    "log.jsonl": b"".join(json.dumps(row).encode() + b"\n" for row in _LOG),
    "rehearsal.json": json.dumps(
        {"talks": [_SAMPLE], "known": ["box"], "described": {"pictures/a.png": [["box"], []]}}
    ).encode(),
    "scores.json": b"[]",
}


def _request(path: Path, _: Path) -> None:
    """What a program asks of the server."""
    try:
        request = TypeAdapter(ChatRequest).validate_json(path.read_bytes())
    except ValidationError as error:
        raise GromaError(str(error.errors()[0]["msg"])) from error
    void(request.settings())
    question = read_question(request.messages)
    question.text.encode("utf-8", "replace")
    void(load_image(read_data_url(question.picture)))


def _body() -> bytes:
    file = BytesIO()
    Image.new("RGB", (8, 6)).save(file, "PNG")
    url = {"url": f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"}
    parts = [{"type": "image_url", "image_url": url}, {"type": "text", "text": "What is [1]?"}]
    said = [{"role": "user", "content": parts, "bbox_list": [[1, 1, 5, 5]]}]
    return json.dumps({"model": "groma", "messages": said, "max_tokens": 5}).encode()


def _batch(path: Path, _: Path) -> None:
    void(_read_requests(path))
    void(_known(path))


def _judge(path: Path, _: Path, place: int = 0) -> None:
    names = ("qa90_questions.jsonl", "qa90_gpt4_answer.jsonl", "caps_boxes_coco2014_val_80.jsonl")
    files = [EVAL / name for name in names]
    files[place] = path
    void(ChatJudge(*files, EVAL / "rule.json", "judge", None))


def _gcg(path: Path, _: Path, masks: bool = False) -> None:
    files = [EVAL / f"val_gcg_coco_{kind}_gt.json" for kind in ("caption", "mask")]
    files[masks] = path
    void(GroundedGeneration(*files, "boxes", None))


def _draft(path: Path, _: Path) -> None:
    void(read_draft(path.read_text("utf-8", "replace"), 3))


_INSTANCES = PUBLIC / "coco/instances.json"
_WEIGHTS = Path("weights/groma-mini")

INPUTS: dict[str, Input] = {
    "coco": _source(_INSTANCES, coco.open_coco),
    "coco-find": _source(_INSTANCES, partial(coco.open_coco, task="find")),
    "expressions": _source(REFCOCO / "refcoco_train.json", coco.open_expressions),
    "region-captions": _source(REFCOCO / "refcocog_cap_train.json", coco.open_region_captions),
    "flickr-json": _source(PUBLIC / "flickr30k/flickr_entities_train.json", coco.open_flickr_json),
    "flickr-xml": _file(PUBLIC / "flickr30k/Annotations/1000.xml", _flickr),
    "flickr-txt": _file(PUBLIC / "flickr30k/Sentences/1001.txt", _flickr),
    "conversations": _source(
        PUBLIC / "conversations/llava_conversation_reasoning.json",
        conversations.open_conversations,
    ),
    "json-lines": _source(
        PUBLIC / "conversations/share-captioner.jsonl", conversations.open_conversations
    ),
    "groma-instruct": _source(
        PUBLIC / "conversations/groma_instruct.json", conversations.open_groma_instruct
    ),
    "grit": _source(PUBLIC / "grit/grit_filtered.json", grit.open_grit),
    "sa1b": _file(PUBLIC / "sa1b/sa_000000/sa_1.json", _sa1b),
    "open-images": _source(
        PUBLIC / "openimages/train-annotations-bbox.csv", open_images.open_images
    ),
    "open-images-classes": _plain(
        PUBLIC / "openimages/class-descriptions-boxable.csv", open_images._read_classes
    ),
    "vg": _source(
        VG / "region_descriptions.json",
        partial(vg.open_visual_genome, image_data=VG / "image_data.json"),
    ),
    "vg-pictures": _plain(VG / "image_data.json", vg.read_pictures),
    "vg-questions": _plain(VG / "region_descriptions.json", _read_questions),
    "captions": _plain(_INSTANCES, lambda path: _read_captions(path, VG / "image_data.json")),
    # Not counted: a ref of another split is no loss.
    "refs": _plain(
        PUBLIC / "refcocog/refs(umd).json",
        lambda path: _all(refer.open_refer(path, None, instances=REFCOCO / "instances.json")),
    ),
    "refs-pickle": _source(
        REFCOCO / "refs(unc).p", partial(refer.open_refer, instances=REFCOCO / "instances.json")
    ),
    "left-out": _plain(REFCOCO / "refcoco_train.json", list_pictures),
    "detection": _plain(EVAL / "instances_val2017.json", Detection),
    "lvis": _plain(EVAL / "lvis_test.json", LvisGround),
    "region-caption": _plain(EVAL / "refcocog_cap_val.json", RegionCaption),
    "judge-questions": _file(EVAL / "qa90_questions.jsonl", _judge),
    "judge-context": _file(EVAL / "caps_boxes_coco2014_val_80.jsonl", partial(_judge, place=2)),
    "gcg": _file(EVAL / "val_gcg_coco_caption_gt.json", _gcg),
    "gcg-masks": _file(EVAL / "val_gcg_coco_mask_gt.json", partial(_gcg, masks=True)),
    "gcg-answers": _file(EVAL / "glamm/000000000001.json", _named("answers.json", read_folder)),
    "set-coco": _file(_INSTANCES, learn),
    "set-groma": _file(PUBLIC / "conversations/groma_instruct.json", learn),
    "set-llava": _file(PUBLIC / "conversations/sharegpt4v_instruct.json", learn),
    "set-lines": _file(PUBLIC / "conversations/share-captioner.jsonl", learn),
    "set-parts": _file(CASES / "picture-in-content/url.json", learn),
    "set-masks": _file(CASES / "masks/set.json", learn),
    "set-zip": _file(CASES / "unicode-names/flag-nfd.zip", learn),
    "set-old-zip": _file(CASES / "deflate64/set.zip", learn),
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
    "mixture": _plain(PUBLIC / "detection.toml", read_mixture),
    "stage": _plain(
        Path("groma/train/configs/groma-7b/detection.toml"),
        partial(read_configuration, kind=Configuration),
    ),
    "config": _file(_WEIGHTS / "config.json", _named("config.json", loading.read_config)),
    "weights": _file(
        _WEIGHTS / "model.safetensors.index.json",
        _named("model.safetensors.index.json", loading.weight_files),
    ),
    "weights-file": Input(
        "model.safetensors",
        save({"a": ones(4, 2), "b": ones(3)}),
        _named("model.safetensors", loading.weight_files),
    ),
    "adapter": Input("adapter_model.safetensors", _adapter_weights(), _adapter),
    "adapter-config": Input(
        "adapter_config.json", b'{"peft_type": "LORA", "r": 4, "lora_alpha": 8}', _adapter
    ),
    **{f"run-{Path(name).stem}": Input(name, data, _run(name)) for name, data in RUN.items()},
    "talk": Input("talk.json", _talk(), lambda path, _: void(read_talk(path))),
    "journal": _plain(
        PUBLIC / "conversations/share-captioner.jsonl",
        lambda path: RunJournal.resume(path, {"begun": 1}),
    ),
    "answers": _plain(EVAL / "qa90_questions.jsonl", RunJournal.read),
    "request": Input("request.json", _body(), _request),
    "batch": Input(
        "batch.jsonl",
        b"".join(
            json.dumps({"custom_id": name, "body": load_json(_body())}).encode() + b"\n"
            for name in "ab"
        ),
        _batch,
    ),
    "draft": Input(
        "draft.json",
        b'{"conversation": [{"question": "What is <1>?", "answer": "It is [a dog](1)."}]}',
        _draft,
    ),
    **dict(_pictures()),
}
"""What is changed, and what reads it."""
