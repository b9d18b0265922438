"""What a command prints: tables, JSON, and text that cannot command the terminal."""

import json
import logging
from collections.abc import Sequence
from typing import Any


def format_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows of text in aligned columns."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in [head, *rows]
    ]
    return "\n".join(line.rstrip() for line in lines)


def printable(text: str) -> str:
    """Text without the control characters that a terminal would obey."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)


def format_box(box: Sequence[float]) -> str:
    """A box for a table, in tenths of a pixel."""
    return ", ".join(f"{value:.1f}" for value in box)


def show(result: str | dict[str, Any]) -> None:
    """Print text as it is, and a dictionary as JSON."""
    text = result if isinstance(result, str) else json.dumps(result, indent=2, ensure_ascii=False)
    print(text)


def log_progress() -> None:
    """Let long runs say, on stderr, what they do."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s")
