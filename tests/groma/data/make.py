"""Makes `tests/data/public`: a few items of every public format, with pictures of our own.

Run it as `python -m tests.groma.data.make` after changing it. Every source has some items that
are right and at least one that is broken in a way that was seen in the field.
"""

import csv
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

from PIL import Image

from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.scene import Scene, Thing
from tests.paths import DATA

ROOT = DATA / "public"
SCENES = SceneGenerator("train", 3, (64, 96), style="noto")
HEIGHT, WIDTH = SCENES.frame
PICTURES = 3


def scene(number: int) -> Scene:
    return SCENES[number]


def things(number: int) -> list[Thing]:
    return list(scene(number).things)


def draw(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = scene(number).pixels
    assert pixels is not None
    Image.fromarray(pixels).save(path, quality=80)


def write(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def xywh(thing: Thing) -> list[float]:
    x1, y1, x2, y2 = thing.box
    return [float(x1), float(y1), float(x2 - x1), float(y2 - y1)]


def nouns() -> list[str]:
    return sorted({thing.noun for i in range(PICTURES) for thing in things(i)})


def image_entry(number: int, name: str) -> dict[str, Any]:
    return {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH}


def instances(name: str, **extra: Any) -> dict[str, Any]:
    """COCO-like instances; the third picture has nothing but a crowd, the last has no box."""
    categories = [{"id": 3 * i + 1, "name": noun} for i, noun in enumerate(nouns())]
    ids = {category["name"]: category["id"] for category in categories}
    annotations = [
        {
            "id": 100 * i + k,
            "image_id": i + 1,
            "category_id": ids[thing.noun],
            "bbox": xywh(thing),
            "area": thing.area,
            "iscrowd": int(i == 2),
            "segmentation": [[0.5, 0.5, 9.5, 0.5, 9.5, 9.5]],
        }
        for i in range(PICTURES)
        for k, thing in enumerate(things(i))
    ]
    annotations.append(annotations[0] | {"id": 999, "bbox": [5.0, 5.0, 0.0, 4.0]})
    # The field does not always sort annotations by image.
    annotations.append(annotations.pop(0))
    images = [image_entry(i + 1, name.format(i + 1)) for i in range(PICTURES + 1)]
    return {
        "info": {"year": 2017, "description": "½ real"},
        "licenses": [{"id": 1, "name": "none"}],
        "images": images,
        "annotations": annotations,
        "categories": categories,
        **extra,
    }


def make_detection() -> None:
    for folder, name, stored in (
        ("coco", "{:012}.jpg", "{:012}.jpg"),
        (
            "objects365",
            "images/v1/patch8/objects365_v1_{:08}.jpg",
            "patch8/objects365_v1_{:08}.jpg",
        ),
        ("v3det", "images/n02084071/{}_n02084071.jpg", "n02084071/{}_n02084071.jpg"),
    ):
        write(ROOT / folder / "instances.json", instances(name))
        for i in range(PICTURES):
            draw(ROOT / folder / "images" / stored.format(i + 1), i)
    make_open_images()
    for i in range(2):
        boxes = [xywh(thing) for thing in things(i)]
        boxes += [[x1, y1, x2 - x1, y2 - y1] for x1, y1, x2, y2 in scene(i).parts]
        make_segments(f"sa_{i + 1}", boxes)
        draw(ROOT / f"sa1b/sa_000000/sa_{i + 1}.jpg", i)
    make_segments("sa_3", [])
    (ROOT / "sa1b/sa_000000/sa_4.json").write_text('{"image": {"image_id": 4, "wid')


def make_segments(name: str, boxes: list[list[float]]) -> None:
    image = {"image_id": int(name[3:]), "file_name": f"{name}.jpg"}
    annotations = [
        {
            "id": i,
            "bbox": box,
            "area": int(box[2] * box[3]),
            "segmentation": {"size": [HEIGHT, WIDTH], "counts": "_0d01N2N2"},
            "predicted_iou": 0.97,
            "stability_score": 0.98,
            "point_coords": [[box[0] + 1, box[1] + 1]],
            "crop_box": [0, 0, WIDTH, HEIGHT],
        }
        for i, box in enumerate(boxes)
    ]
    data = {"image": image | {"width": WIDTH, "height": HEIGHT}, "annotations": annotations}
    write(ROOT / "sa1b/sa_000000" / f"{name}.json", data)


def make_open_images() -> None:
    codes = {noun: f"/m/0{i}abc" for i, noun in enumerate(nouns())}
    folder = ROOT / "openimages"
    keys = [f"{i:016x}" for i in (10, 7, 12)]
    rows = [(keys[i], thing, thing.box, 0) for i in range(PICTURES - 1) for thing in things(i)]
    rows.append((keys[2], things(2)[0], things(2)[0].box, 1))
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "train-annotations-bbox.csv").open("w", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        file.write(
            "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,"
            "IsGroupOf,IsDepiction,IsInside\n"
        )
        for key, thing, (x1, y1, x2, y2), group in rows:
            edges = [f"{v:.6f}" for v in (x1 / WIDTH, x2 / WIDTH, y1 / HEIGHT, y2 / HEIGHT)]
            out.writerow([key, "xclick", codes[thing.noun], 1, *edges, 0, 0, group, 0, 0])
    with (folder / "class-descriptions-boxable.csv").open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(
            (code, noun.capitalize()) for noun, code in codes.items()
        )
    for i, key in enumerate(keys):
        draw(folder / "images" / f"{key}.jpg", i)


def caption(number: int) -> tuple[str, list[tuple[int, int, int]]]:
    """A caption with characters and region of every phrase."""
    text, spans = "The picture shows", []
    for region, thing in enumerate(things(number)):
        text += " and " if region else " "
        spans.append((len(text), len(text) + len(f"the {thing.noun}"), region))
        text += f"the {thing.noun}"
    return f"{text}.", spans


def make_refer() -> None:
    folder = ROOT / "refcoco"
    data = instances("COCO_train2014_{:012}.jpg")
    write(folder / "instances.json", data)
    refs = [
        {
            "ref_id": i,
            "ann_id": 100 * i,
            "image_id": i + 1,
            "category_id": 1,
            "file_name": f"COCO_train2014_{i + 1:012}_{i}.jpg",
            "split": "train" if i < 2 else "testA",
            "sent_ids": [2 * i, 2 * i + 1],
            "sentences": [
                {"sent_id": 2 * i + k, "sent": text, "raw": text.title(), "tokens": text.split()}
                for k, text in enumerate((f"the {things(i)[0].noun}", f"{things(i)[0].noun} left"))
            ],
        }
        for i in range(PICTURES)
    ]
    refs.append(refs[0] | {"ref_id": 9, "ann_id": 12345})
    (folder / "refs(unc).p").write_bytes(pickle.dumps(refs, protocol=2))
    write(ROOT / "refcocog" / "refs(umd).json", refs)
    for i in range(PICTURES):
        draw(folder / "images" / f"COCO_train2014_{i + 1:012}.jpg", i)
    make_released()


def make_released() -> None:
    """What the released data calls refcoco_train.json, refcocog_cap_val.json, flickr_entities_*."""
    name = "COCO_train2014_{:012}.jpg"
    images, annotations = [], []
    for i in range(2):
        for k, thing in enumerate(things(i)):
            number = 10 * i + k
            expression = {"caption": f"{thing.size} {thing.noun}", "original_id": i}
            images.append(image_entry(number, name.format(i + 1)) | expression)
            annotations.append({"id": number, "image_id": number, "bbox": xywh(thing)})
    images.append(image_entry(99, name.format(1)) | {"caption": ""})
    annotations.append({"id": 99, "image_id": 99, "bbox": [0, 0, 9, 9]})
    write(ROOT / "refcoco/refcoco_train.json", {"images": images, "annotations": annotations})

    images = [image_entry(i, name.format(i + 1)) for i in range(PICTURES)]
    annotations = [
        {"id": 10 * i + k, "image_id": i, "bbox": xywh(t), "caption": f"a {t.size} {t.noun}"}
        for i in range(2)
        for k, t in enumerate(things(i))
    ]
    annotations.append({"id": 99, "image_id": 2, "bbox": [500, 500, 9, 9], "caption": "nothing"})
    write(ROOT / "refcoco/refcocog_cap_train.json", {"images": images, "annotations": annotations})

    images = [
        image_entry(i, f"{1000 + i}.jpg") | {"caption": caption(i)[0]} for i in range(PICTURES)
    ]
    annotations = [
        {
            "id": 10 * i + region,
            "image_id": i,
            "bbox": xywh(things(i)[region]),
            "tokens_positive": [[start, stop if i < 2 else 999]],
        }
        for i in range(PICTURES)
        for start, stop, region in caption(i)[1]
    ]
    write(
        ROOT / "flickr30k/flickr_entities_train.json",
        {"images": images, "annotations": annotations},
    )


def make_flickr() -> None:
    folder = ROOT / "flickr30k"
    for i in range(PICTURES):
        (folder / "Sentences").mkdir(parents=True, exist_ok=True)
        (folder / "Annotations").mkdir(parents=True, exist_ok=True)
        marked = [f"[/EN#{50 + k}/other/x The {t.noun}]" for k, t in enumerate(things(i))]
        lines = [
            f"{' beside '.join(marked)} before [/EN#0/notvisual nothing] , as usual .",
            f"{marked[0]} is seen in [/EN#77/scene a drawing] .",
        ]
        (folder / f"Sentences/{1000 + i}.txt").write_text("\n".join(lines) + "\n")
        objects = "".join(
            f"<object><name>{50 + k}</name><bndbox><xmin>{x1 + 1:.0f}</xmin><ymin>{y1 + 1:.0f}"
            f"</ymin><xmax>{x2:.0f}</xmax><ymax>{y2:.0f}</ymax></bndbox></object>\n"
            for k, (x1, y1, x2, y2) in enumerate(t.box for t in things(i))
        )
        objects += "<object><name>77</name><scene>1</scene><nobox>0</nobox></object>\n"
        (folder / f"Annotations/{1000 + i}.xml").write_text(
            f"<annotation>\n<filename>{1000 + i}.jpg</filename>\n<size><width>{WIDTH}</width>"
            f"<height>{HEIGHT}</height><depth>3</depth></size>\n{objects}</annotation>"[
                : 60 if i == 2 else None
            ]
        )
        draw(folder / f"images/{1000 + i}.jpg", i)
    (folder / "train.txt").write_text("1000\n1002\n")


def make_visual_genome() -> None:
    folder = ROOT / "visual_genome"
    url = "https://example.org/rak248/VG_100K{}/{}.jpg"
    entries, pictures = [], []
    for i in range(PICTURES):
        regions = [
            {"region_id": 10 * i + k, "image_id": i + 1, "phrase": f"a {t.noun} — {t.size}"}
            | dict(zip(("x", "y", "width", "height"), map(int, xywh(t)), strict=True))
            for k, t in enumerate(things(i))
        ]
        entries.append({"regions": regions, "id": i + 1})
        half = "" if i else "_2"
        # Half of the real pictures are COCO's, under names of their own.
        twin = 400 + i if i < 2 else None
        pictures.append(
            {"image_id": i + 1, "url": url.format(half, i + 1), "width": WIDTH, "height": HEIGHT}
            | {"coco_id": twin, "flickr_id": None}
        )
        draw(folder / f"VG_100K{half}/{i + 1}.jpg", i)
    entries[2]["regions"] = []
    write(folder / "region_descriptions.json", entries)
    write(folder / "image_data.json", pictures)


def make_grit() -> None:
    items: list[dict[str, Any]] = []
    for i in range(PICTURES):
        text, spans = caption(i)
        expressions = [
            [start, stop, x1 / WIDTH, y1 / HEIGHT, x2 / WIDTH, y2 / HEIGHT, 0.9]
            for (start, stop, _), (x1, y1, x2, y2) in zip(
                spans, (t.box for t in things(i)), strict=True
            )
        ]
        key = f"{i:09}"
        items.append({"filename": f"{key[:5]}/{key}.jpg", "caption": text, "ref_exps": expressions})
        draw(ROOT / f"grit/images/{key[:5]}/{key}.jpg", i)
    for expression in items[2]["ref_exps"]:
        expression[2] = None
    write(ROOT / "grit/grit_filtered.json", items)
    make_parquet(items)


def make_parquet(items: list[dict[str, Any]]) -> None:
    """The same items as GRIT is published: several files, each with columns that nobody needs."""
    import pyarrow
    from pyarrow import parquet

    folder = ROOT / "grit/parquet"
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "clip_similarity_vitb32": 0.35,
            "id": 1795296605919 + i,
            "url": f"https://example.org/{i}.jpg",
            "caption": item["caption"],
            "key": f"{i:09}",
            "width": WIDTH,
            "height": HEIGHT,
            "noun_chunks": item["ref_exps"],
            "ref_exps": item["ref_exps"],
        }
        for i, item in enumerate(items)
    ]
    for number, part in enumerate((rows[:1], rows[1:])):
        path = folder / f"coyo_{number}_snappy.parquet"
        parquet.write_table(pyarrow.Table.from_pylist(part), path, row_group_size=1)


