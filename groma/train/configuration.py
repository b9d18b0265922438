"""Stage configurations: TOML files as frozen dataclasses.

A shipped one has a name, its path below `configs` without the ending: `groma-mini/detection`.
"""

import difflib
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from groma.train.stages import NEW_TOKENS, PARTS, Stage
from groma.types import GromaError

FOLDER = Path(__file__).parent / "configs"
_SCENES = Path(__file__).parents[2] / "recipes" / "scenes" / "configs"
_DATA_TABLES = {"scenes", "mixture", "sources", "validation"}
_Table = TypeVar("_Table")


@dataclass(frozen=True)
class Start:
    """What a stage starts from; which fields are needed depends on the stage.

    Attributes:
        preset: sizes of a model that this repository knows by name.
        sizes: sizes of the model, arguments of `GromaConfig`.
        image_encoder: folder or Hub id of a pretrained DINOv2.
        folder: folder or Hub id of the model; of the language model, if `visual` is given.
        visual: what detection pretraining left: a model or a checkpoint.
        words: folder of the language model whose words region tokens are to mean.
    """

    preset: str | None = None
    sizes: Mapping[str, Any] = field(default_factory=dict)
    image_encoder: str | None = None
    folder: str | None = None
    visual: Path | None = None
    words: Path | None = None


@dataclass(frozen=True)
class Scenes:
    """Illustrated scenes as training data.

    Attributes:
        seed: of scenes and conversations.
        evaluated: how many unseen scenes each evaluation asks about.
        easy: how many scenes hold few things at first, in language pretraining from nothing.
        pictures: how many go round in instruction finetuning where the language model alone learns:
            each is looked at once. 0 means a picture for every conversation.
    """

    seed: int = 0
    evaluated: int = 64
    easy: int = 0
    pictures: int = 0


@dataclass(frozen=True)
class Run:
    """How a stage runs, which changes nothing that is learnt but for `seed` and `limit`.

    Attributes:
        save_steps: steps between checkpoints.
        eval_steps: steps between evaluations.
        log_steps: steps between lines of the log.
        evaluated: how many examples of `[[validation]]` each evaluation reads; scenes have a number
            of their own.
        workers: processes that load data.
        limit: most tokens of a conversation, image and regions not counted.
        seed: of initial weights and all that is random.
        checkpointing: recompute activations in the backward pass, which saves memory.
        compile: fuse the language model's operations, a third faster on a CPU, where there is a
            C++ compiler.
    """

    save_steps: int = 250
    eval_steps: int = 250
    log_steps: int = 20
    evaluated: int = 256
    workers: int = 1
    limit: int = 384
    seed: int = 0
    checkpointing: bool = False
    compile: bool = False


@dataclass(frozen=True)
class Configuration:
    """Everything about one run of a stage.

    Attributes:
        path: the file.
        out: folder of the run.
        stage: its `steps` are 0 if `epochs` are given.
        epochs: passes over the data, for data that ends.
        model: what it starts from.
        scenes: if it learns from scenes; else from the sources that the same file lists.
        run: how it runs.
    """

    path: Path
    out: Path
    stage: Stage
    epochs: int | None
    model: Start
    scenes: Scenes | None
    run: Run

    def without_epochs(self) -> Self:
        """The same for a number of steps."""
        return replace(self, epochs=None)


def shipped() -> list[str]:
    """Names of all shipped configurations."""
    folders = (FOLDER, _SCENES)
    found = [(folder, file) for folder in folders for file in sorted(folder.rglob("*.toml"))]
    return [file.relative_to(folder).with_suffix("").as_posix() for folder, file in found]


def find(name: str) -> Path:
    """The file of a configuration.

    Args:
        name: of a shipped one, or a path.

    Raises:
        GromaError: if there is neither.
    """
    for path in (Path(name), FOLDER / f"{name}.toml", _SCENES / f"{name}.toml"):
        if path.is_file():
            return path
    raise GromaError(
        f"There is no configuration {name}; give a TOML file or one of {', '.join(shipped())}."
    )


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a file.

    Raises:
        GromaError: if it is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise GromaError(f"{path} is not valid TOML: {error}.") from error


