"""Results as tables that read well in a terminal and in Markdown alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from groma.eval.statistics.intervals import Estimate

NONE = "-"


@dataclass(frozen=True, slots=True)
class Row:
    """One measured figure.

    Attributes:
        key: its name in JSON.
        label: its name for people.
        estimate: what was measured.
        target: what it should reach, if that was said.
    """

    key: str
    label: str
    estimate: Estimate
    target: float | None = None

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


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with columns of even width, the first to the left, others to the right."""
    columns = list(zip(head, *rows, strict=True))
    widths = [max(3, *(len(cell) for cell in column)) for column in columns]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [
        [cell.ljust(widths[0]) if i == 0 else cell.rjust(widths[i]) for i, cell in enumerate(cells)]
        for cells in (head, rule, *rows)
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _verdict(row: Row) -> str:
    return "" if row.is_met is None else "reached" if row.is_met else "missed"
