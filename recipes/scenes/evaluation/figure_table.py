"""Figures as tables, beside what they should reach."""

from dataclasses import dataclass
from typing import Any

from groma.eval.harness.benchmark_result import NONE, markdown
from groma.eval.statistics.intervals import Estimate


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure."""

    key: str  # its name in JSON
    label: str  # its name for people
    estimate: Estimate  # what was measured
    target: float | None = None  # what it should reach, if that was said

    @property
    def is_met(self) -> bool | None:
        """Whether the target is reached; None without target or cases."""
        if self.target is None or self.estimate.value is None:
            return None
        return self.estimate.value >= self.target

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, without the key."""
        return {"label": self.label, **self.estimate.to_dict(), "target": self.target}


@dataclass(frozen=True, slots=True)
class Section:
    """Rows that belong together."""

    title: str
    rows: tuple[Row, ...]


def section_table(section: Section) -> str:
    """One section as a Markdown table with value, interval, cases and target."""
    has_targets = any(row.target is not None for row in section.rows)
    head = [section.title, "value", "95 % interval", "cases", *["target", ""] * has_targets]
    # Two columns per target: the figure, and whether it was reached.
    rows = []
    for row in section.rows:
        cells = [row.label, *format_estimate(row.estimate)]
        if has_targets:
            cells += [NONE if row.target is None else f"≥ {row.target:.2f}", _verdict(row)]
        rows.append(cells)
    return markdown(head, rows)


def format_estimate(estimate: Estimate) -> list[str]:
    """Value, interval and number of cases as text."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return [NONE, NONE, "0"]
    interval = f"{estimate.low:.3f} … {estimate.high:.3f}"
    return [f"{estimate.value:.3f}", interval, f"{estimate.cases:,}"]


def _verdict(row: Row) -> str:
    return "" if row.is_met is None else "reached" if row.is_met else "missed"
