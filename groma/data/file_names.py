"""Which file a name in somebody's annotations means; no name ever leads out of its folder."""

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

from groma.data.sources.items import BrokenItem

_CODE_PAGES = ("utf-8", "gbk", "cp932", "cp949", "big5", "cp1251", "cp1252")
"""In which programs write names into a zip without saying so; who unpacks it then reads cp437."""
_URL = re.compile("[A-Za-z][A-Za-z0-9+.-]+://")
_DRIVE = re.compile("^[A-Za-z]:")
_UPLOAD = re.compile(r"^(.*/)?[0-9a-f]{8}-(?=[^/]+$)")
"""What Label Studio puts in front of the name of a file that is uploaded."""
_BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")


def find_picture(folder: Path, name: str) -> Path:
    """The file of a picture: the longest end of its name that exists in the folder.

    Data sets are unpacked in many ways: `coco/train2017/1.jpg` may be called so, or `1.jpg`. Raises
    `BrokenItem` if there is none, or its name leads out of the folder.
    """
    names = [_to_parts(spelling) for spelling in spellings(name)]
    if any(".." in parts for parts in names):
        raise BrokenItem("a picture outside the folder of pictures")
    for start in range(max(map(len, names))):
        for parts in names:
            path = folder.joinpath(*parts[start:])
            # Names may be too long for a file, or hold what no name may.
            with suppress(OSError, ValueError):
                if path.is_file():
                    return path
    raise BrokenItem("a picture that is missing")


def spellings(name: str) -> Iterator[str]:
    """A name, and how else the same name is written: as is, as in a URL, as zips garble it.

    What `printable_name` made of a name that is no UTF-8 becomes that name again.
    """
    written = [name.replace("\\", "/")]
    if "\\x" in name:
        written.append(os.fsdecode(_BYTE.sub(_to_byte, name.encode("utf-8", "replace"))))
    if _URL.match(name):
        with suppress(ValueError):
            written.append(urlsplit(name).path)
    written += [unquote(spelling) for spelling in written if "%" in spelling]
    written += [_UPLOAD.sub(r"\1", spelling) for spelling in written if _UPLOAD.match(spelling)]
    forms = [normalize(form, w) for w in written for form in ("NFC", "NFD")]
    yield from dict.fromkeys([*written, *forms, *_garbled(forms)])


def _to_parts(name: str) -> tuple[str, ...]:
    """Folders and file of a name, without root or drive."""
    return PurePosixPath(_DRIVE.sub("", name).lstrip("/")).parts


def fold(name: str) -> str:
    """Name of a file by which others are compared, in whatever form of Unicode they are."""
    return normalize("NFC", PurePosixPath(name.replace("\\", "/")).name)


def _garbled(names: list[str]) -> Iterator[str]:
    for name in names:
        for page in () if name.isascii() else _CODE_PAGES:
            with suppress(UnicodeError):
                yield name.encode(page).decode("cp437")


def _to_byte(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode())
