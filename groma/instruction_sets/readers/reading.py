"""Instruction sets from files: what kind they are is seen from what is in them."""

import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from shutil import rmtree
from tempfile import mkdtemp
from types import MappingProxyType
from typing import Any, NamedTuple
from xml.etree import ElementTree

from groma.foreign import clean_json, decode_text, load_json, split_lines
from groma.image import PICTURE_ENDINGS
from groma.instruction_sets.readers import (
    annotation_xml,
    coco_export,
    json_conversations,
    label_studio_export,
    shapes_json,
    via_export,
    yolo_labels,
)
from groma.instruction_sets.readers.labelled import (
    LabelledPicture,
    beside,
    explain_missed,
    make_items,
)
from groma.instruction_sets.readers.other_formats import name_content, name_file
from groma.instruction_sets.readers.set_items import (
    GROMA,
    LLAVA,
    LLAVA_BOXES,
    InstructionSet,
    Item,
    Note,
)
from groma.instruction_sets.readers.set_pictures import MOST_FILES, PictureFolder
from groma.instruction_sets.readers.unpacking import DATA_ENDINGS, unpack
from groma.types import GromaError

_MOST_BYTES = 1 << 30
"""Largest file that is read."""
_MOST_ITEMS = 200_000
"""More are no set for a small finetuning."""
_FORMATS = (
    "Groma-Instruct or LLaVA JSON, COCO-like boxes with captions or classes, YOLO labels, Pascal "
    "VOC, or what CVAT, Label Studio, LabelMe, Roboflow, Supervisely or the VGG Image Annotator "
    "(VIA) export"
)
_READABLE = f"; what can be read is {_FORMATS}"
_TEXTS = (".txt", ".names", ".labels", ".yaml", ".yml")
"""Endings of labels of YOLO, and of what names their classes."""


class _Format(NamedTuple):
    """Boxes alone, with labels.

    Attributes:
        name: for people.
        code: of notes about it.
        is_it: tells it by what a file holds.
        read: makes pictures of it, given the name of the file and what is left out.
        is_split: whether every picture has a file of its own.
    """

    name: str
    code: str
    is_it: Callable[[Any], bool]
    read: Callable[[Any, PurePosixPath, Counter[str]], Iterator[LabelledPicture]]
    is_split: bool = False


_BOXES = (
    _Format("COCO-like", "coco", coco_export.is_coco, coco_export.read_pictures),
    _Format("VGG Image Annotator", "via", via_export.is_via, via_export.read_pictures),
    _Format("LabelMe", "labelme", shapes_json.is_labelme, shapes_json.read_labelme, True),
    _Format(
        "Supervisely", "supervisely", shapes_json.is_supervisely, shapes_json.read_supervisely, True
    ),
    _Format(
        "Label Studio",
        "label-studio",
        label_studio_export.is_label_studio,
        label_studio_export.read_pictures,
    ),
    _Format("Pascal VOC", "voc", annotation_xml.is_voc, annotation_xml.read_voc, True),
    _Format("CVAT", "cvat", annotation_xml.is_cvat, annotation_xml.read_cvat),
)


@dataclass
class _Found:
    """A set in one file or in several.

    Attributes:
        name: of its format, for people.
        files: in which it is, from its top folder.
        code: of notes about boxes.
        is_split: whether every picture has a file of its own.
        pictures: with boxes, of each file.
        items: conversations instead.
        missed: what is left out, by reason.
        notes: what else there is to say.
    """

    name: str
    files: list[PurePosixPath]
    code: str = ""
    is_split: bool = False
    pictures: list[list[LabelledPicture]] = field(default_factory=list)
    items: Sequence[Item] = ()
    missed: Counter[str] = field(default_factory=Counter)
    notes: Sequence[Note] = ()

    def takes(self, other: "_Found") -> bool:
        """Whether another is a part of the same set; it joins it then."""
        if not self.code or self.code != other.code:
            return False
        if not self.is_split and self.files[0].name != other.files[0].name:
            return False
        self.files += other.files
        self.pictures += other.pictures
        self.missed.update(other.missed)
        return True


