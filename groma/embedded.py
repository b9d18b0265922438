"""The embedded models, which come along with the code; each has a name that means it anywhere."""

from pathlib import Path

_INSTALLED = Path(__file__).resolve().with_name("weights")
WEIGHTS = _INSTALLED if _INSTALLED.is_dir() else _INSTALLED.parents[1] / "weights"
"""Beside the library in a checkout, inside it where it is installed."""

NAMES = ("groma-photo", "groma-mini")
DEFAULT_MODEL = "groma-photo"


def find(source: str | Path) -> Path:
    """The folder that a name or a path means; a name does so whatever the working folder."""
    return WEIGHTS / source if source in NAMES else Path(source)


def name_of(source: str | Path) -> str | None:
    """The name of an embedded model, given by its name or its path; None for any other model."""
    folder = find(source).resolve()
    return folder.name if folder.parent == WEIGHTS and folder.name in NAMES else None


def at_hand() -> list[str]:
    """Names of those that are here."""
    return [name for name in NAMES if (WEIGHTS / name / "config.json").is_file()]


def standard_pictures(source: str | Path) -> Path | None:
    """Pictures of an embedded model's kind, with questions and right answers in `examples.json`.

    None for any other model, and where the application is not installed, which they come with.
    """
    name = name_of(source)
    if name is None:
        return None
    for assets in (WEIGHTS.with_name("assets"), WEIGHTS.parents[1] / "groma_app" / "assets"):
        folder = assets / ("photographs" if name == "groma-photo" else "examples")
        if (folder / "examples.json").is_file():
            return folder
    return None
