"""Parquet files read by index.

Rows of Parquet files are packed by the hundred thousand, so that one alone cannot be read. The
columns that are needed are therefore copied once, unpacked, into an Arrow file beside the data,
which is mapped into memory: a row costs one look-up, however many there are.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groma.data.records.derived_files import cache_stem, keeping, say_made_anew
from groma.types import GromaError

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 1 << 14  # rows of a batch, which are in memory at once while they are copied
_BUFFER = 1 << 20  # bytes of each column that are read at once


class ParquetRows:
    """Some columns of one Parquet file, or of all in a folder in the order of their names."""

    def __init__(self, path: Path, columns: Sequence[str], cache: Path | None = None) -> None:
        if find_spec("pyarrow") is None:
            raise GromaError(f"{path} is Parquet, which needs pyarrow: pip install pyarrow.")
        self.path = path
        self.columns = list(columns)
        self.cache = cache

    def __len__(self) -> int:
        """Number of rows."""
        return self._table.num_rows

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One row by column."""
        return self._table.slice(index, 1).to_pylist()[0]

    def __getstate__(self) -> dict[str, Any]:
        """Without what is mapped, which every process maps for itself."""
        return {name: value for name, value in vars(self).items() if name[0] != "_"}

    @cached_property
    def _table(self) -> "pa.Table":
        """The copy, mapped into memory; made on first use.

        Raises `GromaError` if there is no Parquet file, or it is damaged or has other columns.
        """
        import pyarrow as pa

        files = sorted(self.path.rglob("*.parquet")) if self.path.is_dir() else [self.path]
        if not files:
            raise GromaError(f"{self.path} holds no Parquet file.")
        stem = cache_stem([self.path, *files], f"rows-{self.columns}", self.cache)
        target = stem.with_name(f"{stem.name}.arrow")
        if target.is_file():
            try:
                return pa.ipc.open_file(pa.memory_map(str(target))).read_all()
            except (pa.ArrowException, OSError):
                say_made_anew(target)
        batches = self._read(files)
        first = next(batches)
        with keeping(target) as file, pa.ipc.new_file(file, first.schema) as copy:
            copy.write_batch(first)
            for batch in batches:
                copy.write_batch(batch)
        return pa.ipc.open_file(pa.memory_map(str(target))).read_all()

    def _read(self, files: Sequence[Path]) -> "Iterator[pa.RecordBatch]":
        """The columns of all files, of the types they have in the first; at least one batch."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = None
        for path in files:
            try:
                with pq.ParquetFile(path, buffer_size=_BUFFER) as file:
                    found = file.schema_arrow
                    missing = [name for name in self.columns if name not in found.names]
                    if missing:
                        raise GromaError(f"{path} has no column {missing[0]!r}.")
                    if schema is None:
                        schema = pa.schema([found.field(name) for name in self.columns])
                        yield pa.RecordBatch.from_pylist([], schema)
                    for batch in file.iter_batches(_ROWS, columns=self.columns):
                        yield batch.select(self.columns).cast(schema)
            except (pa.ArrowException, OSError) as error:
                raise GromaError(f"{path} cannot be read as Parquet: {error}") from error
