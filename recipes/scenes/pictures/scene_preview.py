"""Examples to look at: pictures with their truth drawn in, and what is said about them."""

import json
from pathlib import Path

import numpy as np
import supervision as sv
from PIL import Image

from groma.data.sample import GroundedSample, Mention, Phrase, Pieces
from groma.drawing.boxes import draw_boxes
from groma.types import GromaError
from recipes.scenes.language.conversations import converse, language_dice
from recipes.scenes.pictures.generator import SceneGenerator
from recipes.scenes.scene import Scene


def save_examples(
    folder: Path, scenes: SceneGenerator, count: int, start: int = 0
) -> list[GroundedSample]:
    """Write scenes and conversations.

    Args:
        folder: made if need be; gets `NNNNNN.png`, `NNNNNN-boxes.png` and `NNNNNN.txt` per scene,
            and all conversations in `samples.json`.
        scenes: where they come from.
        count: how many.
        start: index of the first.

    Returns:
        What `samples.json` holds.

    Raises:
        GromaError: if `count` is not positive or `start` is negative.
    """
    if count < 1 or start < 0:
        raise GromaError("Ask for at least one scene, from an index that is not negative.")
    folder.mkdir(parents=True, exist_ok=True)
    samples = []
    for index in range(start, start + count):
        scene = scenes[index]
        sample = converse(scene, language_dice(scenes.split, scenes.seed, index))
        name = f"{index:06}"
        Image.fromarray(np.asarray(scene.pixels)).save(folder / f"{name}.png")
        draw_scene(scene).save(folder / f"{name}-boxes.png")
        (folder / f"{name}.txt").write_text(describe(scene, sample), encoding="utf-8")
        samples.append(sample)
    text = json.dumps([sample.to_dict() for sample in samples], indent=1)
    (folder / "samples.json").write_text(text + "\n", encoding="utf-8")
    return samples


def draw_scene(scene: Scene) -> Image.Image:
    """The picture, at least 448 px wide, with boxes and names of its things and stuff.

    Raises:
        ValueError: if the scene is symbolic.
    """
    if scene.pixels is None:
        raise ValueError(f"Scene {scene.key} is symbolic: there is nothing to draw.")
    image = Image.fromarray(scene.pixels)
    scale = max(1, round(448 / image.width))
    image = image.resize((image.width * scale, image.height * scale))
    regions = [(_label(i, scene), thing.box) for i, thing in enumerate(scene.things)]
    first_stuff = len(regions)
    regions += [(f"{first_stuff + i} {s.name}", s.box) for i, s in enumerate(scene.stuff)]
    boxes = np.array([box for _, box in regions], np.float32) * scale
    detections = sv.Detections(xyxy=boxes, class_id=np.arange(len(regions)))
    return draw_boxes(image, detections, [label for label, _ in regions])


def describe(scene: Scene, sample: GroundedSample) -> str:
    """A scene's truth and its conversation as text; phrases show the regions they mean."""
    lines = [f"{scene.key} · {scene.style} · {scene.size[1]}x{scene.size[0]}"]
    for index, (name, box) in enumerate(zip(sample.names, sample.boxes, strict=True)):
        label = _label(index, scene) if index < len(scene.things) else f"{index} {name}"
        lines.append(f"  {label}: " + " ".join(f"{edge:.3f}" for edge in box))
    for turn in sample.turns:
        lines.append(f"[{turn.kind}]" + ("" if turn.grounding else " grounding off"))
        lines.append("  user:  " + marked_text(turn.question, sample.user_regions))
        lines.append("  groma: " + marked_text(turn.answer, sample.user_regions))
    return "\n".join(lines) + "\n"


def marked_text(pieces: Pieces, user_regions: tuple[int, ...]) -> str:
    """Pieces for reading: "{the dog -> 3}" for a phrase, "[1 -> 3]" for a mention."""
    words = []
    for piece in pieces:
        if isinstance(piece, Phrase):
            words.append(f"{{{piece.text} -> {', '.join(map(str, piece.regions))}}}")
        elif isinstance(piece, Mention):
            words.append(f"[{user_regions.index(piece.region) + 1} -> {piece.region}]")
        else:
            words.append(piece)
    return "".join(words)


def _label(index: int, scene: Scene) -> str:
    thing = scene.things[index]
    colour = f"{thing.colour} " if thing.colour else ""
    return f"{index} {thing.size} {colour}{thing.noun}"
