import pytest

from groma.run_journal import RunJournal
from groma.types import GromaError

HEADER = {"model": "a", "seed": 0}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.jsonl"


def test_what_is_appended_is_read(path):
    file = RunJournal.resume(path, HEADER)
    file.append({"index": 3, "text": "grüße\n"})
    assert RunJournal.read(path).entries == file.entries == [{"index": 3, "text": "grüße\n"}]
    assert RunJournal.read(path).settings == HEADER


def test_resuming_goes_on(path):
    RunJournal.resume(path, HEADER).append({"index": 0})
    again = RunJournal.resume(path, HEADER)
    assert again.entries == [{"index": 0}]
    again.append({"index": 1})
    assert RunJournal.read(path).entries == [{"index": 0}, {"index": 1}]


def test_a_line_cut_off_by_a_kill_is_dropped(path):
    file = RunJournal.resume(path, HEADER)
    file.append({"index": 0})
    file.append({"index": 1})
    path.write_bytes(path.read_bytes()[:-4])
    assert RunJournal.read(path).entries == [{"index": 0}]
    RunJournal.resume(path, HEADER).append({"index": 2})
    assert RunJournal.read(path).entries == [{"index": 0}, {"index": 2}]


def test_answers_of_another_run_are_not_mixed_in(path):
    RunJournal.resume(path, HEADER).append({"index": 0})
    before = path.read_bytes()
    with pytest.raises(GromaError, match="model was a, and now is b"):
        RunJournal.resume(path, HEADER | {"model": "b"})
    with pytest.raises(GromaError, match="size was None, and now is 4"):
        RunJournal.resume(path, HEADER | {"size": 4})
    assert path.read_bytes() == before


@pytest.mark.parametrize("begun", ["", '{"run": {"model": "b"}}\n', '{"run": {"mod'])
def test_a_file_without_cases_is_begun_anew(path, begun):
    path.write_text(begun)
    RunJournal.resume(path, HEADER).append({"index": 0})
    assert RunJournal.read(path).settings == HEADER


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds nothing"),
        ('{"index": 0}\n{"index": 1}\n', "holds nothing"),
        ('{"run": {}}\nnonsense\n{"index": 1}\n', "Line 2 of .* is not JSON"),
        ('{"run": {}}\n[1]\n', "Line 2 of .* no JSON object"),
    ],
)
def test_damaged_files_are_refused(path, text, message):
    path.write_text(text)
    with pytest.raises(GromaError, match=message):
        RunJournal.read(path)


def test_a_foreign_file_is_never_overwritten(path):
    for text in ("a letter\n", '{"precious": 1}\n', "a letter without an end"):
        path.write_text(text)
        with pytest.raises(GromaError):
            RunJournal.resume(path, HEADER)
        assert path.read_text() == text
