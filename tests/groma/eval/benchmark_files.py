"""Small annotation files in the formats of the public benchmarks, from illustrated scenes.

`python -m tests.groma.eval.benchmark_files` writes `tests/data/eval` anew.
"""

import json

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask

from recipes.scenes.pictures.generator import SceneGenerator
from tests.paths import DATA

FOLDER = DATA / "eval"
IMAGES = FOLDER / "images"
REC = FOLDER / "refcoco_val.json"
LVIS = FOLDER / "lvis_test.json"
CAPTIONS = FOLDER / "refcocog_cap_val.json"
COCO = FOLDER / "instances_val2017.json"
GCG_CAPTIONS = FOLDER / "val_gcg_coco_caption_gt.json"
GCG_MASKS = FOLDER / "val_gcg_coco_mask_gt.json"
GCG_ANSWERS = FOLDER / "glamm"
QUESTIONS = FOLDER / "qa90_questions.jsonl"
REFERENCES = FOLDER / "qa90_gpt4_answer.jsonl"
CONTEXT = FOLDER / "caps_boxes_coco2014_val_80.jsonl"
RULES = FOLDER / "rule.json"

SIZE = (96, 128)
NUM_PICTURES = 5


def scenes():
    generator = SceneGenerator("test", seed=6, size=SIZE)
    return [generator[index] for index in range(NUM_PICTURES)]


def xywh(box):
    x1, y1, x2, y2 = (round(value, 2) for value in box)
    return [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]


def ellipse(box):
    """A mask that fills a box as well as an ellipse can, as run lengths."""
    x1, y1, x2, y2 = box
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    inside = ((2 * x - x1 - x2) / (x2 - x1)) ** 2 + ((2 * y - y1 - y2) / (y2 - y1)) ** 2 <= 1
    mask = coco_mask.encode(np.asfortranarray(inside.astype(np.uint8)))
    return {"size": list(SIZE), "counts": mask["counts"].decode()}


def image_of(number):
    height, width = SIZE
    return {"id": number, "file_name": f"{number:012d}.jpg", "height": height, "width": width}


def name_of(thing):
    return f"{thing.colour} {thing.noun}" if thing.colour else thing.noun


def write(path, value):
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")


def write_lines(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def main():
    IMAGES.mkdir(parents=True, exist_ok=True)
    GCG_ANSWERS.mkdir(exist_ok=True)
    made = list(enumerate(scenes(), start=1))
    for number, scene in made:
        Image.fromarray(scene.pixels).save(IMAGES / f"{number:012d}.jpg", quality=85)
    write_rec(made)
    write_lvis(made)
    write_captions(made)
    write_coco(made)
    write_gcg(made)
    write_questions(made)


def write_rec(made):
    images, annotations = [], []
    for number, scene in made:
        for thing in scene.things:
            images.append({**image_of(number), "id": len(images), "caption": name_of(thing)})
            annotations.append(
                {"id": len(images), "image_id": len(images) - 1, "bbox": xywh(thing.box)}
            )
    write(REC, {"images": images, "annotations": annotations, "categories": []})


def write_lvis(made):
    nouns = sorted({thing.noun for _, scene in made for thing in scene.things})
    images, annotations = [], []
    for number, scene in made:
        image = image_of(number)
        del image["file_name"]
        url = f"http://images.example.org/train2017/{number:012d}.jpg"
        lists = {"neg_category_ids": [], "not_exhaustive_category_ids": []}
        images.append({**image, "coco_url": url, **lists})
        for thing in scene.things:
            annotations.append(annotation(thing, number, nouns.index(thing.noun) + 1, annotations))
    categories = [
        {"id": i, "name": noun.replace(" ", "_"), "frequency": "rcf"[i % 3]}
        for i, noun in enumerate(nouns, start=1)
    ]
    write(LVIS, {"images": images, "annotations": annotations, "categories": categories})


def annotation(thing, number, category, before):
    box = xywh(thing.box)
    return {
        "id": len(before) + 1,
        "image_id": number,
        "category_id": category,
        "bbox": box,
        "area": round(box[2] * box[3] * 0.7, 2),
    }


def write_captions(made):
    images, annotations = [], []
    for number, scene in made:
        thing = scene.things[0]
        images.append(image_of(number))
        for caption in (f"a {name_of(thing)}", f"The {thing.noun}, which is here."):
            annotations.append({**annotation(thing, number, 1, annotations), "caption": caption})
    categories = [{"id": 1, "name": "object"}]
    write(CAPTIONS, {"images": images, "annotations": annotations, "categories": categories})


def write_coco(made):
    annotations = []
    for number, scene in made:
        for i, thing in enumerate(scene.things):
            entry = annotation(thing, number, i % 3 + 1, annotations)
            annotations.append({**entry, "iscrowd": int(i == 3)})
    categories = [{"id": i, "name": name} for i, name in enumerate("abc", start=1)]
    images = [image_of(number) for number, _ in made]
    write(COCO, {"images": images, "annotations": annotations, "categories": categories})


def write_gcg(made):
    captions, masks, images = [], [], []
    for number, scene in made:
        name = f"{number:012d}"
        things = scene.things[:3]
        labels = [f"a {thing.noun}" for thing in things]
        text = "There is " + " and ".join(labels) + "."
        images.append({**image_of(number), "id": name})
        captions.append({"id": number, "image_id": name, "caption": text, "labels": labels})
        for thing in things:
            mask = ellipse(thing.box)
            masks.append(
                {
                    "id": len(masks) + 1,
                    "image_id": name,
                    "category_id": 1,
                    "segmentation": mask,
                    "bbox": coco_mask.toBbox(mask).tolist(),
                    "area": int(coco_mask.area(mask)),
                    "iscrowd": 0,
                }
            )
        write_gcg_answer(name, things, labels, number)
    categories = [{"id": 1, "name": "object"}]
    common = {"images": images, "categories": categories}
    write(GCG_CAPTIONS, {**common, "annotations": captions})
    write(GCG_MASKS, {**common, "annotations": masks})


def write_gcg_answer(name, things, labels, number):
    """What another model might say: shapes a little beside, one more with each picture."""
    shown = things[: number - 1]
    boxes = [
        (x1 + 2 * number, y1, x2 + 2 * number, y2) for x1, y1, x2, y2 in (t.box for t in shown)
    ]
    answer = {
        "image_id": name,
        "caption": f"We see {' and '.join(labels[: number - 1])}." if shown else "",
        "phrases": labels[: number - 1],
        "pred_masks": [ellipse(box) for box in boxes],
    }
    write(GCG_ANSWERS / f"{name}.json", answer)


def write_questions(made):
    kinds = ("conv", "detail", "complex")
    questions, references, context = [], [], []
    for number, scene in made:
        picture = f"{number:012d}.jpg"
        names = ", ".join(thing.noun for thing in scene.things)
        instances = [{"category": t.noun, "bbox": xywh(t.box)} for t in scene.things]
        caption = f"A picture of {names}."
        context.append({"image": picture, "captions": [caption], "instances": instances})
        for kind in kinds:
            key = {"question_id": len(questions)}
            questions.append(
                {**key, "image": picture, "category": kind, "text": f"What is here ({kind})?"}
            )
            references.append({**key, "text": f"There are {names}.", "answer_id": f"x{number}"})
    write_lines(QUESTIONS, questions)
    write_lines(REFERENCES, references)
    write_lines(CONTEXT, context)
    write(RULES, {kind: {"role": "Assistant", "prompt": f"Judge {kind}."} for kind in kinds})


if __name__ == "__main__":
    main()