def make_conversations() -> None:
    folder = ROOT / "conversations"
    items = []
    for i in range(2):
        name = things(i)[0].noun
        said = [
            ("human", f"<image>\nWhat might the {name} be doing in this picture?"),
            ("gpt", f"It is hard to say — perhaps the {name} is waiting for somebody."),
            ("human", "Why do you think so?"),
            ("gpt", "Nothing moves, and there is nobody else."),
        ]
        messages = [{"from": role, "value": text} for role, text in said]
        picture = f"coco/train2017/{i + 1:012}.jpg"
        items.append({"id": f"{i + 1:012}", "image": picture, "conversations": messages})
    text_only = {"id": "t1", "conversations": items[0]["conversations"]}
    cut = items[0] | {"conversations": items[0]["conversations"][:3]}
    write(folder / "llava_conversation_reasoning.json", [*items, text_only, cut])
    long = [
        item
        | {
            "conversations": [
                {"from": "human", "value": "What do you see happening in this image?\n<image>"},
                {"from": "gpt", "value": caption(i)[0] + " It was drawn by a computer."},
            ]
        }
        for i, item in enumerate(items)
    ]
    missing = long[0] | {"image": "sam/images/sa_1.jpg"}
    write(folder / "sharegpt4v_instruct.json", [*long, missing])
    lines = [json.dumps(item) for item in long]
    (folder / "share-captioner.jsonl").write_text("\n".join([*lines, lines[0][:50]]) + "\n")
    make_groma_instruct()


