"""Stage configurations: TOML files, checked by pydantic; mistakes end in one sentence.

A shipped one has a name, its path below `configs` without the ending: `groma-7b/detection`. A
recipe has a folder of its own, and tables of its own in a class derived from `Configuration`.
"""

import difflib
import json
from collections.abc import Mapping
from dataclasses import field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_type_hints

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from groma.data.checked_tables import read_tables
from groma.train.stages import TABLE, Stage
from groma.types import GromaError

FOLDER = Path(__file__).parent / "configs"
_Table = TypeVar("_Table")
_Configuration = TypeVar("_Configuration", bound="Configuration")


@dataclass(frozen=True, config=TABLE)
class Start:
    """What a stage starts from; which fields are needed depends on the stage."""

    # Sizes of the model, arguments of `GromaConfig`.
    sizes: Mapping[str, Any] = field(default_factory=dict)
    image_encoder: str | None = None  # folder or Hub id of a pretrained DINOv2
    # Folder or Hub id of the model; of the language model, if `visual` is given.
    folder: str | None = None
    visual: Path | None = None  # what detection pretraining left: a model or a checkpoint


@dataclass(frozen=True, config=TABLE)
class Run:
    """How a stage runs, which changes nothing that is learnt but for `seed` and `limit`."""

    save_steps: int = 250  # steps between checkpoints
    eval_steps: int = 250  # steps between evaluations
    log_steps: int = 20  # steps between lines of the log
    evaluated: int = 256  # how many examples of `[[validation]]` each evaluation reads
    workers: int = 1  # processes that load data
    limit: int = 384  # most tokens of a conversation, image and regions not counted
    seed: int = 0  # of initial weights and all that is random
    checkpointing: bool = False  # recompute activations in the backward pass, which saves memory
    # Fuse the language model's operations, a third faster on a CPU, where there is a C++ compiler.
    compile: bool = False


@dataclass(frozen=True, config=TABLE, kw_only=True)
class Configuration:
    """Everything about one run of a stage but the public data it learns from."""

    others: ClassVar[frozenset[str]] = frozenset(("mixture", "sources", "validation"))
    """Tables of the same file that `groma.data.mixture` reads."""

    out: Path  # folder of the run
    stage: Stage  # what learns, and how fast
    model: Start = field(default_factory=Start)  # what it starts from
    run: Run = field(default_factory=Run)  # how it runs


def shipped(folder: Path = FOLDER) -> list[str]:
    """Names of all configurations in a folder."""
    return [
        file.relative_to(folder).with_suffix("").as_posix()
        for file in sorted(folder.rglob("*.toml"))
    ]


def find(name: str, folder: Path = FOLDER) -> Path:
    """The file of a shipped configuration by its name, or of another by its path.

    Raises `GromaError` if there is neither.
    """
    for path in (Path(name), folder / f"{name}.toml"):
        if path.is_file():
            return path
    known = ", ".join(shipped(folder))
    raise GromaError(f"There is no configuration {name}; give a TOML file or one of {known}.")


def read_configuration(
    path: Path,
    stage: str | None = None,
    kind: type[_Configuration] = Configuration,  # ty: ignore[invalid-parameter-default]
) -> _Configuration:
    """Read and check a configuration of a stage, by default of any.

    Raises `GromaError` if it is no TOML, or a setting is unknown, missing or wrong.
    """
    own = {name: table for name, table in read_tables(path).items() if name not in kind.others}
    configuration = _from_table(kind, own, str(path))
    found = configuration.stage.name
    if stage not in (None, found):
        raise GromaError(f"{path} is of the stage {found}, not of {stage}.")
    return configuration


def change(table: _Table, given: Mapping[str, Any]) -> _Table:
    """A dataclass with those of its fields replaced that are given, and not as None."""
    names = {item.name for item in fields(table)}  # ty: ignore[invalid-argument-type]
    new = {name: value for name, value in given.items() if name in names and value is not None}
    return replace(table, **new)  # ty: ignore[invalid-argument-type]


def _from_table(cls: type[_Table], table: Any, where: str) -> _Table:
    """Build a dataclass from a TOML table, which holds what JSON can hold; `where` is for messages.

    Raises `GromaError` if a field is unknown, missing or of another type.
    """
    try:
        return TypeAdapter(cls).validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        raise GromaError(_sentence(cls, dict(error.errors()[0]), where)) from error


def _sentence(cls: type, error: dict[str, Any], where: str) -> str:
    """One mistake that pydantic has found."""
    mistake, names = error["type"], [part for part in error["loc"] if isinstance(part, str)]
    known = get_type_hints(cls)
    if len(names) > (mistake == "missing") and is_dataclass(table := known.get(names[0])):
        cls, where = table, f"{where}: [{names.pop(0)}]"
    setting = ".".join(names)
    if mistake == "value_error":
        return f"{where} {error['ctx']['error']}"
    if mistake == "missing":
        return f"{where} lacks {setting}."
    if mistake == "dataclass_type":
        return f"{where} must be a table."
    if mistake == "unexpected_keyword_argument":
        known = [item.name for item in fields(cls)]  # ty: ignore[invalid-argument-type]
        close = difflib.get_close_matches(setting, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}."
        return f"{where} has no setting {setting}; {hint}"
    if mistake == "literal_error":
        expected = error["ctx"]["expected"].replace(" or ", ", ")
        return f"{where} {setting} is {error['input']!r}, not one of {expected}."
    meant = _NAMES.get(mistake.partition("_")[0], "value that it can have")
    return f"{where} {setting} is {error['input']!r}, which is no {meant}."


_NAMES = {
    "int": "whole number",
    "float": "number",
    "string": "text",
    "bool": "true or false",
    "tuple": "list",
    "dict": "table",
}
"""What the kinds of mistakes that pydantic finds are called."""
