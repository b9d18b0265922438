"""All figures of an evaluation beside their targets, as tables and as JSON."""

from collections.abc import Mapping
from typing import Any

from groma.eval.harness.benchmark_result import markdown
from recipes.scenes.evaluation import figures
from recipes.scenes.evaluation.figure_table import (
    Row,
    Section,
    format_estimate,
    section_table,
)
from recipes.scenes.evaluation.figures import Records
from recipes.scenes.pictures.sprites import UNSEEN_STYLE

TARGETS: dict[str, float] = {
    "proposals_50": 0.98,
    "proposals_50_small": 0.95,
    "rec_name": 0.97,
    "rec_colour": 0.92,
    "rec_size": 0.92,
    "rec_position": 0.92,
    "rec_relation": 0.92,
    "rec_harder": 0.92,
    "find_all_f1": 0.95,
    "absent": 0.97,
    "names": 0.97,
    "description_precision": 0.95,
    "description_recall": 0.95,
    "count": 0.95,
}
"""Key of a figure -> what the embedded model should reach on styles it was trained on."""
UNSEEN_TARGETS: dict[str, float] = {"names": 0.7, "rec_name": 0.8}
"""The same on a style it has never seen."""

TABLES = {
    "Regions": figures.proposals,
    "Pointing": figures.pointing,
    "Naming marked regions": figures.naming,
    "Describing with regions": figures.describing,
    "Answering": figures.answering,
    "Conversations": figures.conversing,
}


def targets_of(scenes: str, style: str | None) -> dict[str, float]:
    """The targets for scenes of our own making in this style; others have none."""
    if scenes != "own":
        return {}
    return UNSEEN_TARGETS if style == UNSEEN_STYLE else TARGETS


def score(records: Records, targets: Mapping[str, float]) -> list[Section]:
    """Measure everything.

    Args:
        records: one per scene.
        targets: key of a figure -> what it should reach.
    """
    return [
        Section(
            title,
            tuple(
                Row(row.key, row.label, row.estimate, targets.get(row.key)) for row in rows(records)
            ),
        )
        for title, rows in TABLES.items()
    ]


def to_text(records: Records, targets: Mapping[str, float]) -> str:
    """All tables in Markdown; tables without a case are left out."""
    sections = [
        section
        for section in score(records, targets)
        if any(row.estimate.cases for row in section.rows)
    ]
    kinds = [
        [
            kind,
            *format_estimate(f["right"])[:2],
            *(format_estimate(f[x])[0] for x in ("said", "pointed")),
            f"{f['right'].cases:,}",
        ]
        for kind, f in figures.by_kind(records).items()
    ]
    head = ["By kind of question", "all right", "95 % interval", "words", "regions", "cases"]
    tables = [section_table(section) for section in sections]
    return "\n\n".join([*tables, *[markdown(head, kinds)] * bool(kinds)])


def to_dict(records: Records, targets: Mapping[str, float]) -> dict[str, Any]:
    """All figures, JSON-ready."""
    rows = [row for section in score(records, targets) for row in section.rows]
    return {
        "scenes": len(records),
        "figures": {row.key: row.to_dict() for row in rows},
        "kinds": {
            kind: {name: estimate.to_dict() for name, estimate in estimates.items()}
            for kind, estimates in figures.by_kind(records).items()
        },
    }