def make_groma_instruct() -> None:
    items: list[dict[str, Any]] = []
    for i in range(2):
        text, spans = caption(i)
        marked, at = "", 0
        for start, stop, _ in spans:
            marked += f"{text[at:start]}<p>{text[start:stop]}</p><roi><ground_box></roi>"
            at = stop
        said = [
            {"from": "human", "value": "Describe the picture in detail."},
            {"from": "gpt", "value": marked + text[at:], "box_inds": [r for _, _, r in spans]},
            {"from": "human", "value": "Is anything missing?"},
            {"from": "gpt", "value": "No, that is all.", "box_inds": []},
        ]
        items.append(
            image_entry(i + 1, f"{i + 1:012}.jpg")
            | {"boxes": [xywh(thing) for thing in things(i)], "conversation": said}
        )
    asked, answered, *_ = items[0]["conversation"]
    broken = [asked, answered | {"box_inds": []}]
    write(ROOT / "conversations/groma_instruct.json", [*items, items[0] | {"conversation": broken}])


CONFIGS = {
    "detection": """[mixture]
flip = 0.5
crop = 0.5

[[sources]]
name = "coco"
format = "coco"
annotations = "coco/instances.json"
images = "coco/images"

[[sources]]
name = "objects365"
format = "coco"
annotations = "objects365/instances.json"
images = "objects365/images"

[[sources]]
name = "v3det"
format = "coco"
annotations = "v3det/instances.json"
images = "v3det/images"

[[sources]]
name = "openimages"
format = "openimages"
annotations = "openimages/train-annotations-bbox.csv"
classes = "openimages/class-descriptions-boxable.csv"
images = "openimages/images"

[[sources]]
name = "sa1b"
format = "sa1b"
annotations = "sa1b"
images = "sa1b"
""",
    "conversations": """[mixture]
flip = 0.5

[[sources]]
name = "sharegpt4v-pt"
format = "conversations"
annotations = "conversations/share-captioner.jsonl"
images = "coco/images"

[[sources]]
name = "sharegpt4v"
format = "conversations"
annotations = "conversations/sharegpt4v_instruct.json"
images = "coco/images"
ratio = 2

[[sources]]
name = "llava"
format = "conversations"
annotations = "conversations/llava_conversation_reasoning.json"
images = "coco/images"

[[sources]]
name = "groma-instruct"
format = "groma-instruct"
annotations = "conversations/groma_instruct.json"
images = "coco/images"

[[sources]]
name = "coco-find"
format = "coco"
task = "find"
annotations = "coco/instances.json"
images = "coco/images"

[[sources]]
name = "flickr30k"
format = "flickr30k"
annotations = "flickr30k"
images = "flickr30k/images"

[[sources]]
name = "flickr-released"
format = "flickr-json"
annotations = "flickr30k/flickr_entities_train.json"
images = "flickr30k/images"

[[sources]]
name = "vg-single"
format = "visual-genome"
annotations = "visual_genome/region_descriptions.json"
image_data = "visual_genome/image_data.json"
images = "visual_genome"

[[sources]]
name = "vg-multi"
format = "visual-genome"
rounds = "multi"
turns = 2
annotations = "visual_genome/region_descriptions.json"
image_data = "visual_genome/image_data.json"
images = "visual_genome"

[[sources]]
name = "refcoco"
format = "refer"
annotations = "refcoco/refs(unc).p"
instances = "refcoco/instances.json"
images = "refcoco/images"

[[sources]]
name = "refcocog-caption"
format = "refer"
task = "caption"
annotations = "refcocog/refs(umd).json"
instances = "refcoco/instances.json"
images = "refcoco/images"

[[sources]]
name = "refcoco-released"
format = "expressions"
annotations = "refcoco/refcoco_train.json"
images = "refcoco/images"

[[sources]]
name = "refcocog-released"
format = "region-captions"
annotations = "refcoco/refcocog_cap_train.json"
images = "refcoco/images"

[[sources]]
name = "grit"
format = "grit"
annotations = "grit/grit_filtered.json"
images = "grit/images"

[[sources]]
name = "grit-caption"
format = "grit"
task = "caption"
annotations = "grit/grit_filtered.json"
images = "grit/images"
""",
}


def main() -> None:
    shutil.rmtree(ROOT, ignore_errors=True)
    make_detection()
    make_refer()
    make_flickr()
    make_visual_genome()
    make_grit()
    make_conversations()
    for name, text in CONFIGS.items():
        (ROOT / f"{name}.toml").write_text(text)


if __name__ == "__main__":
    main()
