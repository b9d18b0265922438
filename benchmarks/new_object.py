"""A new object from 12 pictures: does an adapter find and name it, and what does it forget?

An invented drawing with an invented name is put among things the model knows: into illustrated
scenes, or into photographs for a model of photographs. An adapter learns from an export of boxes
and labels as COCO, YOLO or Label Studio write it, or from conversations; then both models are asked
about pictures neither has seen, and about what the base knew.

python -m benchmarks.new_object [--model FOLDER] [--from coco|yolo|label-studio|talk] [--out FOLDER]
"""

import argparse
import json
import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image

import groma
from groma import embedded
from groma.chat.chat import Groma
from groma.data.sample import QA, Expected, GroundedSample, Mention, Phrase
from groma.dice import Dice, Split
from groma.eval.statistics.intervals import Estimate, proportion
from groma.finetune.label_talks import learnable
from groma.finetune.lora_run import train
from groma.finetune.lora_settings import LoraSettings
from groma.finetune.planning import prepare
from groma.image import load_image
from groma.instruction_sets.readers.reading import read_set
from groma.types import Box
from recipes.scenes.evaluation.figures import REC_KINDS, answers_to, describing, naming
from recipes.scenes.evaluation.records import SceneRecord
from recipes.scenes.evaluation.scene_judging import points_exactly, points_first
from recipes.scenes.evaluation.scene_run import Settings, answer_all
from recipes.scenes.language.conversations import converse
from recipes.scenes.pictures.backgrounds import make_backdrop
from recipes.scenes.pictures.camera import photograph
from recipes.scenes.pictures.canvas import Canvas
from recipes.scenes.pictures.cast import SIZE_RANGES, draw_cast
from recipes.scenes.pictures.patch import draw_patch
from recipes.scenes.pictures.sprites import STYLES, Sprite, load_style
from recipes.scenes.scene import Scene, Thing

NAME = "blicket"
SIDE = 224
PHOTOGRAPHS = Path(__file__).parents[1] / "assets" / "photographs"
_TAUGHT = ("cows.webp", "wine.webp", "kitten.webp", "horses.webp", "coffee.webp")
_LONGEST, _MOST_COVERED = 640, 0.3
_STREAM = 77
_TRIES = 30
_OTHERS = {"rec_name": 1.0, "region_name": 1.0, "count": 0.4, "find_absent": 0.4}
_ASKED = ("Where is the {}?", "Find the {}.", "Show me the {}.", "Point to the {}, please.")
_SHOWN = ("What is {}?", "What do you see in {}?", "Name the thing in {}.")


def invented_sprite(side: int = 160) -> Sprite:
    """A violet hexagon with two yellow horns and one large eye: like nothing in the atlases."""
    drawing = np.zeros((side, side, 4), np.uint8)
    corners = [
        (0.5 + 0.38 * math.cos(a), 0.6 + 0.38 * math.sin(a)) for a in np.arange(6) * math.pi / 3
    ]
    horns = [[(0.18, 0.02), (0.3, 0.32), (0.44, 0.28)], [(0.82, 0.02), (0.7, 0.32), (0.56, 0.28)]]
    for horn in horns:
        cv2.fillPoly(drawing, [_points(horn, side)], (250, 200, 30, 255), cv2.LINE_AA)
    cv2.fillPoly(drawing, [_points(corners, side)], (120, 50, 190, 255), cv2.LINE_AA)
    for radius, colour in ((0.17, (250, 250, 250)), (0.08, (20, 140, 120))):
        centre = (round(0.5 * side), round(0.58 * side))
        cv2.circle(drawing, centre, round(radius * side), (*colour, 255), -1, cv2.LINE_AA)
    return Sprite((side, side), (np.pad(drawing, ((2, 2), (2, 2), (0, 0))),), 0, 0.0, ())


def _points(outline: list[tuple[float, float]], side: int) -> np.ndarray:
    return np.round(np.array(outline) * side).astype(np.int32)


