"""The result of a benchmark: our figures beside published ones, as a table and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groma.eval.harness.benchmark import Score
from groma.eval.harness.benchmark_run import RunSettings
from groma.eval.harness.published_figures import SETS, Published
from groma.eval.statistics.intervals import Estimate, Figure

NONE = "-"  # what stands in a table where there is no figure


@dataclass(frozen=True)
class _Line:
    """One figure."""

    figure: Figure  # what it is called
    estimate: Estimate  # what was measured, in the scale of published figures
    difference: Estimate | None = None  # how much more that is than another run's, or None


@dataclass(frozen=True)
class Result:
    """Everything there is to tell about a run."""

    settings: RunSettings  # how its answers were made
    lines: tuple[_Line, ...]  # its figures
    notes: tuple[str, ...]  # sentences to read with them
    # The set that the figures are of, a key of `SETS`, where others have published some.
    known: str | None = None
    compared: RunSettings | None = None  # how the answers were made that differences are to

    @property
    def published(self) -> tuple[Published, ...]:
        """What others reach."""
        return SETS[self.known].results if self.known else ()

    def to_text(self) -> str:
        """A title, a table and the notes, in Markdown."""
        head = [self.settings.benchmark, "value", "95 % interval", "cases"]
        if self.compared:
            head += ["difference", "95 % interval"]
        head += [each.model for each in self.published]
        table = markdown(head, [self._cells(line) for line in self.lines])
        return "\n\n".join([self._title(), table, *self._sentences()])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; figures in the scale of published ones."""
        return {
            "run": self.settings.to_dict(),
            "compared": self.compared.to_dict() if self.compared else None,
            "set": self.known,
            "figures": {line.figure.key: self._fields(line) for line in self.lines},
            "notes": list(self.notes),
        }

    def save(self, path: Path) -> None:
        """Write the table as Markdown, and beside it the JSON."""
        path.write_text(self.to_text() + "\n", encoding="utf-8")
        text = json.dumps(self.to_dict(), indent=2, ensure_ascii=False)
        path.with_suffix(".json").write_text(text + "\n", encoding="utf-8")

    def _title(self) -> str:
        title = f"{_name(self.settings)} on {self.settings.annotations}"
        if self.settings.limit is not None:
            title += f", at most {self.settings.limit:,} cases (seed {self.settings.seed})"
        return f"{title}, less {_name(self.compared)}" if self.compared else title

    def _sentences(self) -> list[str]:
        sources = [f"{each.model}: {each.source}." for each in self.published]
        return [*self._protocols(), *self.notes, *([" ".join(sources)] if sources else [])]

    def _protocols(self) -> list[str]:
        """How answers were made, if that is known; of proposals only what ranks them."""
        if self.settings.benchmark == "detection":
            return [
                f"{_name(run)} ranks by `{run.protocol.objectness}` objectness."
                for run in (self.settings, self.compared)
                if run and run.protocol
            ]
        own = self.settings.protocol
        other = self.compared.protocol if self.compared else own
        told = [f"Protocol: {own.describe()}."] if own else []
        if self.compared and other and other != own:
            told.append(f"Protocol of {_name(self.compared)}: {other.describe()}.")
        return told

    def _cells(self, line: _Line) -> list[str]:
        cells = [line.figure.label, *_format(line.estimate), f"{line.figure.cases:,}"]
        if self.compared:
            cells += _format(line.difference, sign="+")
        reached = [each.figures.get(line.figure.key) for each in self.published]
        return cells + [NONE if value is None else f"{value:.2f}" for value in reached]

    def _fields(self, line: _Line) -> dict[str, Any]:
        difference = line.difference.to_dict() if line.difference else None
        reached = {
            each.model: {"value": each.figures[line.figure.key], "source": each.source}
            for each in self.published
            if line.figure.key in each.figures
        }
        fields = {"label": line.figure.label, **line.estimate.to_dict()}
        return {**fields, "difference": difference, "published": reached}


def make_lines(score: Score, other: Score | None = None) -> tuple[_Line, ...]:
    """Estimate every figure, and how much it differs from another run's on the same cases."""
    lines = []
    others: Sequence[Any] = other.measures if other else [None] * len(score.measures)
    for measure, second in zip(score.measures, others, strict=True):
        estimates = measure.estimates()
        differences = measure.differences(second) if second else {}
        for figure in measure.figures:
            difference = differences.get(figure.key)
            lines.append(
                _Line(
                    figure,
                    _scale(estimates[figure.key], figure.scale),
                    _scale(difference, figure.scale) if difference else None,
                )
            )
    return tuple(lines)


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


def _scale(estimate: Estimate, scale: float) -> Estimate:
    ends = (estimate.value, estimate.low, estimate.high)
    value, low, high = (None if end is None else end * scale for end in ends)
    return Estimate(value, low, high, estimate.cases)


def _format(estimate: Estimate | None, sign: str = "") -> list[str]:
    if estimate is None or estimate.value is None:
        return [NONE, NONE]
    value, low, high = (
        format(end, f"{sign}.2f") for end in (estimate.value, estimate.low, estimate.high)
    )
    return [value, f"{low} … {high}"]


def _name(settings: RunSettings) -> str:
    quantization = settings.quantization
    return (
        settings.model if quantization in (None, "none") else f"{settings.model} ({quantization})"
    )
