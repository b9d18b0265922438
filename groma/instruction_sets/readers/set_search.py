"""What instruction set is in a file, a folder or a zip, seen from what is in it."""

import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from groma.foreign import clean_json, decode_text, load_json, split_lines
from groma.image import PICTURE_ENDINGS
from groma.instruction_sets.readers import yolo_labels
from groma.instruction_sets.readers.annotation_xml import CVAT, VOC
from groma.instruction_sets.readers.coco_export import COCO
from groma.instruction_sets.readers.json_conversations import read_items
from groma.instruction_sets.readers.label_studio_export import LABEL_STUDIO
from groma.instruction_sets.readers.labelled import LabelledPicture
from groma.instruction_sets.readers.other_formats import name_content, name_file
from groma.instruction_sets.readers.set_items import Item, Note
from groma.instruction_sets.readers.set_pictures import files_below
from groma.instruction_sets.readers.shapes_json import LABELME, SUPERVISELY
from groma.instruction_sets.readers.unpacking import DATA_ENDINGS
from groma.instruction_sets.readers.via_export import VIA
from groma.types import GromaError

_MOST_BYTES, _MOST_XML = 1 << 30, 1 << 27
"""Largest file that is read; XML takes many times its size."""
_FORMATS = (
    "Groma-Instruct or LLaVA JSON, COCO-like boxes with captions or classes, YOLO labels, Pascal "
    "VOC, or what CVAT, Label Studio, LabelMe, Roboflow, Supervisely or the VGG Image Annotator "
    "(VIA) export"
)
_READABLE = f"; what can be read is {_FORMATS}"
_TEXTS = (".txt", ".names", ".labels", ".yaml", ".yml")
"""Endings of labels of YOLO, and of what names their classes."""

_BESIDE = ("meta.json", "obj_class_to_machine_color.json")
"""What Supervisely puts beside its annotations."""

_BOXES = (COCO, VIA, LABELME, SUPERVISELY, LABEL_STUDIO, VOC, CVAT)


@dataclass
class FoundSet:
    """A set in one file or in several."""

    name: str  # of its format, for people
    files: list[PurePosixPath]  # in which it is, from its top folder
    code: str = ""  # of notes about boxes
    is_split: bool = False  # whether every picture has a file of its own
    pictures: list[list[LabelledPicture]] = field(default_factory=list)  # with boxes, of each file
    items: Sequence[Item] = ()  # conversations instead
    missed: Counter[str] = field(default_factory=Counter)  # what is left out, by reason
    notes: Sequence[Note] = ()  # what else there is to say

    def takes(self, other: "FoundSet") -> bool:
        """Whether another is a part of the same set; it joins it then."""
        if not self.code or self.code != other.code:
            return False
        if not self.is_split and self.files[0].name != other.files[0].name:
            return False
        self.files += other.files
        self.pictures += other.pictures
        self.missed.update(other.missed)
        return True


def find_in_file(path: Path, images: Path | str | None) -> FoundSet:
    """A set in a file that is no zip; one of YOLO is the folder around it."""
    if other := name_file(path.name):
        raise GromaError(f"{path.name} looks like {other}{_READABLE}.")
    if path.suffix.lower() in _TEXTS:
        files = files_below(path.parent, DATA_ENDINGS)
        if found := _read_yolo(path.parent, files, images):
            return found
    return _recognise(_load(path), PurePosixPath(path.name))


def find_in_folder(folder: Path, path: Path, images: Path | str | None) -> FoundSet:
    """The one instruction set in a folder, which may have been the zip at a path.

    Raises `GromaError` if there is none, or more than one.
    """
    files = files_below(folder, DATA_ENDINGS)
    sets, mistakes, others = _scan(folder, files)
    if not sets and (yolo := _read_yolo(folder, files, images)):
        return yolo
    if not sets and mistakes:
        raise mistakes[0]
    if not sets:
        others += map(name_file, _names_in(path))
        hint = next((f": it looks like {other}" for other in others if other), "")
        raise GromaError(f"{path.name} holds no instruction set{hint}{_READABLE}.")
    if len(sets) > 1:
        names = ", ".join(str(found.files[0]) for found in sets[:3])
        raise GromaError(f"{path.name} holds {len(sets)} instruction sets ({names}); keep one.")
    sets[0].missed.update(file=len(mistakes), unknown=len(others))
    return sets[0]


