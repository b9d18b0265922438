"""Results of REC on several sets, put together; their mean stands beside the published ones."""

import json

import pytest

from groma.cli import main as cli
from groma.eval.harness.published_figures import SETS

REC_SETS = tuple(name for name, each in SETS.items() if each.benchmark == "rec")


def report(name, value, **run):
    """What `groma eval rec --report` writes of one set."""
    settings = {
        "benchmark": "rec",
        "annotations": f"{name}.json",
        "fingerprint": name,
        "model": "mine",
        "quantization": "4bit",
        "dtype": "auto",
        "protocol": {"wording": "tags", "max_new_tokens": 3},
    }
    published = {
        each.model: {"value": each.figures["accuracy"], "source": each.source}
        for each in (SETS[name].results if name in SETS else ())
    }
    accuracy = {"value": value, "low": value - 1, "high": value + 2, "cases": 100}
    accuracy |= {"label": "accuracy", "difference": None, "published": published}
    known = name if name in SETS else None
    return {"run": settings | run, "set": known, "figures": {"accuracy": accuracy}}


@pytest.fixture
def write(tmp_path):
    def put(*reports):
        paths = []
        for number, data in enumerate(reports):
            paths.append(str(tmp_path / f"{number}.json"))
            (tmp_path / f"{number}.json").write_text(json.dumps(data))
        return paths

    return put


def mean_of(paths, capsys):
    assert cli.main(["eval", "rec-mean", *paths, "--json"]) == 0
    return json.loads(capsys.readouterr().out)["mean"]


def test_the_mean_of_all_sets_stands_beside_the_published_means(write, capsys):
    paths = write(*(report(name, 80.0 + i) for i, name in enumerate(REC_SETS)))
    found = mean_of(paths, capsys)
    assert (found["value"], found["low"], found["high"]) == (83.5, 82.5, 85.5)
    assert found["cases"] == 800
    values = {model: each["value"] for model, each in found["published"].items()}
    assert values == {"Groma-7B": 86.52, "Qwen-VL": 85.83, "Ferret-7B": 83.91}
    assert cli.main(["eval", "rec-mean", *paths]) == 0
    text = capsys.readouterr().out
    assert text.startswith("mine (4bit): REC\n")
    rows = [line.strip("| \n").split("|") for line in text.splitlines() if line.startswith("|")]
    assert [row[0].strip() for row in rows[2:]] == [*REC_SETS, "mean"]
    cells = dict(zip((c.strip() for c in rows[0]), (c.strip() for c in rows[-1]), strict=True))
    assert cells["value"] == "83.50" and cells["95 % interval"] == "82.50 … 85.50"
    assert (cells["Groma-7B"], cells["Qwen-VL"], cells["Ferret-v2-7B"]) == ("86.52", "85.83", "-")
    assert "over all eight sets" not in text


def test_the_mean_of_fewer_sets_stands_alone(write, capsys):
    reports = [report(name, 80.0) for name in (*REC_SETS[:-1], "mine")]
    for paths in (write(*reports), write(*reports[:1])):
        assert mean_of(paths, capsys)["published"] == {}
    assert cli.main(["eval", "rec-mean", *write(*reports)]) == 0
    text = capsys.readouterr().out
    assert "| mine.json " in text
    assert "over all eight sets" in text


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (report("refcoco-testA", 1.0, model="other"), "model is other and mine"),
        (report("refcoco-testA", 1.0, quantization=None), "quantization is None and 4bit"),
        (report("refcoco-testA", 1.0, protocol={}), "different runs: protocol"),
        (report("refcoco-val", 1.0), "about the same questions"),
        (report("refcoco-testA", 1.0, benchmark="gcg"), "is no result of REC"),
        (report("refcoco-testA", 1.0) | {"figures": {}}, "is no result of REC"),
        ({"run": []}, "is no result of REC"),
        ([], "is no result of REC"),
    ],
)
def test_what_does_not_belong_together_is_refused(write, capsys, other, message):
    paths = write(report("refcoco-val", 80.0), other)
    assert cli.main(["eval", "rec-mean", *paths]) == 2
    assert message in capsys.readouterr().err