def read_set(
    path: Path | str, images: Path | str | None = None, folder: Path | None = None
) -> InstructionSet:
    """Read an instruction set, and look at every picture of it.

    Args:
        path: a file; or a zip or folder with one set and its pictures.
        images: folder of the pictures; by default they are looked for beside the file.
        folder: where a zip is unpacked to, instead of a new temporary folder; it is removed if the
            zip is refused.

    Returns:
        The set; what is wrong with its items is in it, not raised.

    Raises:
        GromaError: if it is no instruction set, is too large, or is a zip that cannot be trusted.
    """
    path = Path(path)
    if not path.exists():
        raise GromaError(f"There is no file {path}.")
    if images is not None and not Path(images).is_dir():
        raise GromaError(f"There is no folder {images}.")
    root = _open(path, folder)
    found = _choose(root, path, images) if root else _read_file(path, images)
    # One file names its pictures from where it is, several from the top.
    top = root or path.parent
    own = top / found.files[0].parent if len(found.files) == 1 else top
    places = dict.fromkeys((own, own.parent if own != top else top, top))
    roots = [root for place in places for root in (place, place / "images")]
    return _look_up(found, roots if images is None else [Path(images)])


def parse_set(data: Any, images: Iterable[Path]) -> InstructionSet:
    """Make a set of what JSON holds, and look at every picture of it.

    Args:
        data: of any format that is known.
        images: folders of the pictures, first the likeliest.

    Raises:
        GromaError: if it is of no such format, empty, or too large.
    """
    return _look_up(_recognise(data, PurePosixPath("set.json")), images)


