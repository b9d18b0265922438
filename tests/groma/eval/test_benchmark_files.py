"""What is shipped as files of benchmarks is what their maker makes."""

from pathlib import Path

import pytest

from tests.groma.data.test_make import assert_same_files
from tests.groma.eval import benchmark_files


def test_the_fixtures_are_what_their_maker_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = benchmark_files.FOLDER
    for name, value in list(vars(benchmark_files).items()):
        if isinstance(value, Path) and value.is_relative_to(shipped):
            monkeypatch.setattr(benchmark_files, name, tmp_path / value.relative_to(shipped))
    benchmark_files.main()
    assert_same_files(shipped, tmp_path, beside={"lvis_api.json"})
