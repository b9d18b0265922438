import json
from pathlib import Path

import pytest

from groma.cli import main as cli
from groma.data.sources.groma_instruct import format_item
from groma.finetune.run_folder import RunFolder
from groma.loop import run_log
from tests.groma.finetune import lora_case


@pytest.fixture(autouse=True)
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_log, "plot", lambda *_: None)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Base, data and pictures on disk, as arguments."""
    folder = tmp_path_factory.mktemp("given")
    base = lora_case.save_base(folder / "base")
    (folder / "pictures").mkdir()
    samples = lora_case.samples(folder / "pictures")
    items = [
        format_item(sample, number) | {"file_name": Path(sample.picture).name}
        for number, sample in enumerate(samples, start=1)
    ]
    (folder / "data.json").write_text(json.dumps(items))
    arguments = ["--model", base, "--data", folder / "data.json", "--images"]
    arguments += [folder / "pictures", "--device", "cpu", "--dtype", "float32"]
    return [str(argument) for argument in arguments]


def run(*arguments: str) -> int:
    return cli.main(["train", "lora", *arguments])


def test_a_set_becomes_an_adapter_that_answers_and_merges(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "runs" / "dogs"
    assert run(*given, "--out", str(out), "--epochs", "1", "--rank", "2", "--held-out", "0") == 0
    said = capsys.readouterr()
    assert "adapter" in said.out and "in all, about" in said.err
    folder = RunFolder.open(out)
    assert [sample.turns for sample in folder.samples] == [
        sample.turns for sample in lora_case.samples(tmp_path)
    ]
    assert all(Path(sample.picture).parent.parent == out for sample in folder.samples)
    assert folder.settings.rank == 2 and folder.progress().state == "done"
    assert run("--resume", "--out", str(out)) == 0
    capsys.readouterr()
    assert cli.main(["eval", "adapter", "--adapter", str(folder.adapter), *given, "--json"]) == 0
    replies = json.loads(capsys.readouterr().out)["replies"]
    assert len(replies) == sum(len(sample.turns) for sample in folder.samples)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("--out", "OUT", "--rank", "0"), "rank must be"),
        (("--resume", "--out", "OUT"), "holds no run"),
        (("--out", "OUT", "--model", "nowhere"), "no model folder"),
        (("--out", "OUT", "--images", "OUT"), ""),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture, change: tuple, sentence: str
) -> None:
    arguments = [str(tmp_path / "out") if part == "OUT" else part for part in change]
    assert run(*given, *arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("groma: ") and sentence in said
    assert not (tmp_path / "out").exists()


def test_an_estimate_starts_nothing(
    given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert run(*given, "--out", str(tmp_path / "out"), "--estimate") == 0
    assert "free on cpu" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