def _scan(
    folder: Path, files: Iterable[Path]
) -> tuple[list[FoundSet], list[GromaError], list[str]]:
    """The sets in the files below a folder, which of them cannot be read, and what others are."""
    sets: list[FoundSet] = []
    mistakes, others = [], []
    for file in files:
        if file.suffix.lower() in _TEXTS:
            continue
        try:
            data = _load(file)
        except GromaError as error:
            mistakes.append(error)
            continue
        found = _find(data, PurePosixPath(file.relative_to(folder).as_posix()))
        if found is None:
            others += [name_content(data)] if file.name not in _BESIDE else []
        elif not any(known.takes(found) for known in sets):
            sets.append(found)
    return sets, mistakes, others


def _recognise(data: Any, file: PurePosixPath) -> FoundSet:
    """The set that a file holds; raises `GromaError` if it is of no known format, or empty."""
    if isinstance(data, list) and not data:
        raise GromaError("The set is empty.")
    if (found := _find(data, file)) is None:
        hint = f": it looks like {other}" if (other := name_content(data)) else ""
        raise GromaError(f"This is no instruction set{hint}{_READABLE}.")
    return found


def _find(data: Any, file: PurePosixPath) -> FoundSet | None:
    """The set that a file holds, or None where it is of no known format."""
    for boxes in _BOXES:
        if boxes.is_it(data):
            found = FoundSet(boxes.name, [file], boxes.code, boxes.is_split)
            found.pictures.append(list(boxes.read(data, file, found.missed)))
            return found
    if (read := read_items(data)) is None:
        return None
    name, items, notes = read
    return FoundSet(name, [file], items=items, notes=notes)


def _read_yolo(folder: Path, files: Sequence[Path], images: Path | str | None) -> FoundSet | None:
    """The labels of YOLO below a folder, or None where there are none."""
    root = Path(images or folder)
    pictures = [
        PurePosixPath(path.relative_to(root).as_posix())
        for path in files_below(root, PICTURE_ENDINGS)
    ]
    if not yolo_labels.find_labels(files, pictures):
        return None
    found = FoundSet("YOLO", [PurePosixPath()], "yolo", is_split=True)
    found.pictures.append([*yolo_labels.read_pictures(folder, files, pictures, found.missed)])
    return found


def _read_json(path: Path) -> Any:
    r"""What a file of JSON, or of JSON lines, holds; a line ends at \n alone.

    A line that is no JSON becomes None, so that its item is known to be broken. Raises `GromaError`
    if it is neither.
    """
    try:
        text = clean_json(decode_text(_read_bytes(path)))
    except UnicodeDecodeError as error:
        raise GromaError(f"{path.name} is no JSON text in UTF-8 or UTF-16{_READABLE}.") from error
    if not text.strip():
        raise GromaError(f"{path.name} is empty.")
    try:
        return load_json(text)
    except ValueError as error:
        lines = [_decode(line) for line in split_lines(text)]
        if len(lines) > 1 and isinstance(lines[0], Mapping):
            return lines
        why = f": {error}" if text.lstrip()[0] in "[{" else _READABLE
        raise GromaError(f"{path.name} is no JSON{why}.") from error


def _load(path: Path) -> Any:
    """What a file of JSON or XML holds."""
    if path.suffix.lower() != ".xml":
        return _read_json(path)
    try:
        return ElementTree.fromstring(_read_bytes(path, _MOST_XML))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise GromaError(f"{path.name} is no XML that can be read{_READABLE}.") from error


def _read_bytes(path: Path, most: int = _MOST_BYTES) -> bytes:
    if path.stat().st_size > most:
        raise GromaError(f"{path.name} is too large: at most {most >> 20:,} MB can be read.")
    return path.read_bytes()


def _names_in(path: Path) -> Iterator[str]:
    """What the files in a folder or a zip are called."""
    if path.is_dir():
        yield from (file.name for file in files_below(path))
    else:
        with zipfile.ZipFile(path) as opened:
            yield from opened.namelist()


def _decode(line: str) -> Any:
    try:
        return load_json(line)
    except ValueError:
        return None
