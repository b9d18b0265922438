import csv
import json
import pickle
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groma.data.records import json_stream
from groma.data.records.derived_files import FOLDER_NAME, cache_stem, derive_lines, keeping
from groma.data.records.indexed_files import CsvGroups, JsonItems, JsonTables
from groma.data.sources.items import BrokenItem
from groma.types import GromaError

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
"""NUL and halves of characters are replaced."""
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(TEXTS, VALUES, max_size=3), max_size=6)
STYLES = st.fixed_dictionaries(
    {"indent": st.sampled_from([None, 0, 3]), "ensure_ascii": st.booleans()}
)
CHUNKS = st.sampled_from([1, 7, 64, 1 << 16])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("index")


@pytest.fixture(autouse=True)
def _usual_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "_CHUNK", json_stream._CHUNK)


def put(folder: Path, text: str) -> Path:
    """A new file; hypothesis calls a test many times within one clock tick."""
    path = folder / f"{len(list(folder.iterdir()))}.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    return path


@given(values=st.lists(VALUES, max_size=6), style=STYLES, chunk=CHUNKS)
@settings(max_examples=25)
def test_a_list_is_read_by_index_whatever_it_holds(
    folder: Path, values: list[Any], style: dict, chunk: int
) -> None:
    json_stream._CHUNK = chunk
    items = JsonItems(put(folder, json.dumps(values, **style)))
    assert [items[i] for i in range(len(items))] == json.loads(json.dumps(values))


@given(values=OBJECTS, blank=st.sampled_from(["", "\n", " \r\n\n"]))
@settings(max_examples=12)
def test_lines_are_read_by_index(folder: Path, values: list[dict], blank: str) -> None:
    lines = [json.dumps(value, ensure_ascii=False) for value in values]
    items = JsonItems(put(folder, blank + f"\n{blank}".join(lines)))
    assert [items[i] for i in range(len(items))] == values


@given(
    images=st.lists(st.integers(0, 20), unique=True, min_size=1, max_size=8),
    owners=st.lists(st.integers(0, 20), max_size=20),
    turned=st.booleans(),
    style=STYLES,
    chunk=CHUNKS,
)
@settings(max_examples=25)
def test_annotations_find_their_images(
    folder: Path, images: list[int], owners: list[int], turned: bool, style: dict, chunk: int
) -> None:
    json_stream._CHUNK = chunk
    data = {
        "info": {"images": [1, 2], "é": ["{[", 3]},
        "images": [{"id": i, "file_name": f"ü{i}"} for i in images],
        "other": [1, [2, "]"], {}],
        "annotations": [{"id": k, "image_id": i} for k, i in enumerate(owners)],
        "categories": [{"id": 4, "name": "chien·dog"}],
    }
    entries = list(data.items())
    text = json.dumps(dict(entries[::-1] if turned else entries), **style)
    tables = JsonTables(put(folder, text))
    found = [tables[i] for i in range(len(tables))]
    assert [image for image, _ in found] == data["images"]
    assert [members for _, members in found] == [
        [a for a in data["annotations"] if a["image_id"] == i] for i in images
    ]
    assert tables.categories == {4: "chien·dog"}


@given(keys=st.lists(st.sampled_from(["a", "b", "cc"]), min_size=1, max_size=12))
@settings(max_examples=12)
def test_csv_rows_are_grouped_in_order_of_appearance(folder: Path, keys: list[str]) -> None:
    rows = "".join(f"{key},{i}\n" for i, key in enumerate(keys))
    path = put(folder, f"Key,Number\n{rows}")
    with path.open(newline="") as file:
        wanted = defaultdict(list)
        for row in csv.DictReader(file):
            wanted[row["Key"]].append(row)
    groups = CsvGroups(path)
    assert [groups[i] for i in range(len(groups))] == list(wanted.values())


@pytest.mark.parametrize("lines", [True, False])
def test_parts_of_an_item_count_as_samples(tmp_path: Path, lines: bool) -> None:
    values = [{"parts": [1, 2, 3]}, {"parts": []}, {}, {"parts": 5}, {"parts": [4]}]
    text = "\n".join(map(json.dumps, values)) if lines else json.dumps(values)
    items = JsonItems(put(tmp_path, text), parts="parts")
    found = [items[i] for i in range(len(items))]
    assert found == [*({"parts": [part]} for part in (1, 2, 3)), *values[1:]]


def test_a_broken_line_breaks_nothing_else(tmp_path: Path) -> None:
    items = JsonItems(put(tmp_path, '{"a": 1}\n{"a": \n{"a": 3}\n'))
    assert items[0] == {"a": 1}
    assert items[2] == {"a": 3}
    with pytest.raises(BrokenItem):
        items[1]


@pytest.mark.parametrize("text", ['[{"a": 1}, {"a": ', "[1 2]", '["', "[1,", '{"images": 1}', "{}"])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    path = put(tmp_path, text)
    with pytest.raises(GromaError, match=path.name):
        len(JsonTables(path) if text.startswith("{") else JsonItems(path))


def test_a_changed_file_gets_a_new_index(tmp_path: Path) -> None:
    path = put(tmp_path, "[1, 2]")
    assert len(JsonItems(path)) == 2
    path.write_text("[1, 2, 3]")
    assert [JsonItems(path)[i] for i in range(3)] == [1, 2, 3]


def test_the_index_is_made_once_and_goes_where_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, "[1, 2]")
    cache = tmp_path / "elsewhere"
    len(JsonItems(path, cache))
    assert list(cache.glob("*.npy"))
    assert not (tmp_path / FOLDER_NAME).exists()
    monkeypatch.setattr(JsonItems, "_build", None)
    assert JsonItems(path, cache)[1] == 2


def test_another_process_gets_paths_and_no_arrays(tmp_path: Path) -> None:
    items = JsonItems(put(tmp_path, json.dumps(list(range(10_000)))))
    assert items[9_999] == 9_999
    sent = pickle.dumps(items)
    assert len(sent) < 1_000
    assert pickle.loads(sent)[5_000] == 5_000


def test_what_is_derived_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    source = put(tmp_path, "x")

    def fail():
        yield {"a": 1}
        raise KeyError("half way")

    with pytest.raises(KeyError):
        derive_lines([source], "test", tmp_path / "cache", fail)
    assert list((tmp_path / "cache").iterdir()) == []
    path = derive_lines([source], "test", tmp_path / "cache", lambda: [{"a": 1}])
    assert path == derive_lines([source], "test", tmp_path / "cache", fail)
    assert path.read_text().split() == ['{"a":', "1}"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = put(tmp_path, "[]")
    with pytest.raises(GromaError, match="cache"), keeping(file / "inside" / "x.npy"):
        pass


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(GromaError, match=r"nothing\.json"):
        cache_stem([tmp_path / "nothing.json"], "test", None)


def test_what_is_derived_has_its_index_beside_it(tmp_path: Path) -> None:
    source = put(tmp_path, "x")
    lines = derive_lines([source], "test", None, lambda: [{"a": 1}, {"a": 2}])
    assert len(JsonItems(lines)) == 2
    folder = tmp_path / FOLDER_NAME
    assert sorted(path.suffix for path in folder.iterdir()) == [".jsonl", ".npy"]
