"""`groma eval adapter`: base and adapter on the same held-out questions."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from groma.chat.chat import Groma
    from groma.data.sample import GroundedSample
    from groma.eval.harness.adapter_comparison import ComparedReply

_WORDS = {"same": "{}", "base": "[-{}-]", "adapter": "{{+{}+}}"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads, but for the model."""
    parser.add_argument(
        "--run",
        dest="lora_run",
        type=Path,
        metavar="FOLDER",
        help="of `groma train lora`: its adapter on what it held out",
    )
    parser.add_argument("--adapter", type=Path, metavar="FOLDER", help="or an adapter …")
    parser.add_argument("--data", type=Path, metavar="FILE", help="… on an instruction set")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="where its pictures are")
    parser.add_argument("--max-new-tokens", type=int, default=256, metavar="N")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(
    options: argparse.Namespace,
    load: Callable[[], "Groma"],
    held_out: Callable[[Path], "tuple[Path, list[GroundedSample]]"],
) -> str | dict[str, Any]:
    """Answer every question of a set twice.

    Args:
        options: what `add_arguments` declares.
        load: gives the base.
        held_out: the adapter of a run's folder, and the examples the run was only measured on.

    Returns:
        Both replies of each, or with `--json` everything about them.

    Raises:
        GromaError: if the set, the adapter or the run cannot be used.
    """
    from groma.chat.settings import GenerationSettings
    from groma.eval.harness.adapter_comparison import compare

    folder, samples = _choose(options, held_out)
    base = load()
    adapter = base.with_adapter(folder)
    settings = GenerationSettings(max_new_tokens=options.max_new_tokens)
    rows = list(compare(base, adapter, samples, settings))
    if options.json:
        return {"adapter": str(folder), "replies": [row.to_dict() for row in rows]}
    return "\n\n".join([*map(_describe, rows), _summary(rows)])


def _choose(
    options: argparse.Namespace, held_out: Callable[[Path], "tuple[Path, list[GroundedSample]]"]
) -> "tuple[Path, list[GroundedSample]]":
    """The adapter and the examples that options name.

    Raises:
        GromaError: if they name too little.
    """
    from groma.instruction_sets.readers.reading import read_set
    from groma.instruction_sets.readers.set_items import to_samples
    from groma.types import GromaError

    if options.lora_run is None:
        if options.adapter is None or options.data is None:
            raise GromaError("Name --run, or --adapter and --data.")
        return options.adapter, to_samples(read_set(options.data, options.images))
    adapter, samples = held_out(options.lora_run)
    if options.data is not None:
        samples = to_samples(read_set(options.data, options.images))
    return options.adapter or adapter, samples


def _describe(row: "ComparedReply") -> str:
    words = " ".join(_WORDS[who].format(said) for who, said in row.changes)
    lines = [
        f"{row.picture.name}: {row.question}",
        f"  wanted:  {row.wanted}",
        f"  base:    {row.base.text}{_say(row.base_iou)}",
        f"  adapter: {row.adapter.text}{_say(row.adapter_iou)}",
        f"  changes: {words}",
    ]
    return "\n".join(lines)


def _summary(rows: list["ComparedReply"]) -> str:
    """How many answers are right, by kind of question, and how well both point."""
    from groma.finetune.scores import score_replies, verdict

    judged = [row for row in rows if row.base_iou is not None and row.adapter_iou is not None]
    base = sum(row.base_iou or 0.0 for row in judged) / max(1, len(judged))
    adapter = sum(row.adapter_iou or 0.0 for row in judged) / max(1, len(judged))
    scores = score_replies(
        (row.wanted, row.wanted_boxes, bool(row.pointed), row.base, row.adapter) for row in rows
    )
    overlap = f"mean IoU {base:.3f} before, {adapter:.3f} with the adapter."
    lines = [*map(str, scores), verdict(scores), f"{len(rows)} questions; {overlap}"]
    return "\n".join(filter(None, lines))


def _say(iou: float | None) -> str:
    return "" if iou is None else f"  (IoU {iou:.2f})"