def compose(split: Split, seed: int, index: int) -> Scene:
    """A scene whose last thing is the new object; its noun is `NAME`."""
    dice = Dice.of(split, seed, index, stream=_STREAM)
    style = load_style(dice.choice(STYLES))
    while True:
        backdrop = make_backdrop((SIDE, SIDE), dice)
        canvas = Canvas(backdrop.pixels)
        cast = [(style[role.noun], role.noun, role.size) for role in draw_cast(dice)[:5]]
        size = dice.choice(("medium", "large"))
        placed = [
            (noun, label) for sprite, noun, label in cast if _place(canvas, sprite, label, dice)
        ]
        if _place(canvas, invented_sprite(), size, dice) and placed:
            placed.append((NAME, size))
            break
    things = tuple(
        Thing(noun, None, label, canvas.visible_box(i)) for i, (noun, label) in enumerate(placed)
    )
    pixels = photograph(canvas.pixels, dice)
    return Scene(f"{split}/{seed}/{index}", (SIDE, SIDE), things, backdrop.stuff, pixels=pixels)


def compose_photograph(split: Split, seed: int, index: int) -> Scene:
    """A photograph with the new object in it, the last of its things.

    Those of `train` are others than those of `test`.
    """
    dice = Dice.of(split, seed, index, stream=_STREAM)
    names = [name for name in _labelled_photographs() if (name in _TAUGHT) == (split == "train")]
    name = names[index % len(names)]
    image = load_image(PHOTOGRAPHS / name)
    reduced = image.resize([round(side * _LONGEST / max(image.size)) for side in image.size])
    scale = reduced.width / image.width
    known: list[tuple[str, Box]] = [
        (noun, (x1 * scale, y1 * scale, x2 * scale, y2 * scale))
        for noun, (x1, y1, x2, y2) in _labelled_photographs()[name]
    ]
    while True:
        canvas = Canvas(np.array(reduced))
        size = dice.choice(("medium", "large"))
        if not _place(canvas, invented_sprite(), size, dice, min(reduced.size)):
            continue
        box = canvas.visible_box(0)
        if all(_covered(other, box) < _MOST_COVERED for _, other in known):
            break
    things = [Thing(noun, None, "medium", other) for noun, other in known]
    things.append(Thing(NAME, None, size, box))
    frame = (reduced.height, reduced.width)
    return Scene(f"{split}/{seed}/{index}", frame, tuple(things), (), pixels=canvas.pixels)


def _labelled_photographs() -> dict[str, list[tuple[str, Box]]]:
    """By file, the things that the questions about it name and point at."""
    found: dict[str, dict[Box, str]] = {}
    for row in _questions():
        boxes = row["points_at"] or row.get("boxes", [])
        if (
            row["question"] in ("What is [1]?", "Describe the picture.")
            or "Where" in row["question"]
        ):
            for box in boxes:
                found.setdefault(row["image"], {})[box[0], box[1], box[2], box[3]] = row["says"][0]
    return {name: [(noun, box) for box, noun in rows.items()] for name, rows in found.items()}


def _questions() -> list[dict]:
    return json.loads((PHOTOGRAPHS / "examples.json").read_text(encoding="utf-8"))


def _covered(box: Box, by: Box) -> float:
    """Share of a box that another hides."""
    width = min(box[2], by[2]) - max(box[0], by[0])
    height = min(box[3], by[3]) - max(box[1], by[1])
    return max(0, width) * max(0, height) / ((box[2] - box[0]) * (box[3] - box[1]))


def _place(canvas: Canvas, sprite: Sprite, size: str, dice: Dice, shorter: int = SIDE) -> bool:
    side = dice.uniform(*SIZE_RANGES[size]) * shorter
    patch = draw_patch(sprite, side, [], dice, warp=False)
    height, width = patch.alpha.shape
    rows, columns = canvas.size
    return patch.area > 0 and any(
        canvas.paste(
            patch, round(dice.uniform(0, columns - width)), round(dice.uniform(0, rows - height))
        )
        for _ in range(_TRIES)
    )


def export(scenes: list[Scene], folder: Path, form: str) -> list[GroundedSample]:
    """Boxes and labels of scenes as an annotation tool writes them, read as the command does."""
    nouns = sorted({thing.noun for scene in scenes for thing in scene.things})
    pictures = folder / "images"
    pictures.mkdir()
    for number, scene in enumerate(scenes, start=1):
        assert scene.pixels is not None
        Image.fromarray(scene.pixels).save(pictures / f"{number}.png")
    if form == "label-studio":
        _write_label_studio(scenes, folder)
    else:
        {"coco": _write_coco, "yolo": _write_yolo}[form](scenes, nouns, folder)
    return learnable(read_set(folder))


