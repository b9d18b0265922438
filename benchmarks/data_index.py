"""A million annotations: time and memory until the first batch: `python -m benchmarks.data_index`.

Every measurement is a process of its own, so that memory is that of the loader alone; it includes
Python with PyTorch and transformers, whose share is in the first row.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from PIL import Image

from groma.data.batches import ExampleCollator, collate_detection
from groma.data.mixture import Mixture, SourceConfig
from tests.groma.train import tiny_language

BATCH, SIDE = 16, 224
CAPTION = "Several things stand beside each other on a wide green meadow under some clouds. " * 4
FILES = {"lines": "grit", "list": "grit", "tables": "coco", "parquet": "grit"}
"""Layout of the file -> format that reads it."""


def items(count: int) -> Iterator[dict[str, Any]]:
    """Captions with grounded phrases, about half a kilobyte each."""
    for i in range(count):
        boxes = [[0, 10, 0.1, 0.2, 0.5, 0.6], [20, 40, 0.4, 0.1, 0.9, 0.8]]
        yield {
            "filename": "1.jpg",
            "key": f"{i:09}",
            "caption": f"{i} {CAPTION}",
            "ref_exps": boxes,
        }


def write(path: Path, layout: str, count: int) -> None:
    if layout == "parquet":
        write_parquet(path, count)
        return
    with path.open("w") as file:
        if layout == "lines":
            file.writelines(json.dumps(item) + "\n" for item in items(count))
            return
        parts = {"": items(count)}
        if layout == "tables":
            size = {"height": 100, "width": 100, "file_name": "1.jpg"}
            things = {"bbox": [1, 2, 30, 40], "category_id": 1, "iscrowd": 0}
            parts = {
                "images": ({"id": i} | size for i in range(count // 8)),
                "annotations": ({"id": i, "image_id": i // 8} | things for i in range(count)),
                "categories": iter([{"id": 1, "name": "thing"}]),
            }
        file.write("{" if layout == "tables" else "")
        for number, (name, elements) in enumerate(parts.items()):
            file.write(", " * (number > 0) + (f'"{name}": [' if name else "["))
            for i, element in enumerate(elements):
                file.write(", " * (i > 0) + json.dumps(element))
            file.write("]")
        file.write("}" if layout == "tables" else "")


def write_parquet(path: Path, count: int) -> None:
    """The same items as GRIT is published; every picture is called after its key."""
    import pyarrow as pa
    from pyarrow import parquet

    size = {"height": 100, "width": 100, "key": "1"}
    rows = (item | size for item in items(count))
    schema = pa.Table.from_pylist([next(items(1)) | size]).schema
    with parquet.ParquetWriter(path, schema) as file:
        while chunk := list(islice(rows, 1 << 14)):
            file.write_table(pa.Table.from_pylist(chunk, schema))


def path_of(folder: Path, layout: str) -> Path:
    return folder / f"{layout}.{'parquet' if layout == 'parquet' else 'json'}"


def open_first_batch(folder: Path, layout: str) -> None:
    """What a training process does until it can begin."""
    source = SourceConfig("million", FILES[layout], path_of(folder, layout), folder)
    mixture = Mixture((source,))
    if FILES[layout] == "coco":
        examples, collate = mixture.detection(SIDE, BATCH), collate_detection
    else:
        examples = mixture.conversations(tiny_language.template(), SIDE, BATCH)
        collate = ExampleCollator(tiny_language.tokens())
    collate([examples[i] for i in range(BATCH)])


def measure(folder: str, layout: str) -> dict[str, float]:
    """Seconds and peak megabytes of a fresh process; "nothing" opens no file."""
    tiny_language.template()
    start = time.perf_counter()
    if layout != "nothing":
        open_first_batch(Path(folder), layout)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": time.perf_counter() - start, "megabytes": peak}


def measure_apart(folder: Path, layout: str) -> dict[str, float]:
    code = (
        "import json, sys; from benchmarks.data_index import measure;"
        "print(json.dumps(measure(*sys.argv[1:])))"
    )
    command = [sys.executable, "-c", code, str(folder), layout]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="items in the file")
    count = parser.parse_args().count
    print(f"{count:,} items: seconds and peak memory until the first batch of {BATCH}")
    print(f"{'file':10}{'size':>10}{'making the index':>24}{'with the index':>24}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Image.new("RGB", (100, 100)).save(folder / "1.jpg")
        empty = measure_apart(folder, "nothing")
        print(f"{'(none)':20}{empty['seconds']:36.2f} s {empty['megabytes']:7.0f} MB")
        for layout in FILES:
            path = path_of(folder, layout)
            write(path, layout, count)
            size = path.stat().st_size / 1e6
            cells = [measure_apart(folder, layout) for _ in range(2)]
            text = "".join(f"{c['seconds']:12.2f} s {c['megabytes']:7.0f} MB" for c in cells)
            print(f"{layout:10}{size:7.0f} MB{text}")
            path.unlink()


if __name__ == "__main__":
    main()
