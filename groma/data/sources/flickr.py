"""Flickr30k Entities as its authors publish it: marked sentences and XML boxes (paper Tab. 1)."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from groma.data.records.derived_files import derive_lines
from groma.data.records.indexed_files import JsonItems
from groma.data.sample import QA, GroundedSample, Phrase, Piece, join_pieces
from groma.data.sources.items import (
    BrokenItem,
    Samples,
    box_from_xyxy,
    picture_size,
    read_parts,
    refused,
    words,
)
from groma.foreign import split_lines
from groma.types import Box, GromaError

_PHRASE = re.compile(r"\[/EN#(\d+)(?:/[^\s\]]+)?\s+([^\]]+)\]")
_SPACE_BEFORE = re.compile(r"\s+([.,;:!?)]|'s\b|n't\b)")


def open_flickr30k(annotations: Path, cache: Path | None, *, split: Path | None = None) -> Samples:
    """Grounded captions; a sample is one of the about five sentences of a picture.

    From a folder with `Sentences` and `Annotations`; `split` is a file such as `train.txt` with a
    picture's id per line, None takes all. Raises `GromaError` if there are no such folders, or
    nothing in them.
    """
    for name in ("Sentences", "Annotations"):
        if not (annotations / name).is_dir():
            raise GromaError(f"{annotations} has no folder {name}: it is no Flickr30k Entities.")
    sources = [annotations] if split is None else [annotations, split]
    lines = derive_lines(sources, "sentences", cache, lambda: _join_files(annotations, split))
    items = JsonItems(lines, cache, "sentences")
    if not len(items):
        raise GromaError(
            f"{annotations / 'Sentences'} holds no sentence of the pictures asked for."
        )
    return Samples(items, _parse, "conversation")


def _join_files(folder: Path, split: Path | None) -> Iterator[dict[str, Any]]:
    """Sentences and boxes of every picture, or `error` where its boxes cannot be read."""
    chosen = None if split is None else set(split.read_text(encoding="utf-8").split())
    for file in sorted((folder / "Sentences").glob("*.txt")):
        if chosen is None or file.stem in chosen:
            lines = split_lines(file.read_text(encoding="utf-8", errors="replace"))
            item = {"sentences": list(lines)}
            yield item | _read_boxes(folder / "Annotations" / f"{file.stem}.xml")


def _parse(item: Mapping[str, Any], lost: Counter[str]) -> GroundedSample:
    """One sentence; a phrase without a box that can be used stays plain words."""
    if "error" in item:
        raise BrokenItem(item["error"])
    size, sentence = picture_size(item), words(item["sentences"][0])
    read = partial(box_from_xyxy, size=size)
    boxes: list[Box] = []
    names: list[str] = []
    regions: dict[str, tuple[int, ...]] = {}
    pieces: list[Piece] = []
    at = 0
    for match in _PHRASE.finditer(sentence):
        chain, phrase = match[1], match[2].strip()
        if chain not in regions:
            found = read_parts(item["boxes"].get(chain, ()), read, lost, needed=False)
            regions[chain] = tuple(range(len(boxes), len(boxes) + len(found)))
            boxes += found
            names += [phrase] * len(found)
        grounded = Phrase(phrase, regions[chain]) if regions[chain] else phrase
        pieces += [_tidy(sentence[at : match.start()]), grounded]
        at = match.end()
    if not boxes:
        raise BrokenItem("no phrase with a box")
    answer = join_pieces([*pieces, _tidy(sentence[at:])])
    turn = QA((), answer, "grounded_caption")
    return GroundedSample(words(item["picture"]), size, tuple(boxes), tuple(names), (turn,))


def _tidy(text: str) -> str:
    """Text without the spaces that the sentences have before punctuation."""
    return _SPACE_BEFORE.sub(r"\1", text)


def _read_boxes(path: Path) -> dict[str, Any]:
    """Picture, size and boxes by entity, xyxy in pixels; the file counts pixels from 1."""
    try:
        with refused():
            root = ElementTree.parse(path).getroot()
            boxes: dict[str, list[list[float]]] = {}
            for thing in root.findall("object"):
                if (edges := thing.find("bndbox")) is not None:
                    x1, y1, x2, y2 = (
                        float(edges.findtext(edge, "nan"))
                        for edge in ("xmin", "ymin", "xmax", "ymax")
                    )
                    for name in thing.findall("name"):
                        boxes.setdefault(name.text or "", []).append([x1 - 1, y1 - 1, x2, y2])
            size = {side: int(root.findtext(f"size/{side}", "0")) for side in ("height", "width")}
            return {"picture": root.findtext("filename"), "boxes": boxes} | size
    except (OSError, ElementTree.ParseError, BrokenItem):
        return {"error": "boxes that cannot be read"}
