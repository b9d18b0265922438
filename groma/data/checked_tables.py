"""Tables of a configuration as pydantic models; what is wrong with one is said in a sentence."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from groma.foreign import load_toml
from groma.types import GromaError


class Table(BaseModel):
    """A table that holds what its fields say; the description of each says what it must be."""

    model_config = ConfigDict(extra="forbid")


_Checked = TypeVar("_Checked", bound=Table)


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file; raises `GromaError` if there is none, or it is not TOML."""
    try:
        return load_toml(path.read_bytes())
    except FileNotFoundError as error:
        raise GromaError(f"There is no file {path}.") from error
    except ValueError as error:
        raise GromaError(f"{path} is not valid TOML: {error}.") from error


def check_table(
    model: type[_Checked], values: Mapping[str, Any], where: str, word: str = "setting"
) -> _Checked:
    """Check a table; `where` and `word` are what a mistake calls it and its entries.

    Raises `GromaError` about the first mistake: an entry that is missing, unknown or wrong.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        mistakes = error.errors(include_url=False)
    # What is misspelt is unknown and missing at once; its own name says more.
    mistake = min(mistakes, key=lambda mistake: mistake["type"] != "extra_forbidden")
    name, fields = str(mistake["loc"][0]), model.model_fields
    if mistake["type"] == "missing":
        raise GromaError(f"{where} needs the {word} {name!r}.")
    if name not in fields:
        known = ", ".join(fields) or "none"
        raise GromaError(f"{where} has no {word} {name!r}; it knows {known}.")
    raise GromaError(f"{where}: {name} must be {fields[name].description}, not {values[name]!r}.")