def read_json(path: Path) -> Any:
    r"""What a file of JSON, or of JSON lines, holds; a line ends at \n alone.

    A line that is no JSON becomes None, so that its item is known to be broken.

    Raises:
        GromaError: if it is neither.
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


def _open(path: Path, folder: Path | None) -> Path | None:
    """The folder that is at a path, or what a zip there is unpacked to; None for other files."""
    if path.is_dir():
        return path
    if path.suffix.lower() != ".zip":
        return None
    folder = folder or Path(mkdtemp(prefix="groma-set-"))
    try:
        unpack(path, folder)
    except GromaError:
        rmtree(folder, ignore_errors=True)
        raise
    return folder


def _read_file(path: Path, images: Path | str | None) -> _Found:
    """A set in a file that is no zip; one of YOLO is the folder around it."""
    if other := name_file(path.name):
        raise GromaError(f"{path.name} looks like {other}{_READABLE}.")
    if path.suffix.lower() in _TEXTS:
        files = _files_below(path.parent, DATA_ENDINGS)
        if found := _read_yolo(path.parent, files, images):
            return found
    return _recognise(_load(path), PurePosixPath(path.name))


def _choose(folder: Path, path: Path, images: Path | str | None) -> _Found:
    """The one instruction set in a folder, which may have been the zip at a path.

    Raises:
        GromaError: if there is none, or more than one.
    """
    files = _files_below(folder, DATA_ENDINGS)
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
    if sets[0].is_split:
        sets[0].missed["file"] += len(mistakes)
    return sets[0]


def _scan(folder: Path, files: Iterable[Path]) -> tuple[list[_Found], list[GromaError], list[str]]:
    """The sets in the files below a folder, which of them cannot be read, and what others are."""
    sets: list[_Found] = []
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
            others.append(name_content(data))
        elif not any(known.takes(found) for known in sets):
            sets.append(found)
    return sets, mistakes, others


def _recognise(data: Any, file: PurePosixPath) -> _Found:
    """The set that a file holds.

    Raises:
        GromaError: if it is of no known format, or empty.
    """
    if isinstance(data, list) and not data:
        raise GromaError("The set is empty.")
    if (found := _find(data, file)) is None:
        hint = f": it looks like {other}" if (other := name_content(data)) else ""
        raise GromaError(f"This is no instruction set{hint}{_READABLE}.")
    return found


def _find(data: Any, file: PurePosixPath) -> _Found | None:
    """The set that a file holds, or None where it is of no known format."""
    for boxes in _BOXES:
        if boxes.is_it(data):
            found = _Found(boxes.name, [file], boxes.code, boxes.is_split)
            found.pictures.append(list(boxes.read(data, file, found.missed)))
            return found
    listed = [data] if isinstance(data, Mapping) else data
    if not isinstance(listed, list):
        return None
    grounded = any(map(json_conversations.is_grounded, listed))
    if not grounded and not any(map(json_conversations.is_plain, listed)):
        return None
    items = [json_conversations.read_item(item, number) for number, item in enumerate(listed)]
    plain = LLAVA_BOXES if any(item.boxes for item in items) else LLAVA
    notes = tuple(json_conversations.note_names(listed))
    return _Found(GROMA if grounded else plain, [file], items=items, notes=notes)


def _read_yolo(folder: Path, files: Sequence[Path], images: Path | str | None) -> _Found | None:
    """The labels of YOLO below a folder, or None where there are none."""
    root = Path(images or folder)
    pictures = [
        PurePosixPath(path.relative_to(root).as_posix())
        for path in _files_below(root, PICTURE_ENDINGS)
    ]
    if not yolo_labels.find_labels(files, pictures):
        return None
    found = _Found("YOLO", [PurePosixPath()], "yolo", is_split=True)
    found.pictures.append([*yolo_labels.read_pictures(folder, files, pictures, found.missed)])
    return found


def _look_up(found: _Found, roots: Iterable[Path]) -> InstructionSet:
    """A set with its pictures, which are looked for below some folders."""
    pictures: list[LabelledPicture] = []
    for file, own in zip(found.files, found.pictures, strict=False):
        # Several files are seen from the folder above all of them.
        is_moved = len(found.files) > 1 and not found.is_split
        pictures += (replace(p, name=beside(file, p.name)) if is_moved else p for p in own)
    missed = found.missed + Counter(empty=sum(picture.is_empty for picture in pictures))
    if len(found.files) > 1 and not found.is_split:
        missed["together"] = len(found.files)
    pictures = [picture for picture in pictures if not picture.is_empty]
    _check_amount(len(pictures) + len(found.items))
    names = [picture.name for picture in pictures] + [item.picture for item in found.items]
    files = PictureFolder(roots).look_up(names)
    sized = (p.in_pixels(files[p.name].size if p.name else None) for p in pictures)
    items = [*found.items, *make_items(sized)]
    _check_amount(len(items))
    notes = [*found.notes, *explain_missed(found.code, missed)]
    if guessed := sum(picture.is_guess for picture in files.values()):
        sentence = (
            f"{guessed:,} pictures are not where their names say; the only ones of the same file "
            "name are taken."
        )
        notes.append(Note("picture-elsewhere", sentence, "note"))
    return InstructionSet(tuple(items), MappingProxyType(files), found.name, tuple(notes))


def _check_amount(count: int) -> None:
    if count > _MOST_ITEMS:
        raise GromaError(f"The set has {count:,} items; at most {_MOST_ITEMS:,} can be read.")


def _load(path: Path) -> Any:
    """What a file of JSON or XML holds."""
    if path.suffix.lower() != ".xml":
        return read_json(path)
    try:
        return ElementTree.fromstring(_read_bytes(path))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise GromaError(f"{path.name} is no XML that can be read{_READABLE}.") from error


def _read_bytes(path: Path) -> bytes:
    if path.stat().st_size > _MOST_BYTES:
        raise GromaError(f"{path.name} is too large: at most {_MOST_BYTES >> 20:,} MB can be read.")
    return path.read_bytes()


def _files_below(folder: Path, endings: Iterable[str]) -> list[Path]:
    """Files with these endings; programs' own, whose names begin with a dot, are left out."""
    below = islice(folder.rglob("*"), MOST_FILES)
    found = (path for path in below if path.suffix.lower() in endings)
    return sorted(path for path in found if not path.name.startswith(".") and path.is_file())


def _names_in(path: Path) -> Iterator[str]:
    """What the files in a folder or a zip are called."""
    if path.is_dir():
        yield from (file.name for file in islice(path.rglob("*"), MOST_FILES))
    else:
        with zipfile.ZipFile(path) as opened:
            yield from opened.namelist()


def _decode(line: str) -> Any:
    try:
        return load_json(line)
    except ValueError:
        return None