def _write_coco(scenes: list[Scene], nouns: list[str], folder: Path) -> None:
    images, annotations = [], []
    for number, scene in enumerate(scenes, start=1):
        file = f"{number}.png"
        height, width = scene.size
        images.append({"id": number, "file_name": file, "width": width, "height": height})
        for thing in scene.things:
            x1, y1, x2, y2 = thing.box
            row = {"category_id": nouns.index(thing.noun), "bbox": [x1, y1, x2 - x1, y2 - y1]}
            annotations.append({"id": len(annotations), "image_id": number, **row})
    categories = [{"id": number, "name": noun} for number, noun in enumerate(nouns)]
    data = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "export.json").write_text(json.dumps(data), encoding="utf-8")


def _write_yolo(scenes: list[Scene], nouns: list[str], folder: Path) -> None:
    (folder / "labels").mkdir()
    names = "\n".join(f"  {number}: {noun}" for number, noun in enumerate(nouns))
    (folder / "data.yaml").write_text(f"train: images\nnames:\n{names}\n", encoding="utf-8")
    for number, scene in enumerate(scenes, start=1):
        height, width = scene.size
        rows = []
        for thing in scene.things:
            x1, y1, x2, y2 = thing.box
            box = (
                (x1 + x2) / 2 / width,
                (y1 + y2) / 2 / height,
                (x2 - x1) / width,
                (y2 - y1) / height,
            )
            rows.append(" ".join(map(str, (nouns.index(thing.noun), *box))) + "\n")
        (folder / "labels" / f"{number}.txt").write_text("".join(rows), encoding="utf-8")


def _write_label_studio(scenes: list[Scene], folder: Path) -> None:
    tasks = []
    for number, scene in enumerate(scenes, start=1):
        height, width = scene.size
        results = []
        for thing in scene.things:
            x1, y1, x2, y2 = thing.box
            value = {
                "x": 100 * x1 / width,
                "y": 100 * y1 / height,
                "width": 100 * (x2 - x1) / width,
                "height": 100 * (y2 - y1) / height,
                "rotation": 0,
                "rectanglelabels": [thing.noun],
            }
            row = {"type": "rectanglelabels", "from_name": "label", "to_name": "image"}
            size = {"original_width": width, "original_height": height}
            results.append(row | size | {"value": value})
        file = f"/data/upload/1/0a1b2c3d-{number}.png"
        annotations = [{"id": number, "result": results}]
        tasks.append({"id": number, "data": {"image": file}, "annotations": annotations})
    (folder / "export.json").write_text(json.dumps(tasks), encoding="utf-8")


def example(split: Split, seed: int, index: int, folder: Path) -> GroundedSample:
    """What is asked about a scene: where and what the new object is, and two other things."""
    scene = compose(split, seed, index)
    dice = Dice.of(split, seed, index, stream=_STREAM + 1)
    known = converse(replace(scene, things=scene.things[:-1]), dice, (2, 2), _OTHERS)
    file = folder / f"{scene.key.replace('/', '-')}.png"
    assert scene.pixels is not None
    Image.fromarray(scene.pixels).save(file)
    box = tuple(edge / SIDE for edge in scene.things[-1].box)
    new = len(known.boxes)
    find = QA(
        (dice.choice(_ASKED).format(NAME),),
        ("Here is ", Phrase(f"the {NAME}", (new,)), "."),
        "rec_name",
        Expected(regions=frozenset({new})),
    )
    before, after = dice.choice(_SHOWN).split("{}")
    name = QA((before, Mention(new), after), (f"It is a {NAME}.",), "region_name")
    return replace(
        known,
        picture=str(file),
        boxes=(*known.boxes, box),
        names=(*known.names, NAME),
        turns=(*dice.shuffled((find, name)), *known.turns),
    )


def ask(model: Groma, scenes: list[Scene]) -> tuple[list[bool], list[bool]]:
    """Whether a model finds the new object in each scene, and names it when it is shown."""
    found, named = [], []
    for scene in scenes:
        assert scene.pixels is not None
        image, box = model.encode_image(scene.pixels), scene.things[-1].box
        found.append(points_first(model.chat(image).ask(f"Where is the {NAME}?"), box))
        named.append(NAME in model.chat(image).ask("What is [1]?", [box]).text.lower())
    return found, named


