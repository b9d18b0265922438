"""RefCOCO, RefCOCO+ and RefCOCOg as published: refs and instances (paper Tab. 1)."""

import pickle
import pickletools
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from groma.data.geometry import box_of
from groma.data.records.derived_files import derive_lines
from groma.data.records.indexed_files import JsonItems, JsonTables
from groma.data.sample import GroundedSample
from groma.data.sources.coco import RegionTask, region_turn
from groma.data.sources.items import BrokenItem, Samples, box_from_xywh, picture_size, words
from groma.foreign import load_json, to_identifier
from groma.types import GromaError

_IMAGE_FIELDS = ("file_name", "height", "width")
_UNREADABLE = (
    MemoryError,
    *(ValueError, EOFError, LookupError, TypeError, AttributeError, RecursionError),
    pickle.UnpicklingError,
)


def open_refer(
    annotations: Path,
    cache: Path | None,
    *,
    instances: Path,
    split: str = "train",
    task: RegionTask = "rec",
) -> Samples:
    """Expressions, each of which means one thing; a sample is one expression.

    From `refs(unc).p`, `refs(umd).p` and so on, or the same list as JSON, with `instances.json`
    beside it. Raises `GromaError` if a file is something else, or the split is empty.
    """
    lines = derive_lines(
        [annotations, instances],
        f"refs-{split}",
        cache,
        lambda: _join_refs(read_refs(annotations), JsonTables(instances, cache), split),
    )
    items = JsonItems(lines, cache, "sentences")
    if not len(items):
        raise GromaError(f"{annotations} has no refs of the split {split!r}.")
    return Samples(items, partial(_parse, task=task), "conversation")


def read_refs(path: Path) -> list[dict[str, Any]]:
    """The list of refs; of a pickle nothing but plain data is loaded.

    Raises `GromaError` if the file is something else.
    """
    try:
        with path.open("rb") as file:
            if path.suffix == ".json":
                refs = load_json(file.read())
            else:
                _check_memo(file, path.stat().st_size)
                refs = _PlainUnpickler(file).load()
    except _UNREADABLE as error:
        raise GromaError(f"{path} cannot be read as a list of refs: {error}") from error
    if not isinstance(refs, list) or not all(isinstance(ref, dict) for ref in refs):
        raise GromaError(f"{path} is no list of refs.")
    return refs


def _join_refs(
    refs: list[dict[str, Any]], instances: JsonTables, split: str
) -> Iterator[dict[str, Any]]:
    """The refs of a split with the box and the picture they mean, where there are such."""
    wanted = [ref for ref in refs if ref.get("split", split) == split]
    found = _find_things(instances, {to_identifier(ref.get("ann_id")) for ref in wanted} - {None})
    for ref in wanted:
        yield found.get(to_identifier(ref.get("ann_id")), {}) | {"sentences": _sentences(ref)}


def _find_things(instances: JsonTables, ids: set[Any]) -> dict[Any, dict[str, Any]]:
    """What instances say about annotations of these ids, as far as it can be read."""
    found: dict[Any, dict[str, Any]] = {}
    for index in range(len(instances)):
        with suppress(BrokenItem):
            image, annotations = instances[index]
            for annotation in annotations:
                if (number := to_identifier(annotation.get("id"))) in ids:
                    kind = to_identifier(annotation.get("category_id"))
                    found[number] = {k: image[k] for k in _IMAGE_FIELDS if k in image} | {
                        "bbox": box_of(annotation),
                        "name": instances.categories.get(kind, "object"),
                    }
    return found


def _sentences(ref: Mapping[str, Any]) -> list[str | None]:
    """The expressions of a ref, None for each that is no text."""
    entries = ref.get("sentences")
    texts = [
        entry.get("sent") if isinstance(entry, dict) else None
        for entry in (entries if isinstance(entries, list) else ())
    ]
    return [text if isinstance(text, str) else None for text in texts]


def _parse(item: Mapping[str, Any], _: Counter[str], task: RegionTask) -> GroundedSample:
    """One expression and the thing it means."""
    if "bbox" not in item:
        raise BrokenItem("a thing that the instances do not hold")
    size, expression = picture_size(item), words(item["sentences"][0])
    box = box_from_xywh(item["bbox"], size)
    turn = region_turn(expression, 0, task)
    return GroundedSample(words(item["file_name"]), size, (box,), (item["name"],), (turn,))


def _check_memo(file: BinaryIO, size: int) -> None:
    """Refuse a pickle that remembers more things than it has bytes: room is made for all."""
    for operation, place, _ in pickletools.genops(file):
        if operation.name.endswith("PUT") and isinstance(place, int) and place > size:
            raise ValueError(
                f"it puts something in place {place:,}, which a file of its size has not"
            )
    file.seek(0)


class _PlainUnpickler(pickle.Unpickler):
    """Loads lists, dictionaries, texts and numbers; a pickle that wants more is refused."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="latin1")

    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which plain data never does.")
