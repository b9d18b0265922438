"""Which file a name in an instruction set means, and whether it is a picture."""

from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath

from groma.data.file_names import find_picture, fold, spellings
from groma.data.sources.items import BrokenItem
from groma.foreign import printable_name
from groma.image import PICTURE_ENDINGS, load_image
from groma.instruction_sets.readers.set_items import PictureFile
from groma.types import GromaError

_MOST_FILES = 500_000
"""So many files are looked through at most."""

_READERS = 4
_SHOWN = 200
"""Letters of a name that a sentence quotes."""


def files_below(folder: Path, endings: Collection[str] = ()) -> list[Path]:
    """Files in a folder and those in it, of some endings, in small letters, or of all.

    Programs' own, whose names begin with a dot, are left out.
    """
    below = islice(folder.rglob("*"), _MOST_FILES)
    found = (path for path in below if not endings or path.suffix.lower() in endings)
    return sorted(path for path in found if not path.name.startswith(".") and path.is_file())


class PictureFolder:
    """Pictures below some folders, the roots, where names start; the likeliest is the first."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = [root.resolve() for root in roots]

    def look_up(self, names: Iterable[str]) -> dict[str, PictureFile]:
        """Find, open and decode every picture, and those that may be meant instead."""
        found = {name: self._find(name) for name in dict.fromkeys(names) if name}
        near = {file.near: self._find(file.near) for file in found.values() if file.near}
        found = near | found
        with ThreadPoolExecutor(_READERS) as readers:
            return dict(zip(found, readers.map(_measure, found.values()), strict=True))

    def _find(self, name: str) -> PictureFile:
        """The file of a name, not opened yet."""
        try:
            for root in self._roots:
                if path := _find_below(root, name):
                    return self._unless_doubtful(path, root, name)
        except BrokenItem:
            reason = f"{name!r} leads out of the folder of pictures."
            return PictureFile(problem="outside", reason=reason)
        for spelling in spellings(name):
            if same := self._by_name.get(fold(spelling)):
                found = PictureFile(same[0], is_guess=True)
                return found if len(same) == 1 else _several(same)
        similar = self._by_stem.get(_stem(name), ())
        near = self._name(similar[0]) if len(similar) == 1 else ""
        reason = f"There is no picture {name[:_SHOWN]!r}."
        return PictureFile(problem="missing", reason=reason, near=near)

    def _unless_doubtful(self, path: Path, root: Path, name: str) -> PictureFile:
        """A file, unless it was found by less than its name, and others could be meant as well."""
        if path.parent == root and fold(name) != name:
            same = self._by_name.get(fold(path.name), [])
            if len(same) > 1:
                return _several(same)
        return PictureFile(path)

    @cached_property
    def _files(self) -> list[Path]:
        """Every picture, looked for only when one is not where its name says."""
        found = (path for root in self._roots for path in files_below(root, PICTURE_ENDINGS))
        return sorted(set(found))

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        return _group((fold(printable_name(path)), path) for path in self._files)

    @cached_property
    def _by_stem(self) -> dict[str, list[Path]]:
        return _group((_stem(printable_name(path)), path) for path in self._files)

    def _name(self, path: Path) -> str:
        """What a file is called below its root."""
        root = next(root for root in self._roots if path.is_relative_to(root))
        return printable_name(path.relative_to(root))


def _several(same: Sequence[Path]) -> PictureFile:
    reason = f"There are {len(same)} pictures called {fold(printable_name(same[0]))!r}."
    return PictureFile(problem="missing", reason=reason)


def _find_below(root: Path, name: str) -> Path | None:
    try:
        return find_picture(root, name)
    except BrokenItem:
        if ".." in PurePosixPath(name.replace("\\", "/")).parts:
            raise
        return None


def _measure(file: PictureFile) -> PictureFile:
    """Decode a picture for its size, so that a damaged one is known before training."""
    if file.path is None:
        return file
    try:
        # Its bytes, so that no message tells where the file is.
        image = load_image(file.path.read_bytes())
    except GromaError as error:
        return PictureFile(problem="unreadable", reason=str(error))
    except OSError as error:
        return PictureFile(problem="unreadable", reason=f"It cannot be opened: {error.strerror}.")
    return replace(file, size=(image.height, image.width))


def _stem(name: str) -> str:
    return PurePosixPath(fold(name)).stem.casefold()


def _group(named: Iterable[tuple[str, Path]]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for name, path in named:
        groups.setdefault(name, []).append(path)
    return groups
