"""`groma eval rec-mean`: results on several sets of REC as one table, with their mean (paper 5.2).

Heavy imports wait until it runs.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groma.cli.terminal import show
from groma.foreign import load_json
from groma.types import GromaError

_SAME = ("model", "quantization", "dtype", "protocol")
"""What results must have in common, for their mean to be that of one model."""
_ENDS = ("value", "low", "high")
_FIELDS = {*_ENDS, "cases", "published"}

_Report = Mapping[str, Any]  # what `groma eval rec --report FILE.md` writes to FILE.json


def add(benchmarks: Any) -> None:
    """Add the command to the parser."""
    parser = benchmarks.add_parser(
        "rec-mean", help="results of rec on several sets, and their mean"
    )
    parser.add_argument(
        "reports",
        type=Path,
        nargs="+",
        metavar="FILE.json",
        help="what `groma eval rec --report FILE.md` wrote beside FILE.md, one per set",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> None:
    """Put results together."""
    reports = [_read_report(path) for path in options.reports]
    _check_together(reports, options.reports)
    show(_summarise(reports) if options.json else _to_text(reports))


def _read_report(path: Path) -> _Report:
    """Read one result, if it is one of REC."""
    try:
        report = load_json(path.read_bytes())
        figure, settings = report["figures"]["accuracy"], report["run"]
        is_rec = settings["benchmark"] == "rec" and figure["value"] is not None
        is_rec = is_rec and figure.keys() >= _FIELDS and "fingerprint" in settings
    except (ValueError, TypeError, KeyError, AttributeError):
        is_rec = False
    if not is_rec:
        raise GromaError(
            f"{path} is no result of REC; give the JSON that `groma eval rec --report` writes."
        )
    return report


def _check_together(reports: Sequence[_Report], paths: Sequence[Path]) -> None:
    """Make sure that results are one model's on different questions."""
    first = reports[0]["run"]
    known: dict[str, Path] = {}
    for report, path in zip(reports, paths, strict=True):
        for name in _SAME:
            if report["run"].get(name) != first.get(name):
                raise GromaError(
                    f"{path} and {paths[0]} are of different runs: {name} is "
                    f"{report['run'].get(name)} and {first.get(name)}."
                )
        other = known.setdefault(report["run"]["fingerprint"], path)
        if other is not path:
            raise GromaError(f"{path} and {other} are about the same questions; give one of them.")


def _summarise(reports: Sequence[_Report]) -> dict[str, Any]:
    """JSON-ready: the accuracy on every set and the mean of them, in percent."""
    sets: list[dict[str, Any]] = [
        {"name": str(each.get("set") or each["run"]["annotations"]), **each["figures"]["accuracy"]}
        for each in reports
    ]
    mean = {end: sum(line[end] for line in sets) / len(sets) for end in _ENDS}
    counts = {"cases": sum(line["cases"] for line in sets), "published": _published_mean(reports)}
    return {
        "run": {name: reports[0]["run"].get(name) for name in _SAME},
        "sets": sets,
        "mean": {"name": "mean", **mean, **counts},
    }


def _to_text(reports: Sequence[_Report]) -> str:
    """A table in Markdown, and what to know of it."""
    from groma.eval.harness.benchmark_result import NONE, markdown

    found = _summarise(reports)
    lines = [*found["sets"], found["mean"]]
    models = list(dict.fromkeys(model for line in lines for model in line["published"]))
    rows = []
    for line in lines:
        own = (
            f"{line['value']:.2f}",
            f"{line['low']:.2f} … {line['high']:.2f}",
            f"{line['cases']:,}",
        )
        known = line["published"]
        reached = [f"{known[m]['value']:.2f}" if m in known else NONE for m in models]
        rows.append([line["name"], *own, *reached])
    model, quantization = found["run"]["model"], found["run"]["quantization"]
    told = model if quantization in (None, "none") else f"{model} ({quantization})"
    head = ["rec, accuracy", "value", "95 % interval", "cases", *models]
    return "\n\n".join([f"{told}: REC", markdown(head, rows), *_notes(found, models)])


def _notes(found: Mapping[str, Any], models: Sequence[str]) -> list[str]:
    lines = [*found["sets"], found["mean"]]
    sources = {
        model: line["published"][model]["source"]
        for model in models
        for line in lines
        if model in line["published"]
    }
    notes = [
        "The interval of the mean is the mean of the intervals: the widest it can be, because "
        "sets share pictures."
    ]
    if not found["mean"]["published"]:
        notes.append("The published mean is over all eight sets; it is not shown beside fewer.")
    named = " ".join(f"{model}: {source}." for model, source in sources.items())
    return [*notes, named] if named else notes


def _published_mean(reports: Sequence[_Report]) -> dict[str, Any]:
    """Means that others have published, if these are results on the same eight sets."""
    from groma.eval.harness.published_figures import REC_MEAN, SETS

    wanted = {name for name, each in SETS.items() if each.benchmark == "rec"}
    if {report.get("set") for report in reports} != wanted or len(reports) != len(wanted):
        return {}
    return {e.model: {"value": e.figures["mean"], "source": e.source} for e in REC_MEAN}