def photographs_right(model: Groma) -> tuple[int, int]:
    """Right and all answers to the questions about the photographs as they are."""
    rows = _questions()
    right = 0
    for row in rows:
        reply = model.chat(PHOTOGRAPHS / row["image"]).ask(row["question"], row.get("boxes", ()))
        says = all(words in reply.text.lower() for words in row["says"])
        wanted = [tuple(box) for box in row["points_at"]]
        right += says and points_exactly(reply, wanted)
    return right, len(rows)


def standing(model: Groma, scenes: int) -> dict[str, str]:
    """What a model knows of standard pictures, by what is asked."""
    if model.config.is_convolutional:
        return {"photographs that come along": _told(proportion(*photographs_right(model)))}
    records = standard_answers(model, scenes)
    answers = answers_to(records, *REC_KINDS)
    right = sum(points_first(answer.reply, answer.expected_boxes[0]) for answer in answers)
    rows = {row.key: row.estimate for row in (*naming(records), *describing(records))}
    return {
        "REC": _told(proportion(right, len(answers))),
        "names": _told(rows["names"]),
        "descriptions, precision": _told(rows["description_precision"]),
        "recall": _told(rows["description_recall"]),
    }


def _told(figure: Estimate) -> str:
    return f"{100 * (figure.value or 0):.1f} % of {figure.cases}"


def standard_answers(model: Groma, scenes: int) -> list[SceneRecord]:
    """What a model says of standard scenes."""
    settings = Settings(
        model="",
        quantization=None,
        dtype="auto",
        scenes="own",
        split="test",
        seed=0,
        style=None,
        size=SIDE,
        kinds=(*REC_KINDS, "region_name", "describe_brief", "describe_long"),
        density=4.0,
        max_new_tokens=128,
        score_threshold=None,
        max_regions=None,
    )
    return answer_all(settings, range(scenes), lambda: model, None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="groma-mini")
    parser.add_argument("--out", type=Path, help="of the run; a temporary folder by default")
    parser.add_argument(
        "--from", dest="form", choices=("coco", "yolo", "label-studio", "talk"), default="coco"
    )
    parser.add_argument("--examples", type=int, default=12)
    parser.add_argument("--unseen", type=int, default=20)
    parser.add_argument(
        "--standard", type=int, default=100, help="scenes that show what is forgotten"
    )
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--rank", type=int, default=16)
    options = parser.parse_args()
    if not embedded.find(options.model).is_dir():
        print(f"There is no model in {options.model}; name one with --model.")
        return
    with tempfile.TemporaryDirectory() as scratch:
        measure(options, Path(scratch))


def measure(options: argparse.Namespace, scratch: Path) -> None:
    """Train the adapter and print one table."""
    base = groma.load(options.model)
    make = compose_photograph if base.config.is_convolutional else compose
    if options.form == "talk":
        samples = [example("train", 0, i, scratch) for i in range(options.examples)]
    else:
        scenes = [make("train", 0, i) for i in range(options.examples)]
        samples = export(scenes, scratch, options.form)
    settings = LoraSettings(
        options.model, rank=options.rank, lr=options.lr, epochs=options.epochs, held_out=0.0
    )
    run, _ = prepare(options.out or scratch / "run", settings, samples)
    start, computed = time.perf_counter(), time.process_time()
    train(run)
    seconds, computed = time.perf_counter() - start, time.process_time() - computed
    print(
        f"{options.examples} examples as {options.form}, {seconds:.0f} s on "
        f"{torch.get_num_threads()} threads, {computed:.0f} s of computing"
    )
    rows = []
    scenes = [make("test", 0, i) for i in range(options.unseen)]
    for name, model in (("base", base), ("with the adapter", base.with_adapter(run.adapter))):
        found, named = ask(model, scenes)
        both = sum(f and n for f, n in zip(found, named, strict=True))
        rows.append(
            {
                "": name,
                "found": f"{sum(found)} of {len(found)}",
                "named": f"{sum(named)} of {len(named)}",
                "found and named": str(both),
                **standing(model, options.standard),
            }
        )
    for cells in (rows[0], ["---"] * len(rows[0]), *(row.values() for row in rows)):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
