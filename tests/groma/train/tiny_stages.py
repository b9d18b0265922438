"""Stage configurations of models with a few thousand weights, on scenes and on files."""

import json
from pathlib import Path

from PIL import Image

from groma.tokens import NEW_TOKENS
from recipes.scenes.pictures.generator import SceneGenerator
from tests.groma.train import tiny_language
from tests.groma.train.conftest import PATCH, SIDE

PICTURES = 8
SIZES = f"""
[model.sizes]
image_size = {SIDE}
vision_config = {{ hidden_size = 32, num_hidden_layers = 4, num_attention_heads = 2, \
patch_size = {PATCH}, image_size = {SIDE} }}
proposer_config = {{ width = 32, encoder_layers = 1, decoder_layers = 2, decoder_ffn_width = 64, \
num_heads = 4, num_queries = 20, num_levels = 2, box_head_width = 32, dropout = 0.0 }}
region_config = {{ roi_size = 2, fuse_rounds = 0, norm_groups = 4, width = 32, \
position_width = 16 }}
text_config = {{ hidden_size = {tiny_language.WIDTH}, num_attention_heads = 4, \
vocab_size = {20 + len(NEW_TOKENS)} }}
"""
SCENES = "[scenes]\nevaluated = 2\n"
RUN = "[run]\nsave_steps = 2\neval_steps = 4\nlog_steps = 1\nworkers = 0\nlimit = 500\n"


def write_stage(
    folder: Path, name: str, trains: list[str], model: str, data: str = SCENES, more: str = ""
) -> Path:
    """A configuration; `more` is the rest of its table [stage]."""
    file = folder / f"{name}.toml"
    settings = more if "steps =" in more or "epochs =" in more else f"steps = 4\n{more}"
    file.write_text(
        f"out = {json.dumps(str(folder / name))}\n"
        f'[stage]\nname = "{name}"\ntrains = {json.dumps(trains)}\nbatch_size = 4\nlr = 3e-3\n'
        f"warmup_steps = 1\n{settings}\n{model}\n{data}\n{RUN}",
        encoding="utf-8",
    )
    return file


def write_language_model(folder: Path, layers: int = 2) -> Path:
    """A language model that knows Groma's tokens."""
    tiny_language.language_model(layers=layers).save_pretrained(folder)
    tiny_language.tokenizer().save_pretrained(folder)
    return folder


def write_pictures(folder: Path) -> Path:
    """Pictures with boxes in the format of COCO."""
    scenes = SceneGenerator("train", 0, SIDE, style="noto")
    images, annotations = [], []
    for number in range(PICTURES):
        scene = scenes[number]
        name = f"{number}.png"
        Image.fromarray(scene.pixels).save(folder / name)
        images.append({"id": number, "file_name": name, "height": SIDE, "width": SIDE})
        for left, top, right, bottom in scene.region_boxes[: len(scene.things)].tolist():
            box = [left, top, right - left, bottom - top]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "bbox": box,
                    "area": box[2] * box[3],
                    "iscrowd": 0,
                }
            )
    categories = [{"id": 1, "name": "thing"}]
    listed = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(listed), encoding="utf-8")
    return folder


def sources(folder: Path, task: str) -> str:
    """Those pictures as a source, for the task "detection" or "find"."""
    return (
        f"[mixture]\nroot = {json.dumps(str(folder))}\n"
        f'[[sources]]\nname = "coco"\nformat = "coco"\ntask = "{task}"\n'
        'annotations = "instances.json"\nimages = "."\n'
    )
