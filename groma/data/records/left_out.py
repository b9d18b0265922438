"""Lists of pictures that training data leaves out, such as those of test sets.

A picture is in many data sets: COCO's are in RefCOCO's, LVIS and Visual Genome. Lists hold them by
`picture_key`, and of Visual Genome, which has names of its own, `image_data.json` knows which
picture of COCO each one is.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from groma.data.records.derived_files import derive_lines
from groma.data.records.json_stream import decode, stream_elements
from groma.data.sources.items import BrokenItem, picture_key, refused
from groma.data.sources.refer import read_refs
from groma.foreign import decode_text, load_json, split_lines
from groma.types import GromaError

_NAMES = ("file_name", "filename", "coco_url", "image", "url")
"""Fields that may name the picture of an entry."""

_Rows = list[dict[str, str]]


def read_left_out(
    files: Iterable[Path], image_data: Path | None, cache: Path | None
) -> frozenset[str]:
    """Keys of all pictures in several lists.

    With `image_data` of Visual Genome, its pictures that are COCO's are left out with them. Raises
    `GromaError` if a file is missing or names no pictures.
    """
    keys = {row["key"] for file in files for row in _kept(file, "left-out", cache, list_pictures)}
    if keys and image_data is not None:
        twins = _kept(image_data, "coco-pictures", cache, _list_twins)
        keys |= {row["key"] for row in twins if row["coco"] in keys}
    return frozenset(keys)


def list_pictures(path: Path) -> _Rows:
    """The pictures that a file names; raises `GromaError` if it names none.

    Of `refs(….p)`, or the same as JSON, those of all splits but train; of a COCO-like file its
    `images`; of JSON or JSON lines names, numbers, or objects with the name of a picture; of any
    other file a name or number per line.
    """
    try:
        with refused():
            rows = [{"key": picture_key(name)} for entry in _entries(path) for name in _name(entry)]
    except BrokenItem as error:
        raise GromaError(f"{path} is no list of pictures: {error}.") from error
    if not rows:
        raise GromaError(f"{path} names no picture that is to be left out.")
    return rows


def _list_twins(path: Path) -> _Rows:
    """Pictures of Visual Genome that are COCO's, with the keys of both."""
    try:
        with refused():
            return [
                {"key": picture_key(item["url"]), "coco": _coco_key(item["coco_id"])}
                for item in load_json(path.read_bytes())
                if item["coco_id"] is not None
            ]
    except BrokenItem as error:
        raise GromaError(f"{path} is no `image_data.json` of Visual Genome: {error}.") from error


def _kept(
    file: Path, purpose: str, cache: Path | None, read: Callable[[Path], _Rows]
) -> Iterator[dict[str, str]]:
    """Rows read from a file once, and from then on from where they were kept."""
    try:
        kept = derive_lines([file], purpose, cache, lambda: read(file))
    except GromaError as error:
        raise GromaError(f"Pictures cannot be left out: {error}") from error
    with kept.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def _entries(path: Path) -> Iterable[Any]:
    """What a file lists."""
    if path.suffix == ".p":
        return read_refs(path)
    if path.suffix == ".jsonl":
        return map(load_json, _lines(path))
    if path.suffix != ".json":
        return _lines(path)
    return (decode(e.text) for e in stream_elements(path) if e.table in ("", "images"))


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in split_lines(decode_text(path.read_bytes()))]


def _name(entry: Any) -> Iterator[str]:
    """Names of the picture that an entry means; a number may be COCO's or a name."""
    if not isinstance(entry, Mapping):
        yield str(entry)
        if str(entry).isdecimal():
            yield _coco_key(entry)
    elif "ref_id" in entry:
        if entry["split"] != "train":
            yield _coco_key(entry["image_id"])
    else:
        names = [entry[field] for field in _NAMES if field in entry]
        if not names:
            raise BrokenItem("an entry without the name of a picture")
        yield names[0]


def _coco_key(number: Any) -> str:
    """What COCO calls a picture."""
    return f"{int(number):012}"
