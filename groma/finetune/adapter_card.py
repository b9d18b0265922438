"""The model card of an adapter: what it learnt from, and how well."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groma.data.sample import GroundedSample, Mention, Phrase
from groma.finetune.lora_settings import LoraSettings
from groma.loop.curves import read_log

CARD_NAME = "README.md"


def count_data(samples: Sequence[GroundedSample], held_out: Sequence[int]) -> dict[str, int]:
    """How much there is to learn from, held-out examples included."""
    turns = [turn for sample in samples for turn in sample.turns]
    pieces = [piece for turn in turns for piece in (*turn.question, *turn.answer)]
    return {
        "examples": len(samples),
        "held out": len(held_out),
        "pictures": len({sample.picture for sample in samples}),
        "questions": len(turns),
        "boxes": sum(len(sample.boxes) for sample in samples),
        "grounded phrases": sum(isinstance(piece, Phrase) for piece in pieces),
        "regions pointed at in questions": sum(isinstance(piece, Mention) for piece in pieces),
    }


def read_figures(folder: Path) -> dict[str, float]:
    """First and last losses of a run, by name."""
    rows = read_log(folder)
    figures: dict[str, float] = {}
    for key, name in (
        ("loss", "loss"),
        ("eval_loss", "held-out loss"),
        ("eval_tokens_right", "held-out tokens right"),
    ):
        values = [row[key] for row in rows if key in row]
        if values:
            figures |= {f"{name}, first": values[0], f"{name}, last": values[-1]}
    steps = [row["step"] for row in rows]
    return figures | ({"steps": steps[-1]} if steps else {})


def write_card(
    folder: Path,
    name: str,
    settings: LoraSettings,
    data: Mapping[str, int],
    figures: Mapping[str, float],
) -> None:
    """Write an adapter's README.md.

    Args:
        folder: of the adapter.
        name: of the adapter.
        settings: complete.
        data: from `count_data`.
        figures: from `read_figures`.
    """
    base = Path(settings.model).resolve().name if Path(settings.model).exists() else settings.model
    text = f"""\
---
base_model: {json.dumps(base)}
library_name: peft
tags: [groma, lora]
---
# {name}

An adapter (LoRA) for the grounded chat model {base}: it answers with what it learnt from the
examples counted below.

```
groma ask PICTURE "QUESTION" --model {base} --adapter {name}
groma convert {base} MERGED --adapter {name}
```
{_table("Data", data)}
{_table("Figures", {what: f"{value:.4g}" for what, value in figures.items()})}
{_table("Settings", {k: _say(v) for k, v in settings.to_dict().items() if k not in _PRIVATE})}"""
    (folder / CARD_NAME).write_text(text, encoding="utf-8")


_PRIVATE = ("model", "device")


def _table(title: str, rows: Mapping[str, Any]) -> str:
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["", f"## {title}", "", "| | |", "| --- | --- |", *lines])


def _say(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "as stored" if value is None else str(value)
