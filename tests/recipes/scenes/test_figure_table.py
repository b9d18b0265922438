import pytest

from groma.eval.harness.benchmark_result import markdown
from groma.eval.statistics.intervals import _NOTHING, Estimate, proportion
from recipes.scenes.evaluation.figure_table import Row, Section, section_table


@pytest.mark.parametrize(
    ("right", "target", "met"), [(9, 0.9, True), (8, 0.9, False), (8, None, None)]
)
def test_targets(right, target, met):
    assert Row("key", "label", proportion(right, 10), target).is_met is met


def test_no_cases_neither_reach_nor_miss_a_target():
    assert Row("key", "label", _NOTHING, 0.9).is_met is None


def test_a_section_as_markdown():
    rows = (
        Row("a", "first", Estimate(0.5, 0.25, 0.75, 1234), 0.4),
        Row("b", "second one", Estimate(0.1, 0.0, 0.2, 5), 0.4),
        Row("c", "third", _NOTHING),
    )
    assert section_table(Section("Title", rows)).splitlines() == [
        "| Title      | value | 95 % interval | cases | target |         |",
        "| ---------- | ----: | ------------: | ----: | -----: | ------: |",
        "| first      | 0.500 | 0.250 … 0.750 | 1,234 | ≥ 0.40 | reached |",
        "| second one | 0.100 | 0.000 … 0.200 |     5 | ≥ 0.40 |  missed |",
        "| third      |     - |             - |     0 |      - |         |",
    ]


def test_no_column_of_targets_without_targets():
    table = section_table(Section("Title", (Row("a", "first", _NOTHING),)))
    assert "target" not in table


def test_markdown_has_as_many_cells_in_every_line():
    lines = markdown(["a", "b"], [["long cell", "1"], ["x", "22"]]).splitlines()
    assert {line.count("|") for line in lines} == {3}
    assert len({len(line) for line in lines}) == 1
