"""Instruction sets from files: what kind they are is seen from what is in them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from types import MappingProxyType
from typing import Any

from groma.foreign import clean_json, decode_text, load_json, split_lines
from groma.instruction_sets.readers import coco_export as coco
from groma.instruction_sets.readers import json_conversations as conversations
from groma.instruction_sets.readers import via_export as via
from groma.instruction_sets.readers.labelled import make_items
from groma.instruction_sets.readers.set_items import (
    COCO,
    GROMA,
    LLAVA,
    LLAVA_BOXES,
    VIA,
    InstructionSet,
    Item,
    Note,
)
from groma.instruction_sets.readers.set_pictures import PictureFolder
from groma.instruction_sets.readers.unpacking import DATA_ENDINGS, unpack
from groma.types import GromaError

MOST_BYTES = 1 << 30
"""Largest file that is read."""
MOST_ITEMS = 200_000
"""More are no set for a small finetuning."""

FORMATS = (
    "Groma-Instruct or LLaVA JSON, COCO-like boxes with captions or classes, or a project of the "
    "VGG Image Annotator"
)
_READABLE = f"; what can be read is {FORMATS}, all as JSON"

_BOXES = (
    (COCO, coco.is_coco, coco.read_pictures),
    (VIA, via.is_via, via.read_pictures),
)
"""Formats that have boxes alone: name, how to tell, and how to read."""


def read_set(
    path: Path | str, images: Path | str | None = None, folder: Path | None = None
) -> InstructionSet:
    """Read an instruction set, and look at every picture of it.

    Args:
        path: JSON or JSON lines; or a zip or folder with one such file and its pictures.
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
    if path.suffix.lower() == ".zip":
        folder = folder or Path(mkdtemp(prefix="groma-set-"))
        try:
            unpack(path, folder)
        except GromaError:
            rmtree(folder, ignore_errors=True)
            raise
        path, data = _choose(folder, path.name)
    elif path.is_dir():
        folder = path
        path, data = _choose(folder, path.name)
    else:
        data = read_json(path)
    roots = [path.parent, path.parent / "images", *([folder] if folder else [])]
    return parse_set(data, roots if images is None else [Path(images)])


def parse_set(data: Any, images: Iterable[Path]) -> InstructionSet:
    """Make a set of what JSON holds, and look at every picture of it.

    Args:
        data: of any format that is known.
        images: folders of the pictures, first the likeliest.

    Raises:
        GromaError: if it is of no such format, empty, or too large.
    """
    layout, items, notes = _parse(data)
    if len(items) > MOST_ITEMS:
        raise GromaError(f"The set has {len(items):,} items; at most {MOST_ITEMS:,} can be read.")
    pictures = PictureFolder(images).look_up(item.picture for item in items)
    guessed = sum(picture.is_guess for picture in pictures.values())
    if guessed:
        sentence = (
            f"{guessed:,} pictures are not where their names say; the only ones of the same file "
            "name are taken."
        )
        notes = [*notes, Note("picture-elsewhere", sentence, "note")]
    return InstructionSet(tuple(items), MappingProxyType(pictures), layout, tuple(notes))


def read_json(path: Path) -> Any:
    r"""What a file of JSON, or of JSON lines, holds; a line ends at \n alone.

    A line that is no JSON becomes None, so that its item is known to be broken.

    Raises:
        GromaError: if it is neither.
    """
    if path.stat().st_size > MOST_BYTES:
        raise GromaError(f"{path} is too large: at most {MOST_BYTES >> 20:,} MB can be read.")
    try:
        text = clean_json(decode_text(path.read_bytes()))
    except UnicodeDecodeError as error:
        raise GromaError(f"{path} is no JSON text in UTF-8 or UTF-16{_READABLE}.") from error
    if not text.strip():
        raise GromaError(f"{path} is empty.")
    try:
        return load_json(text)
    except ValueError as error:
        lines = [_decode(line) for line in split_lines(text)]
        if len(lines) > 1 and isinstance(lines[0], Mapping):
            return lines
        why = f": {error}" if text.lstrip()[0] in "[{" else _READABLE
        raise GromaError(f"{path} is no JSON{why}.") from error


def _parse(data: Any) -> tuple[str, Sequence[Item], Sequence[Note]]:
    """Name of the format, items and notes."""
    for layout, is_it, read_pictures in _BOXES:
        if is_it(data):
            pictures, notes = read_pictures(data)
            return layout, list(make_items(pictures)), notes
    listed = [data] if isinstance(data, Mapping) else data
    if not isinstance(listed, list):
        raise GromaError(f"This is no instruction set; it must be {FORMATS}.")
    if not listed:
        raise GromaError("The set is empty.")
    grounded = any(conversations.is_grounded(item) for item in listed)
    if not grounded and not any(conversations.is_plain(item) for item in listed):
        raise GromaError(f"This is no instruction set; it must be {FORMATS}.")
    items = [conversations.read_item(item, number) for number, item in enumerate(listed)]
    boxes = any(item.boxes for item in items)
    layout = GROMA if grounded else LLAVA_BOXES if boxes else LLAVA
    return layout, items, tuple(conversations.note_names(listed))


def _choose(folder: Path, name: str) -> tuple[Path, Any]:
    """The one instruction set in a folder.

    Raises:
        GromaError: if there is none, or more than one.
    """
    found, mistakes = [], []
    for path in _data_files(folder):
        try:
            data = read_json(path)
        except GromaError as error:
            mistakes.append(error)
            continue
        if _is_known(data):
            found.append((path, data))
    if not found and mistakes:
        raise mistakes[0]
    if not found:
        raise GromaError(f"{name} holds no instruction set; it must be {FORMATS}.")
    if len(found) > 1:
        names = ", ".join(str(path.relative_to(folder)) for path, _ in found[:3])
        raise GromaError(f"{name} holds {len(found)} instruction sets ({names}); keep one.")
    return found[0]


def _data_files(folder: Path) -> list[Path]:
    below = (path for path in folder.rglob("*") if path.suffix.lower() in DATA_ENDINGS)
    return sorted(path for path in below if path.is_file())


def _is_known(data: Any) -> bool:
    if any(is_it(data) for _, is_it, _ in _BOXES):
        return True
    listed = [data] if isinstance(data, Mapping) else data
    return isinstance(listed, list) and any(
        conversations.is_grounded(item) or conversations.is_plain(item) for item in listed
    )


def _decode(line: str) -> Any:
    try:
        return load_json(line)
    except ValueError:
        return None
