"""The model card of an adapter: what it learnt from, and how well."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from groma.data.sample import GroundedSample, Mention, Phrase
from groma.finetune.lora_settings import LoraSettings
from groma.finetune.scores import Score, verdict
from groma.loop.curves import read_log

_PRIVATE = ("model", "device")
_FIGURES = {
    "loss": "loss",
    "eval_loss": "held-out loss",
    "eval_tokens_right": "held-out tokens right",
}


def make_card(
    folder: Path,
    samples: Sequence[GroundedSample],
    held_out: int,
    rehearsed: int,
    scores: Sequence[Score],
) -> dict[str, Any]:
    """What is known of a training, JSON-ready.

    Args:
        folder: of the run.
        samples: all there are to learn from, held-out ones included.
        held_out: how many of them are.
        rehearsed: how many talks of the base's own were learnt along.
        scores: right answers of base and adapter on what was held out.
    """
    turns = [turn for sample in samples for turn in sample.turns]
    pieces = [piece for turn in turns for piece in (*turn.question, *turn.answer)]
    data = {
        "examples": len(samples),
        "held out": held_out,
        "pictures": len({sample.picture for sample in samples}),
        "questions": len(turns),
        "boxes": sum(len(sample.boxes) for sample in samples),
        "grounded phrases": sum(isinstance(piece, Phrase) for piece in pieces),
        "regions pointed at in questions": sum(isinstance(piece, Mention) for piece in pieces),
        "rehearsed talks": rehearsed,
    }
    return {
        "name": folder.resolve().name,
        "data": data,
        "figures": _read_figures(folder),
        "scores": [score.to_dict() for score in scores],
    }


def write_card(folder: Path, settings: LoraSettings, card: Mapping[str, Any]) -> None:
    """Write an adapter's README.md.

    Args:
        folder: of the adapter.
        settings: complete.
        card: from `make_card`.
    """
    name = card["name"]
    base = Path(settings.model).resolve().name if Path(settings.model).exists() else settings.model
    figures = {what: f"{value:.4g}" for what, value in card["figures"].items()}
    scores = [Score(**score) for score in card["scores"]]
    told = dict(str(score).split(": ", 1) for score in scores)
    chosen = {key: _say(v) for key, v in settings.to_dict().items() if key not in _PRIVATE}
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
{verdict(scores)}
{_table("Right answers", told)}
{_table("Data", card["data"])}
{_table("Figures", figures)}
{_table("Settings", chosen)}"""
    (folder / "README.md").write_text(text, encoding="utf-8")


def _read_figures(folder: Path) -> dict[str, float]:
    """First and last losses of a run, by name."""
    rows = read_log(folder)
    figures: dict[str, float] = {}
    for key, name in _FIGURES.items():
        values = [row[key] for row in rows if key in row]
        if values:
            figures |= {f"{name}, first": values[0], f"{name}, last": values[-1]}
    return figures | ({"steps": rows[-1]["step"]} if rows else {})


def _table(title: str, rows: Mapping[str, Any]) -> str:
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    return "\n".join(["", f"## {title}", "", "| | |", "| --- | --- |", *lines])


def _say(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or "none"
    return "as stored" if value is None else str(value)
