"""GRIT-20m: captions from the web with boxes for their phrases (paper Tab. 1; arXiv 2306.14824).

It is published as Parquet files; the released data of Groma has a part of it as one JSON list.
"""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal

from groma.data.records.indexed_files import JsonItems
from groma.data.records.parquet_rows import ParquetRows
from groma.data.sample import QA, GroundedSample, Phrase
from groma.data.sources.items import Samples, box_from_xyxy, picture_size, read_parts, words
from groma.data.sources.spans import grounded_pieces, group_spans

_Task = Literal["rec", "caption"]
_COLUMNS = ("caption", "ref_exps", "key", "width", "height")


def open_grit(
    annotations: Path, cache: Path | None, *, task: _Task = "rec", turns: int = 5
) -> Samples:
    """Where a phrase's things are, or whole captions with their phrases grounded.

    From a folder of Parquet files or one of them, as published, or JSON. Raises `GromaError` if it
    is something else, or is Parquet and pyarrow is missing.
    """
    if annotations.is_dir() or annotations.suffix == ".parquet":
        records = ParquetRows(annotations, _COLUMNS, cache)
    else:
        records = JsonItems(annotations, cache)
    return Samples(records, partial(_parse, task=task), "conversation", turns)


def _parse(item: Mapping[str, Any], lost: Counter[str], task: _Task) -> GroundedSample:
    """One picture; several boxes may share a phrase.

    `ref_exps` holds first and last character, x1, y1, x2, y2 in [0, 1], and perhaps a score.
    Expressions whose box is broken are left out.
    """
    caption = item["caption"]
    found = read_parts(
        item["ref_exps"], lambda e: (box_from_xyxy(e[2:6]), int(e[0]), int(e[1])), lost
    )
    boxes = tuple(box for box, _, _ in found)
    spans = [(start, stop, region) for region, (_, start, stop) in enumerate(found)]
    answer, names = grounded_pieces(caption, spans, len(boxes))
    turns = (QA((), answer, "grounded_caption"),)
    if task == "rec":
        turns = tuple(
            QA((caption[start:stop],), (Phrase(caption[start:stop], tuple(regions)),), "rec")
            for (start, stop), regions in group_spans(caption, spans).items()
        )
    return GroundedSample(_picture(item), picture_size(item), boxes, names, turns)


def _picture(item: Mapping[str, Any]) -> str:
    """The file's name; the downloader of the data set calls it by its key, in folders."""
    for field in ("filename", "file_name"):
        if field in item:
            return words(item[field])
    key = words(item["key"])
    return f"{key[:5]}/{key}.jpg"
