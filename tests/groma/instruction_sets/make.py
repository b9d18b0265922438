"""Small instruction sets of every format, right and broken, made on the spot."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from groma.instruction_sets.readers.reading import read_set
from groma.instruction_sets.readers.set_items import InstructionSet

WIDTH, HEIGHT = 200, 100
PICTURES = tuple(f"{i}.png" for i in range(6))

Items = list[dict[str, Any]]


def write_pictures(folder: Path) -> None:
    """Six pictures, and one that is damaged."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(PICTURES):
        Image.new("RGB", (WIDTH, HEIGHT), (40 * i, 90, 200)).save(folder / name)
    (folder / "damaged.png").write_bytes((folder / "0.png").read_bytes()[:60])


def good_items() -> Items:
    """Six items in which nothing is wrong, and boxes that no other layout could have."""
    boxes = [[10, 5, 30, 40], [150, 60, 45, 35], [5, 50, 190, 48]]
    return [
        {
            "file_name": name,
            "height": HEIGHT,
            "width": WIDTH,
            "id": i,
            "boxes": copy.deepcopy(boxes),
            "conversation": [
                {"from": "human", "value": f"What is in picture {i}?"},
                {
                    "from": "gpt",
                    "value": "<p>Two dogs</p><roi><ground_box><ground_box></roi> on"
                    f" <p>grass {i}</p><roi><ground_box></roi>.",
                    "box_inds": [0, 1, 2],
                },
                {"from": "human", "value": "Is [1] like [2]?", "box_inds": [1, 0]},
                {"from": "gpt", "value": f"Yes, {i} times.", "box_inds": []},
            ],
        }
        for i, name in enumerate(PICTURES)
    ]


def good_llava() -> Items:
    return [
        {
            "id": str(i),
            "image": name,
            "conversations": [
                {"from": "human", "value": f"<image>\nWhat is in picture {i}?"},
                {"from": "gpt", "value": f"A dog [1] and {i} <b>cats</b>."},
            ],
        }
        for i, name in enumerate(PICTURES)
    ]


def read(items: Any, folder: Path) -> InstructionSet:
    """A set as it comes out of a file."""
    with TemporaryDirectory() as elsewhere:
        file = Path(elsewhere) / "set.json"
        file.write_text(json.dumps(items), encoding="utf-8")
        return read_set(file, folder)


def boxes_as(change: Callable[[list[float]], list[float]]) -> Callable[[Items], None]:
    """A mistake: all boxes written in another way."""

    def apply(items: Items) -> None:
        for item in items:
            item["boxes"] = [change(box) for box in item["boxes"]]

    return apply


def to_xyxy(box: list[float]) -> list[float]:
    x, y, w, h = box
    return [x, y, x + w, y + h]


def to_centre(box: list[float]) -> list[float]:
    x, y, w, h = box
    return [x + w / 2, y + h / 2, w, h]


def scaled(by: float) -> Callable[[list[float]], list[float]]:
    """To fractions or thousandths."""
    sides = (by / WIDTH, by / HEIGHT) * 2
    return lambda box: [value * side for value, side in zip(box, sides, strict=True)]
