"""What conversations are written from: pictures, regions, and what is known of them (paper 4).

It comes from files in the format of Visual Genome, or from proposals and answers of our own model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from groma.chat.chat import Groma
from groma.data.file_names import find_picture
from groma.data.sources.items import BrokenItem, refused, words
from groma.data.sources.visual_genome import open_visual_genome, read_pictures
from groma.foreign import load_json, printable_name, to_identifier
from groma.image import PICTURE_ENDINGS, normalise_boxes
from groma.instruct.region_choice import RegionChoice, choose_regions, merge_texts
from groma.types import Box, EncodedImage, GromaError, Size, scale_box, to_box

_MOST_CAPTIONS = 3
_MOST_QUESTIONS = 6  # of a picture; the first ones are kept

_DESCRIBE = "What is [1]? Answer with a few words."
_CAPTION = "Describe the picture in one sentence."


@dataclass(frozen=True, slots=True)
class Material:
    """A picture's marked regions and all that is known about it."""

    picture: str  # name of the file, below the folder of pictures
    size: Size  # (H, W) in pixels
    boxes: tuple[Box, ...]  # xyxy in [0, 1]; region K, whose mark says K, is `boxes[K - 1]`
    # For every region what it shows, the best one first; may be empty.
    descriptions: tuple[tuple[str, ...], ...]
    captions: tuple[str, ...] = ()  # of the whole picture
    questions: tuple[tuple[str, str], ...] = ()  # about the picture, with their answers

    def boxes_in(self, size: Size) -> tuple[Box, ...]:
        """The same boxes in pixels of the picture at a size (H, W)."""
        return tuple(scale_box(box, size) for box in self.boxes)


class Source(Protocol):
    """Pictures to write about."""

    keys: list[str]  # what the pictures are called; the order in which they are worked through

    def material(self, key: str) -> Material:
        """What is known about one picture; raises `GromaError` if it cannot be used."""
        ...


class VisualGenomeSource:
    """Region descriptions in the format of Visual Genome.

    Files are `region_descriptions.json`, `image_data.json`, perhaps `question_answers.json`, and
    perhaps COCO's captions of the pictures that Visual Genome has from there; raises `GromaError`
    if one is something else.
    """

    def __init__(
        self,
        descriptions: Path,
        image_data: Path,
        choice: RegionChoice,
        questions: Path | None = None,
        captions: Path | None = None,
        cache: Path | None = None,
    ) -> None:
        self._choice = choice
        self._items = open_visual_genome(descriptions, cache, image_data=image_data, rounds="multi")
        self._ids = {name: number for number, (name, _) in read_pictures(image_data).items()}
        self._questions = _read_questions(questions) if questions else {}
        self._captions = _read_captions(captions, image_data) if captions else {}
        self.keys = [str(index) for index in range(len(self._items))]

    def material(self, key: str) -> Material:
        """See `Source`."""
        sample = self._items[int(key)]
        number = self._ids[sample.picture]
        boxes = torch.tensor(sample.boxes, dtype=torch.float64).reshape(-1, 4)
        groups = choose_regions(boxes, self._choice)
        return Material(
            sample.picture,
            sample.size,
            tuple(sample.boxes[group[0]] for group in groups),
            merge_texts(groups, sample.names),
            tuple(self._captions.get(number, ())),
            tuple(self._questions.get(number, ())),
        )


class ProposalSource:
    """Pictures of a folder, at any depth, their regions proposed and described by a model."""

    def __init__(self, folder: Path, groma: Groma, choice: RegionChoice) -> None:
        self._folder, self._groma, self._choice = folder, groma, choice
        self.keys = list_pictures(folder)

    def material(self, key: str) -> Material:
        """See `Source`."""
        encoded = self._groma.encode_image(find_picture(self._folder, key))
        regions = self._groma.regions(encoded)
        boxes = normalise_boxes([region.box for region in regions], encoded.original_size)
        scores = torch.tensor([region.objectness for region in regions])
        kept = [group[0] for group in choose_regions(boxes, self._choice, scores)]
        descriptions = tuple(self._ask(encoded, _DESCRIBE, [regions[i].box]) for i in kept)
        captions = self._ask(encoded, _CAPTION, [])
        frame = tuple(to_box(box) for box in boxes[kept].double().clamp(0, 1).tolist())
        return Material(key, encoded.original_size, frame, descriptions, captions)

    def _ask(self, encoded: EncodedImage, question: str, boxes: list[Box]) -> tuple[str, ...]:
        chat = self._groma.chat(encoded, max_new_tokens=60, grounding=False)
        text = " ".join(chat.ask(question, boxes).text.split())
        return (text,) if text else ()


def list_pictures(folder: Path) -> list[str]:
    """Names of all pictures in a folder and below, sorted; raises `GromaError` if there is none."""
    names = sorted(
        printable_name(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.suffix.lower() in PICTURE_ENDINGS and path.is_file()
    )
    if not names:
        raise GromaError(f"{folder} is no folder with pictures.")
    return names


def _read_questions(path: Path) -> dict[Any, list[tuple[str, str]]]:
    """The first questions about every picture of `question_answers.json`, with answers."""
    try:
        with refused():
            return {
                to_identifier(item.get("id", item.get("image_id"))): [
                    (words(qa["question"]), words(qa["answer"]))
                    for qa in item["qas"][:_MOST_QUESTIONS]
                ]
                for item in load_json(path.read_bytes())
            }
    except BrokenItem as error:
        raise GromaError(f"{path} is no `question_answers.json`: {error}.") from error


def _read_captions(path: Path, image_data: Path) -> dict[Any, list[str]]:
    """COCO captions by Visual Genome's ids of the pictures; `image_data.json` knows COCO's ids."""
    found: dict[Any, list[str]] = {}
    try:
        with refused():
            pictures = load_json(image_data.read_bytes())
            numbers = {
                to_identifier(item.get("coco_id")): to_identifier(item["image_id"])
                for item in pictures
            }
            for annotation in load_json(path.read_bytes())["annotations"]:
                number = numbers.get(to_identifier(annotation["image_id"]))
                if number is not None and len(found.setdefault(number, [])) < _MOST_CAPTIONS:
                    found[number].append(words(annotation["caption"]))
    except BrokenItem as error:
        raise GromaError(f"{path} holds no captions in COCO's format: {error}.") from error
    return found
