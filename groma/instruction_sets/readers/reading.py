"""Instruction sets from files, folders and zips, with all of their pictures looked at."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from types import MappingProxyType

from groma.instruction_sets.readers.labelled import (
    LabelledPicture,
    beside,
    explain_missed,
    make_items,
)
from groma.instruction_sets.readers.set_items import InstructionSet, Note
from groma.instruction_sets.readers.set_pictures import PictureFolder
from groma.instruction_sets.readers.set_search import FoundSet, find_in_file, find_in_folder
from groma.instruction_sets.readers.unpacking import unpack
from groma.types import GromaError

_MOST_ITEMS = 200_000
"""More are no set for a small finetuning."""


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
    found = find_in_folder(root, path, images) if root else find_in_file(path, images)
    # One file names its pictures from where it is, several from the top.
    top = root or path.parent
    own = top / found.files[0].parent if len(found.files) == 1 else top
    places = dict.fromkeys((own, own.parent if own != top else top, top))
    roots = [root for place in places for root in (place, place / "images")]
    return _look_up(found, roots if images is None else [Path(images)])


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


def _look_up(found: FoundSet, roots: Iterable[Path]) -> InstructionSet:
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
