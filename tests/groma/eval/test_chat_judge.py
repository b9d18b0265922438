"""The judge is asked once per answer, whatever happens, and its points are counted."""

import json

import pytest

import groma
from groma.cli import evaluate
from groma.cli import main as cli
from groma.endpoint import EndpointError, UnusableEndpointError
from groma.eval.benchmarks.chat_judge import _RULES, ChatJudge, _judge_messages, _read_points
from groma.types import GromaError
from tests.groma.eval import benchmark_files as files

POINTS = {"conv": "8 6", "detail": "10, 5", "complex": "4 4"}


class FakeJudge:
    """Gives points by kind of question; some questions break it."""

    def __init__(self, broken=(), unreadable=()):
        self.broken, self.unreadable = broken, unreadable
        self.asked = []

    def connect(self, folder):
        self.folder = folder
        return self

    def __call__(self, messages):
        text = messages[1]["content"]
        self.asked.append(text)
        number = len(self.asked) - 1
        if number in self.broken:
            raise EndpointError("status 500")
        if number in self.unreadable:
            return "Both are fine."
        kind = next(kind for kind in POINTS if f"({kind})" in text)
        return f"{POINTS[kind]}\nBecause."


def open_benchmark(judge=None, rules=files.RULES, name="judge/1"):
    connect = judge.connect if judge else None
    sources = files.QUESTIONS, files.REFERENCES, files.CONTEXT
    return ChatJudge(*sources, rules, name, connect)


ANSWERS = {str(number): {"text": f"It is thing {number}."} for number in range(15)}
HEADER = {"model": "x"}


def values(score):
    (measure,) = score.measures
    return dict(zip((f.key for f in measure.figures), measure.values(), strict=True))


def test_points_are_those_over_the_reference(tmp_path):
    judge = FakeJudge()
    benchmark = open_benchmark(judge)
    path = tmp_path / "answers.jsonl"
    judged = benchmark.complete(benchmark.cases, ANSWERS, HEADER, path)
    score = benchmark.score(benchmark.cases, judged)
    expected = {"kind_conv": 6 / 8, "kind_detail": 5 / 10, "kind_complex": 1, "all": 15 / 22}
    assert values(score) == pytest.approx(expected, abs=1e-12)
    assert score.notes == ["Judged by judge/1."]
    assert judge.folder == tmp_path / "answers.judge-1"
    estimates = score.measures[0].estimates()
    assert estimates["kind_conv"].cases == 5
    assert estimates["kind_conv"].low == estimates["kind_conv"].high == pytest.approx(0.75)
    assert estimates["all"].low < 15 / 22 < estimates["all"].high


def test_no_answer_is_judged_twice(tmp_path):
    path = tmp_path / "answers.jsonl"
    first = FakeJudge(broken=(2, 7), unreadable=(4,))
    benchmark = open_benchmark(first)
    judged = benchmark.complete(benchmark.cases, ANSWERS, HEADER, path)
    notes = benchmark.score(benchmark.cases, judged).notes
    assert "2 of 15 answers have no judgement." in notes
    assert "1 of 15 answers have one without two scores." in notes
    second = FakeJudge()
    again = open_benchmark(second)
    judged = again.complete(again.cases, ANSWERS, HEADER, path)
    assert len(second.asked) == 2
    assert set(first.asked[i] for i in (2, 7)) == set(second.asked)
    offline = open_benchmark()
    assert offline.complete(offline.cases, ANSWERS, HEADER, path) == judged
    assert offline.score(offline.cases, judged).notes[1:] == notes[2:]


def test_judgements_of_other_answers_or_rules_are_not_taken(tmp_path):
    path = tmp_path / "answers.jsonl"
    benchmark = open_benchmark(FakeJudge())
    benchmark.complete(benchmark.cases, ANSWERS, HEADER, path)
    with pytest.raises(GromaError, match="of another run: answers"):
        benchmark.complete(benchmark.cases, ANSWERS, {"model": "y"}, path)
    other = open_benchmark(FakeJudge(), rules=None)
    with pytest.raises(GromaError, match="of another run: rules"):
        other.complete(other.cases, ANSWERS, HEADER, path)


