"""Metrics of a run, as its log has them."""

from contextlib import suppress
from pathlib import Path

from groma.foreign import load_json

LOG_NAME = "log.jsonl"
PLOT_NAME = "curves.png"


def read_log(folder: Path) -> list[dict[str, float]]:
    """Every whole line of a run's log; none if there is no log."""
    path = folder / LOG_NAME
    lines = path.read_bytes().split(b"\n") if path.exists() else []
    rows: list[dict[str, float]] = []
    for line in lines:
        # The end of a process may have cut one off.
        with suppress(ValueError):
            rows.append(load_json(line))
    return [row for row in rows if isinstance(row, dict) and "step" in row]
