"""The folder of a run: what became of every picture, and the files made of it."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from groma.atomic_file import replacing
from groma.foreign import clean_json
from groma.instruct.journal import Journal, read_lines
from groma.types import GromaError

JOURNAL = "journal.jsonl"
REVIEW = "review.jsonl"
ITEMS = "groma_instruct.json"
REFUSED = "refused.json"
COCO = "coco.json"
REPLIES = "replies"


def open_journal(folder: Path, settings: dict[str, Any]) -> Journal:
    """Begin a run, or go on with it.

    Raises:
        GromaError: if the folder holds a run with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return Journal(folder / JOURNAL, settings)


def write_items(folder: Path, keys: Iterable[str], entries: dict[str, dict[str, Any]]) -> None:
    """Write accepted items, as somebody may have reviewed them, and the list of refused pictures.

    Args:
        folder: of the run.
        keys: of all pictures, in the order of the file.
        entries: what became of them.
    """
    verdicts = read_verdicts(folder)
    items, refused = [], []
    for key in keys:
        entry = entries.get(key)
        if entry is None:
            continue
        verdict = verdicts.get(key, {})
        if entry["status"] == "accepted" and verdict.get("verdict") != "rejected":
            items.append((verdict.get("item") or entry["item"]) | {"id": len(items) + 1})
        else:
            reasons = ["It was rejected in review."] if verdict else entry["reasons"]
            refused.append({"key": key, "status": entry["status"], "reasons": reasons})
    write_json(folder / ITEMS, items)
    write_json(folder / REFUSED, refused)


def read_verdicts(folder: Path) -> dict[str, dict[str, Any]]:
    """What a review decided, by key.

    Raises:
        GromaError: if its file is damaged.
    """
    return {entry["key"]: entry for entry in read_lines(folder / REVIEW)[1:]}


def count_outcomes(entries: Iterable[dict[str, Any]]) -> tuple[dict[str, int], dict[str, int]]:
    """How many pictures ended how, and the most frequent reasons why not."""
    statuses: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for entry in entries:
        statuses[entry["status"]] += 1
        reasons.update(entry.get("reasons", ()))
    return dict(statuses), dict(reasons.most_common(10))


def write_json(path: Path, data: Any) -> None:
    """Write a file whole or not at all.

    Raises:
        GromaError: if the folder cannot be written.
    """
    with replacing(path) as file:
        file.write(clean_json(json.dumps(data, indent=1, ensure_ascii=False)).encode())


def read_settings(folder: Path) -> dict[str, Any]:
    """How the run in a folder was started.

    Raises:
        GromaError: if it holds none.
    """
    lines = read_lines(folder / JOURNAL)
    if not lines:
        raise GromaError(f"{folder} holds nothing that `groma instruct` made.")
    return lines[0]