def read_configuration(name: str, stage: str | None = None) -> Configuration:
    """Read and check a configuration.

    Args:
        name: as `find` takes it.
        stage: the stage it must be of; by default any.

    Raises:
        GromaError: if the file does not exist or a setting is unknown, missing or wrong.
    """
    path = find(name)
    tables = read_toml(path)
    check_names(tables, {"out", "stage", "model", "run"} | _DATA_TABLES, str(path))
    settings = dict(tables.get("stage", {}))
    if stage is not None and settings.get("name") != stage:
        raise GromaError(f"{path} is of the stage {settings.get('name')}, not of {stage}.")
    epochs = _convert(settings.pop("epochs", None), int | None, f"{path}: [stage] epochs")
    if (epochs is None) == ("steps" not in settings):
        raise GromaError(f"{path}: [stage] needs either steps or epochs.")
    if ("scenes" in tables) == ("sources" in tables):
        raise GromaError(f"{path} needs either [scenes] or [[sources]].")
    if "scenes" in tables and "validation" in tables:
        raise GromaError(f"{path}: [[validation]] goes with [[sources]]; scenes have their own.")
    if epochs is not None and "scenes" in tables:
        raise GromaError(f"{path}: scenes never end; give [stage] steps instead of epochs.")
    scenes = tables.get("scenes")
    return Configuration(
        path,
        Path(_convert(tables.get("out"), str, f"{path}: out")),
        checked(from_table(Stage, {"steps": 0} | settings, f"{path}: [stage]"), path),
        epochs,
        from_table(Start, tables.get("model", {}), f"{path}: [model]"),
        None if scenes is None else from_table(Scenes, scenes, f"{path}: [scenes]"),
        from_table(Run, tables.get("run", {}), f"{path}: [run]"),
    )


def checked(stage: Stage, path: Path) -> Stage:
    """Refuse a stage that cannot be.

    Raises:
        GromaError: naming the setting.
    """
    unknown = [name for name in stage.trains if name not in (*PARTS, NEW_TOKENS)]
    if unknown:
        raise GromaError(
            f"{path}: [stage] trains {unknown[0]!r}, but only {', '.join(PARTS)} and {NEW_TOKENS} "
            "can be trained."
        )
    if min(stage.batch_size, stage.accumulation) < 1 or stage.steps < 0:
        raise GromaError(f"{path}: batch_size and accumulation are at least 1, steps at least 0.")
    if NEW_TOKENS in stage.trains and stage.weight_decay:
        raise GromaError(
            f"{path}: training {NEW_TOKENS} alone needs weight_decay = 0, which would wear the "
            "other words away."
        )
    return stage


def change(table: _Table, **changes: Any) -> _Table:
    """A dataclass with those fields replaced whose new value is not None."""
    return replace(table, **{name: value for name, value in changes.items() if value is not None})  # ty: ignore[invalid-argument-type]


def from_table(cls: type[_Table], table: Any, where: str) -> _Table:
    """Build a dataclass from a TOML table.

    Args:
        cls: the dataclass.
        table: its fields by name.
        where: file and table, for messages.

    Raises:
        GromaError: if a field is unknown, missing or of another type.
    """
    if not isinstance(table, dict):
        raise GromaError(f"{where} must be a table.")
    declared = fields(cls)  # ty: ignore[invalid-argument-type]
    check_names(table, {item.name for item in declared}, where)
    missing = [
        item.name
        for item in declared
        if item.default is MISSING and item.default_factory is MISSING and item.name not in table
    ]
    if missing:
        raise GromaError(f"{where} lacks {', '.join(missing)}.")
    hints = get_type_hints(cls)
    return cls(**{k: _convert(v, hints[k], f"{where} {k}") for k, v in table.items()})


def check_names(table: Mapping[str, Any], known: set[str], where: str) -> None:
    """Refuse a setting that does not exist.

    Raises:
        GromaError: naming it, and what may have been meant.
    """
    for name in table:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = (
                f"did you mean {close[0]}?" if close else f"known are {', '.join(sorted(known))}."
            )
            raise GromaError(f"{where} has no setting {name}; {hint}")


def _convert(value: Any, hint: Any, where: str) -> Any:
    """Check a TOML value against a type, turning whole numbers, lists and paths into it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        kind = next(part for part in inner if part is not type(None))
        return None if value is None else _convert(value, kind, where)
    if origin is Literal:
        if value not in inner:
            raise GromaError(f"{where} is {value!r}, not one of {', '.join(map(repr, inner))}.")
        return value
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(item, inner[0], where) for item in value)
    if origin is Mapping and isinstance(value, dict):
        return {name: _convert(item, inner[1], f"{where}.{name}") for name, item in value.items()}
    return _convert_scalar(value, hint if origin is None else origin, where)


def _convert_scalar(value: Any, hint: Any, where: str) -> Any:
    if hint is Any:
        return value
    if (hint, type(value)) in ((Path, str), (float, int)):
        return hint(value)
    if type(value) is not hint:
        raise GromaError(f"{where} is {value!r}, which is no {_NAMES[hint]}.")
    return value


_NAMES = {
    int: "whole number",
    float: "number",
    str: "text",
    bool: "true or false",
    tuple: "list",
    Mapping: "table",
    Path: "path",
}
