"""Metrics of a run, as its log has them."""

import json
from pathlib import Path

LOG_NAME = "log.jsonl"
PLOT_NAME = "curves.png"


def read_log(folder: Path) -> list[dict[str, float]]:
    """Every line of a run's log; none if there is no log."""
    path = folder / LOG_NAME
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
