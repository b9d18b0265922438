"""Files of a checkpoint, adapter, model, index, journal or cache that are missing or cut short."""

import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from groma.checkpoint import load as loading
from groma.checkpoint.adapters import attach
from groma.data.records.left_out import read_left_out
from groma.data.sources import coco, flickr, grit
from groma.endpoint import _Answers
from groma.finetune.lora_run import train
from groma.finetune.planning import prepare
from groma.finetune.run_folder import RunFolder
from groma.loop.curves import read_log
from groma.loop.saved_checkpoints import all_checkpoints, is_whole, last_checkpoint
from groma.run_journal import RunJournal
from groma.types import GromaError
from tests.groma.data.reading import read
from tests.groma.finetune import lora_case
from tests.hostile.inputs import listening

PUBLIC = Path("tests/data/public")


def remove(file: Path) -> None:
    file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def empty(file: Path) -> None:
    file.write_bytes(b"")


WAYS = (remove, cut, empty)


def damaged(folder: Path, copy: Path) -> Iterator[tuple[Path, str]]:
    """Copies of a folder, in each of which one file is missing, cut or empty; and its name."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        for way in WAYS:
            if way is not remove and not file.stat().st_size:
                continue
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy)
            way(copy / file.relative_to(folder))
            yield copy, f"{way.__name__} {file.relative_to(folder)}"


def is_sentence(error: Exception) -> bool:
    return "\n" not in str(error) and str(error).endswith((".", ")"))


@dataclass(frozen=True)
class Run:
    """A training that was stopped after two checkpoints, and what it comes to in the end."""

    base: Path
    folder: Path
    losses: list[Any]


def losses(folder: Path) -> list[Any]:
    kinds = ("loss", "eval_loss")
    return [
        (row["step"], kind, row[kind]) for row in read_log(folder) for kind in kinds if kind in row
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    top = tmp_path_factory.mktemp("run")
    base = lora_case.save_base(top / "base")
    settings = lora_case.settings(base)
    samples = lora_case.samples(tmp_path_factory.mktemp("pictures"))
    stopped, _ = prepare(top / "stopped", settings, samples)
    asked = iter([False] * 4 + [True])
    assert not train(stopped, lambda: next(asked))
    assert len(all_checkpoints(stopped.path)) == 2
    whole = shutil.copytree(stopped.path, top / "whole")
    assert train(RunFolder.open(whole))
    return Run(base, stopped.path, losses(whole))


def test_a_checkpoint_of_which_a_file_is_not_whole_is_passed_over(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    newest, before = (path.name for path in all_checkpoints(run.folder))
    assert last_checkpoint(run.folder) == run.folder / newest
    for copy, what in damaged(run.folder / newest, tmp_path / newest):
        shutil.copytree(run.folder / before, tmp_path / before, dirs_exist_ok=True)
        caplog.clear()
        assert last_checkpoint(tmp_path) == tmp_path / before, what
        assert f"{copy} is not whole" in caplog.text


def test_a_checkpoint_of_another_version_is_passed_over(run: Run, tmp_path: Path) -> None:
    (newest, _) = all_checkpoints(shutil.copytree(run.folder, tmp_path / "run"))
    listed = json.loads((newest / "files.json").read_text())
    (newest / "files.json").write_text(json.dumps(listed | {"version": 99}))
    assert not is_whole(newest)


@pytest.mark.parametrize("name", ["optimizer.pt", "adapter_model.safetensors"])
def test_a_training_goes_on_from_the_checkpoint_before(
    run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    folder = RunFolder.open(shutil.copytree(run.folder, tmp_path / "run"))
    newest, before = all_checkpoints(folder.path)
    cut(newest / name)
    assert train(folder)
    assert f"{newest} is not whole" in caplog.text
    assert str(before) not in caplog.text
    assert losses(folder.path) == run.losses


def test_a_run_of_which_a_file_is_not_whole_goes_on_or_says_why(run: Run, tmp_path: Path) -> None:
    """Every file beside the checkpoints, and no page that lists runs is stopped by it."""
    for copy, what in damaged(_without_checkpoints(run.folder, tmp_path / "bare"), tmp_path / "x"):
        try:
            RunFolder(copy).progress()
            opened = RunFolder.open(copy)
            void = (opened.settings, opened.samples, opened.knowledge, opened.scores)
            assert void, what
        except GromaError as error:
            assert is_sentence(error), what


def _without_checkpoints(folder: Path, copy: Path) -> Path:
    return shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("checkpoint-*"))


def test_an_adapter_of_which_a_file_is_not_whole_is_refused(run: Run, tmp_path: Path) -> None:
    model, _ = loading.load(run.base, device="cpu", dtype="float32")
    newest = all_checkpoints(run.folder)[0]
    adapter = shutil.copytree(
        newest,
        tmp_path / "adapter",
        ignore=lambda _, names: {n for n in names if n[:8] != "adapter_"},
    )
    attach(model, adapter)
    count = 0
    for copy, what in damaged(adapter, tmp_path / "x"):
        with pytest.raises(GromaError) as caught:
            attach(model, copy)
        assert is_sentence(caught.value), what
        count += 1
    assert count == 6


def test_a_model_of_which_a_file_is_not_whole_loads_or_says_why(run: Run, tmp_path: Path) -> None:
    loaded = set()
    for copy, what in damaged(run.base, tmp_path / "x"):
        try:
            loading.load(copy, device="cpu", dtype="float32")
            loaded.add(what)
        except GromaError as error:
            assert is_sentence(error), (what, str(error))
    needed = {"config.json", "model.safetensors"}
    assert not {what for what in loaded if what.split()[1] in needed}


def _hub(folder: Path, without: str) -> Path:
    """A cache of the Hub that knows of all files, but lacks one."""
    hub = folder / "models--some--groma"
    here = hub / "snapshots/abc123"
    listed = Path("tests/data/cases/offline-without-readme/trees-abc123.json")
    for name in ("refs", "trees"):
        (hub / name).mkdir(parents=True)
    (hub / "refs/main").write_text("abc123")
    shutil.copy(listed, hub / "trees/abc123.json")
    shutil.copytree("weights/groma-mini", here, ignore=shutil.ignore_patterns(without))
    return here


@pytest.mark.parametrize("name", sorted(path.name for path in Path("weights/groma-mini").iterdir()))
def test_offline_a_model_lacks_a_file_only_if_it_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    here = _hub(tmp_path, name)
    needed = name == "config.json" or name.startswith(("model", "tokenizer.json"))
    if not needed:
        assert loading.resolve("some/groma") == here
        loading.load_tokenizer(here)
        return
    with pytest.raises(GromaError) as caught:
        loading.load_tokenizer(loading.resolve("some/groma"))
    assert is_sentence(caught.value)


def _index_of(name: str, cache: Path) -> Any:
    sources: dict[str, Callable[[], Any]] = {
        "coco": lambda: read(coco.open_coco(PUBLIC / "coco/instances.json", cache)),
        "lines": lambda: read(flickr.open_flickr30k(PUBLIC / "flickr30k", cache)),
        "rows": lambda: read(grit.open_grit(PUBLIC / "grit/parquet", cache)),
        "left-out": lambda: read_left_out([PUBLIC / "refcoco/refcoco_train.json"], None, cache),
    }
    return sources[name]()


@pytest.mark.parametrize("name", ["coco", "lines", "rows", "left-out"])
def test_an_index_of_which_a_file_is_not_whole_is_made_anew(tmp_path: Path, name: str) -> None:
    whole = _index_of(name, tmp_path)
    files = {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in tmp_path.iterdir()}
    assert files
    for file in files:
        for way in WAYS:
            way(file)
            with listening() as heard:
                assert _index_of(name, tmp_path) == whole
            said = {record.getMessage() for record in heard}
            assert said == (set() if way is remove else {f"{file} is not whole; it is made anew."})
            for other, (data, changed) in files.items():
                other.write_bytes(data)
                os.utime(other, ns=(changed, changed))


def test_of_a_journal_that_is_cut_anywhere_the_entries_before_stay(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = RunJournal.resume(path, {"model": "a"})
    entries = [{"key": n, "text": "é\u2028" * n} for n in range(3)]
    for entry in entries:
        journal.append(entry)
    data = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(data) if byte == 10][1:]
    for at in range(len(data)):
        path.write_bytes(data[:at])
        kept = sum(end <= at for end in ends)
        again = RunJournal.resume(path, {"model": "a"})
        again.append({"key": "next"})
        assert RunJournal.read(path).entries == [*entries[:kept], {"key": "next"}]


def test_answers_of_an_endpoint_that_were_cut_are_asked_for_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fill() -> None:
        answers = _Answers(tmp_path)
        answers.begin("a")
        answers.keep("a", "yes" * 5000)
        answers._table.close()

    fill()
    file = tmp_path / "answers.sqlite"
    data = file.read_bytes()
    for at in (0, 10, 100, len(data) // 2, len(data) - 100):
        file.write_bytes(data[:at])
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            answers = _Answers(tmp_path)
        assert answers.read("a") is None
        assert not at or "answers are asked for again" in caplog.text
        answers._table.close()
    fill()
    assert _Answers(tmp_path).read("a") == "yes" * 5000
