"""GRIT as it is published, against the same items as JSON."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from groma.data.mixture import Mixture, SourceConfig
from groma.data.records import parquet_rows
from groma.data.records.parquet_rows import ParquetRows
from groma.data.sources.grit import open_grit
from groma.data.sources.items import UNKNOWN_SIZE
from groma.types import GromaError
from tests.groma.data.make import HEIGHT, WIDTH
from tests.groma.data.reading import read
from tests.groma.data.test_examples import learns_in_two_steps, talks
from tests.groma.data.test_parsers import REASONS
from tests.groma.model.tiny import tiny_model
from tests.groma.train import tiny_language

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")


@pytest.fixture
def folder(public: Path) -> Path:
    return public / "grit" / "parquet"


@pytest.mark.parametrize("task", ["rec", "caption"])
def test_rows_are_the_items_of_the_json_file(public: Path, folder: Path, task) -> None:
    found, broken = read(open_grit(folder, None, task=task))
    wanted, _ = read(open_grit(public / "grit/grit_filtered.json", None, task=task))
    assert broken == REASONS["grit"]
    assert {sample.size for sample in found} == {(HEIGHT, WIDTH)}
    assert {sample.size for sample in wanted} == {UNKNOWN_SIZE}
    assert [replace(sample, size=UNKNOWN_SIZE) for sample in found] == wanted


def test_it_can_be_trained_on(public: Path, folder: Path) -> None:
    source = SourceConfig("grit", "grit", folder, public / "grit/images")
    model = tiny_model(text_config=tiny_language.text_config())
    learns_in_two_steps(model, talks(Mixture((source,)), 1, passes=2))


def test_any_row_is_found_whatever_the_files_and_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_rows, "_ROWS", 7)
    sizes, wanted = (5, 0, 20, 1), []
    for number, size in enumerate(sizes):
        texts = [f"{number}-{i} ü" for i in range(size)]
        wanted += [{"text": text, "n": i} for i, text in enumerate(texts)]
        # Written by different programs, whole numbers are of different widths.
        numbers = pa.array(range(size), pa.int64() if number % 2 else pa.int32())
        columns = {"other": numbers, "text": pa.array(texts, pa.string()), "n": numbers}
        pq.write_table(pa.table(columns), tmp_path / f"{number}.parquet", row_group_size=4)
    rows = ParquetRows(tmp_path, ("text", "n"))
    assert [rows[i] for i in range(len(rows))] == wanted
    assert pickle.loads(pickle.dumps(rows))[25] == wanted[25]
    assert len(pickle.dumps(rows)) < 1000


def test_rows_are_copied_once_and_again_when_a_file_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = tmp_path / "one.parquet"
    one.write_bytes((folder / "coyo_1_snappy.parquet").read_bytes())
    cache = tmp_path / "cache"
    assert len(ParquetRows(one, ("caption",), cache)) == 2
    with monkeypatch.context() as patch:
        patch.setattr(ParquetRows, "_read", None)
        assert len(ParquetRows(one, ("caption",), cache)) == 2
    one.write_bytes((folder / "coyo_0_snappy.parquet").read_bytes())
    assert len(ParquetRows(one, ("caption",), cache)) == 1


def test_what_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(GromaError, match="no Parquet file"):
        len(open_grit(tmp_path, None))
    (tmp_path / "x.parquet").write_bytes(b"PAR1 and nothing else")
    with pytest.raises(GromaError, match=r"x\.parquet cannot be read as Parquet"):
        len(open_grit(tmp_path, None))
    pq.write_table(pa.table({"caption": ["x"]}), tmp_path / "x.parquet")
    with pytest.raises(GromaError, match=r"x\.parquet has no column 'ref_exps'"):
        len(open_grit(tmp_path, None))
    with pytest.raises(GromaError, match=r"no file or folder .*none\.parquet"):
        len(open_grit(tmp_path / "none.parquet", None))


def test_without_pyarrow_one_sentence_says_what_to_install(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_rows, "find_spec", lambda _: None)
    with pytest.raises(GromaError, match=r"needs pyarrow: pip install pyarrow\."):
        open_grit(folder, None)
