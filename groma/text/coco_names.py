"""What people call the things that COCO has categories for."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from groma.foreign import load_json

SYNONYMS: Mapping[str, Sequence[str]] = load_json(
    Path(__file__).with_name("coco_synonyms.json").read_bytes()
)
"""What COCO's categories are called besides, their kinds included."""

COMPOUNDS = frozenset(n for name, more in SYNONYMS.items() for n in (name, *more) if " " in n)
"""Names of more than one word."""