def test_a_judge_that_is_not_there_ends_the_run(tmp_path):
    def refuse(_):
        raise UnusableEndpointError("The key is not set.")

    judge = FakeJudge()
    judge.connect = lambda _: refuse
    benchmark = open_benchmark(judge)
    with pytest.raises(UnusableEndpointError):
        benchmark.complete(benchmark.cases, ANSWERS, HEADER, tmp_path / "a.jsonl")
    offline = open_benchmark()
    with pytest.raises(GromaError, match="15 answers are not judged yet"):
        offline.complete(offline.cases, ANSWERS, HEADER, tmp_path / "a.jsonl")
    with pytest.raises(GromaError, match="say --save"):
        offline.complete(offline.cases, ANSWERS, HEADER, None)


def test_what_the_judge_reads():
    case = open_benchmark().cases[4]
    system, user = _judge_messages(case, "MINE", {"role": "Assistant", "prompt": "DECIDE"})
    assert (system["role"], user["role"]) == ("system", "user")
    parts = [
        "[Context]",
        "A picture of",
        "[Question]",
        case.text,
        "[Assistant 1]",
        case.reference,
        "[End of Assistant 1]",
        "[Assistant 2]",
        "MINE",
        "[End of Assistant 2]",
        "[System]",
        "DECIDE",
    ]
    places = [user["content"].index(part) for part in parts]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("judgement", "points"),
    [
        ("8 9\nwhy", (8, 9)),
        ("7.5, 6", (7.5, 6)),
        *[(text, None) for text in ("", "8", "8 9 10", "eight nine", "-1 3", "0 4", "\n8 9")],
    ],
)
def test_points(judgement, points):
    assert _read_points(judgement) == points


def test_files_that_do_not_belong_together_are_refused(tmp_path):
    lines = files.REFERENCES.read_text().splitlines(keepends=True)
    references = tmp_path / "references.jsonl"
    references.write_text("".join(lines[1:]))
    with pytest.raises(GromaError, match="no answer to question 0"):
        ChatJudge(files.QUESTIONS, references, files.CONTEXT, None, "x", None)
    context = tmp_path / "context.jsonl"
    context.write_text("\n")
    with pytest.raises(GromaError, match="says nothing about"):
        ChatJudge(files.QUESTIONS, files.REFERENCES, context, None, "x", None)
    rules = tmp_path / "rules.json"
    rules.write_text('{"conv": {"role": "A", "prompt": "B"}}')
    with pytest.raises(GromaError, match=r"rules\.json is no file of this benchmark"):
        ChatJudge(files.QUESTIONS, files.REFERENCES, files.CONTEXT, rules, "x", None)
    assert set(_RULES) == {"default"}


def test_from_the_model_to_the_table(tmp_path, capsys, monkeypatch):
    judge = FakeJudge()

    class Endpoint:
        def __init__(self, url, model, *_, **__):
            assert (url, model) == ("http://localhost:1/v1", "judge")
            self.complete = judge

    monkeypatch.setattr(evaluate, "load_model", lambda _: groma.load("groma-mini", device="cpu"))
    monkeypatch.setattr("groma.endpoint.ChatEndpoint", Endpoint)
    save = tmp_path / "answers.jsonl"
    arguments = [
        *("eval", "chat-judge", "--annotations", files.QUESTIONS, "--rules", files.RULES),
        *("--references", files.REFERENCES, "--context", files.CONTEXT, "--judge-model", "judge"),
    ]
    asked = ["--images", files.IMAGES, "--max-new-tokens", 4, "--wording", "words"]
    url = ["--judge-url", "http://localhost:1/v1"]
    assert cli.main([*map(str, [*arguments, *asked, *url, "--save", save, "--json"])]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["figures"]["all"]["value"] == pytest.approx(100 * 15 / 22)
    assert found["figures"]["all"]["published"]["Ferret-7B"]["value"] == 86.7
    assert cli.main([*map(str, [*arguments, "--predictions", save, "--json"])]) == 0
    assert json.loads(capsys.readouterr().out) == found
    assert len(judge.asked) == 15
